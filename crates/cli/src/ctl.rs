//! `evenkeel ctl`: a running instance seen and changed from the shell.

use config::ExitStatus;
use config::native::{CtlArgs, CtlVerb, StatusArgs, WhichInstance};
use control::{Client, ClientError, runtime_dir, sockets_in};
use logtools::status_html;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use telemetry::{SessionRow, Status};
use terms::Limit;

/// Runs `evenkeel ctl`.
pub fn main(args: &CtlArgs) -> ExitCode {
    let done = choose(&args.which).and_then(|client| run(&client, &args.verb));
    let status = match done {
        Ok(text) => {
            // A reader that went away wants no more output.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitStatus::Success
        }
        Err(Failure { status, message }) => {
            eprintln!("evenkeel ctl: {message}");
            status
        }
    };
    ExitCode::from(status.code())
}

/// Runs `evenkeel status --html`. A web server that runs it as a CGI program gets headers too.
pub fn status_page(args: &StatusArgs) -> ExitCode {
    let status = choose(&args.which).and_then(|client| Ok(client.status()?));
    let is_cgi = std::env::var_os("GATEWAY_INTERFACE").is_some();
    let as_json = |status: &Status| serde_json::to_value(status).unwrap_or_default();
    let (page, exit) = match (&status, is_cgi) {
        (Ok(status), true) => (status_html::cgi(Ok(&as_json(status))), ExitStatus::Success),
        (Ok(status), false) => (status_html::render(&as_json(status)), ExitStatus::Success),
        // The web server passes the reason on; an exit status would only hide it.
        (Err(failure), true) => (status_html::cgi(Err(&failure.message)), ExitStatus::Success),
        (Err(failure), false) => {
            eprintln!("evenkeel status: {}", failure.message);
            (String::new(), failure.status)
        }
    };
    let _ = std::io::stdout().lock().write_all(page.as_bytes());
    ExitCode::from(exit.code())
}

/// Why it was not done.
struct Failure {
    status: ExitStatus,
    message: String,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let status = match error {
            ClientError::NotRunning { .. } => ExitStatus::Unavailable,
            ClientError::Forbidden { .. }
            | ClientError::Protocol { .. }
            | ClientError::Refused(_) => ExitStatus::Failure,
        };
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { status, message: format!("{error}{cause}") }
    }
}

fn unavailable(message: String) -> Failure {
    Failure { status: ExitStatus::Unavailable, message }
}

/// The instance that is meant: by socket, by port, or the only one there is.
fn choose(args: &WhichInstance) -> Result<Client, Failure> {
    let connect = |path: &PathBuf| {
        Client::new(path)
            .map_err(|error| Failure { status: ExitStatus::Failure, message: error.to_string() })
    };
    if let Some(path) = &args.admin {
        return connect(path);
    }
    let dir = runtime_dir();
    let mut running = Vec::new();
    for path in sockets_in(&dir) {
        let client = connect(&path)?;
        if let Ok(status) = client.status() {
            running.push((client, status));
        }
    }
    if let Some(port) = args.listen {
        let suffix = format!(":{port}");
        running.retain(|(_, status)| status.listeners.iter().any(|it| it.bind.ends_with(&suffix)));
    }
    let names: Vec<_> = running
        .iter()
        .flat_map(|(_, status)| status.listeners.iter().map(|it| it.bind.clone()))
        .collect();
    match (running.pop(), running.is_empty()) {
        (Some((client, _)), true) => Ok(client),
        (Some(_), false) => Err(unavailable(format!(
            "several instances are running ({}); choose one with --listen PORT or --admin PATH",
            names.join(", ")
        ))),
        (None, _) => Err(unavailable(match args.listen {
            Some(port) => format!("no instance listens on port {port}; see {}", dir.display()),
            None => format!(
                "no instance is running that left its socket in {}; give it with --admin PATH",
                dir.display()
            ),
        })),
    }
}

/// What to print.
fn run(client: &Client, verb: &CtlVerb) -> Result<String, Failure> {
    match verb {
        CtlVerb::Status { json: true } => Ok(json(&client.status()?)),
        CtlVerb::Status { json: false } => Ok(status_text(&client.status()?)),
        CtlVerb::Sessions { json: true } => Ok(json(&client.sessions()?)),
        CtlVerb::Sessions { json: false } => Ok(sessions_text(&client.sessions()?)),
        verb => {
            let Some(command) = verb.command() else { return Ok(String::new()) };
            Ok(match client.command(&command)? {
                config::Reply::Done => "done\n".to_owned(),
                config::Reply::Unchanged => "it was so already\n".to_owned(),
            })
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn status_text(status: &Status) -> String {
    let workers: Vec<_> = status.workers.iter().map(|it| it.sessions.to_string()).collect();
    let mut text = format!(
        "evenkeel {}, pid {}, up {} s, sessions by worker: {}\n",
        status.version,
        status.pid,
        status.uptime_seconds,
        workers.join(" ")
    );
    for listener in &status.listeners {
        text += &format!(
            "\n{}: {} sessions open, {} since start\n",
            listener.bind, listener.sessions, listener.sessions_total
        );
        let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
        for (tier_index, tier) in listener.tiers.iter().enumerate() {
            for (index, backend) in tier.backends.iter().enumerate() {
                let limit = match backend.sessions_max {
                    Limit::None => "-".to_owned(),
                    limit => limit.to_string(),
                };
                rows.push(vec![
                    format!("{tier_index}.{index}"),
                    backend.name.clone(),
                    tier.policy.clone(),
                    backend.admin.clone(),
                    backend.health.clone(),
                    backend.sessions.to_string(),
                    limit,
                    backend.attempts_total.to_string(),
                    backend.failures_total.to_string(),
                    backend.sent_bytes_total.to_string(),
                    backend.received_bytes_total.to_string(),
                ]);
            }
        }
        text += &table(&rows, 5);
    }
    text
}

const HEADINGS: [&str; 11] = [
    "PLACE", "BACKEND", "POLICY", "ADMIN", "HEALTH", "OPEN", "MAX", "TRIED", "FAILED", "SENT",
    "RECEIVED",
];

fn sessions_text(sessions: &[SessionRow]) -> String {
    let headings =
        ["SESSION", "LISTENER", "CLIENT", "BACKEND", "PHASE", "WORKER", "SENT", "RECEIVED", "AGE"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(sessions.iter().map(|session| {
        vec![
            session.session.to_string(),
            session.listener.clone(),
            session.client.clone(),
            session.backend.clone().unwrap_or_else(|| "-".to_owned()),
            session.phase.clone(),
            session.worker.to_string(),
            session.sent_bytes.to_string(),
            session.received_bytes.to_string(),
            format!("{:.1}s", session.age_seconds),
        ]
    }));
    table(&rows, 5)
}

/// Columns as wide as their widest cell; from column `numbers` on they are set to the right.
fn table(rows: &[Vec<String>], numbers: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column >= numbers {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [["a", "1"], ["bcd", "100"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1), "a      1\nbcd  100\n");
    }
}
