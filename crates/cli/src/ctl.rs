//! `evenkeel ctl`: shows and changes a running instance from the shell.

mod events;
mod find;
mod tables;
mod tap;

use crate::output::{complain, finish};
use config::duration::Moment;
use config::environment::GATEWAY_INTERFACE;
use config::native::{CtlArgs, CtlVerb, ReadyArgs, ReloadArgs, StatusArgs, WhichInstance};
use config::{BackendSelector, Command, Drained, ExitStatus, Reply, SessionQuery};
use control::{Client, ClientError, Readiness, WhyQuery};
pub use find::choose;
use jiff::Zoned;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use sys::errors::with_causes;
use tables::{sessions_text, status_text, why_text};
use telemetry::{BackendRow, PoolRow, Status, page};
use terms::SessionOrder;

/// Runs `evenkeel ctl`.
pub fn main(args: &CtlArgs) -> ExitCode {
    perform("evenkeel ctl", &args.which, &args.verb)
}

/// Runs `evenkeel reload`.
pub fn reload(args: &ReloadArgs) -> ExitCode {
    perform("evenkeel reload", &args.which, &CtlVerb::Reload(args.confirm))
}

/// Runs `evenkeel ready`.
pub fn ready(args: &ReadyArgs) -> ExitCode {
    match choose(&args.which).and_then(|client| Ok(client.readiness()?)) {
        Ok(Readiness { is_ready: true, text }) => {
            finish("evenkeel ready", &text, ExitStatus::Success)
        }
        Ok(Readiness { text, .. }) => finish("evenkeel ready", &text, ExitStatus::Failure),
        Err(failure) => failure.report("evenkeel ready"),
    }
}

/// Carries out a verb on the selected instance, in the name of `program`.
fn perform(program: &str, which: &WhichInstance, verb: &CtlVerb) -> ExitCode {
    match choose(which).and_then(|client| run(&client, verb)) {
        Ok(text) => finish(program, &text, ExitStatus::Success),
        Err(failure) => failure.report(program),
    }
}

/// Runs `evenkeel status --html`. A web server that runs it as a CGI program gets headers too.
pub fn status_page(args: &StatusArgs) -> ExitCode {
    let is_cgi = std::env::var_os(GATEWAY_INTERFACE.name).is_some();
    let busiest =
        SessionQuery { sort: SessionOrder::Rate, limit: page::SESSIONS, ..Default::default() };
    let seen = choose(&args.which).and_then(|client| {
        let (status, sessions) = (client.status()?, client.sessions(&busiest)?);
        Ok((page::value(&status), page::value(&sessions)))
    });
    let (page, exit) = match (&seen, is_cgi) {
        (Ok((status, sessions)), true) => (page::cgi(Ok((status, sessions))), ExitStatus::Success),
        (Ok((status, sessions)), false) => {
            (page::render(status, sessions, None), ExitStatus::Success)
        }
        // The web server passes the reason on; an exit status would only hide it.
        (Err(failure), true) => (page::cgi(Err(&failure.message)), ExitStatus::Success),
        (Err(failure), false) => {
            complain(&format!("evenkeel status: {}", failure.message));
            (String::new(), failure.status)
        }
    };
    finish("evenkeel status", &page, exit)
}

/// Why a command was not carried out.
pub struct Failure {
    status: ExitStatus,
    /// The reason, in words.
    pub message: String,
}

impl Failure {
    /// Prints the reason in the name of `program`, and returns the exit code.
    pub fn report(&self, program: &str) -> ExitCode {
        complain(&format!("{program}: {}", printable(&self.message)));
        self.status.into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let status = match error {
            ClientError::NotRunning { .. } => ExitStatus::Unavailable,
            ClientError::Forbidden { .. }
            | ClientError::Protocol { .. }
            | ClientError::Declined(_)
            | ClientError::Refused(_) => ExitStatus::Failure,
        };
        Self { status, message: with_causes(&error) }
    }
}

/// Carries out a verb, and returns what to print.
fn run(client: &Client, verb: &CtlVerb) -> Result<String, Failure> {
    match verb {
        CtlVerb::Status { json: true, .. } => Ok(json(&client.status()?)),
        CtlVerb::Status { wide, .. } => Ok(printable(&status_text(&client.status()?, *wide))),
        CtlVerb::Why { client: who, listener, sni, alpn, json: is_json } => {
            let (listener, sni, alpn) = (listener.clone(), sni.clone(), alpn.clone());
            let why = client.why(&WhyQuery { client: who.clone(), listener, sni, alpn })?;
            Ok(if *is_json { json(&why) } else { printable(&why_text(&why)) })
        }
        CtlVerb::Sessions { query, json: true, .. } => Ok(json(&client.sessions(query)?)),
        CtlVerb::Sessions { query, wide, .. } => {
            // One more, to know whether there are more.
            let limit = if query.limit == 0 { 0 } else { query.limit.saturating_add(1) };
            let mut rows = client.sessions(&SessionQuery { limit, ..query.clone() })?;
            let more = query.limit > 0 && rows.len() > query.limit;
            if more {
                rows.truncate(query.limit);
            }
            let rest = if more { "there are more; --limit 0 lists all\n" } else { "" };
            Ok(printable(&(sessions_text(&rows, *wide) + rest)))
        }
        CtlVerb::Events { query, json } => events::follow(client, query, *json),
        CtlVerb::Tap { query, json } => tap::watch(client, query, *json),
        CtlVerb::Config => Ok(client.configs()?.running),
        CtlVerb::Drain { backend, wait: Some(wait) } => drain(client, verb, backend, wait.0),
        CtlVerb::DrainAll { by: Some(by), wait, .. } => drain_all(client, *by, *wait),
        verb => Ok(format!("{}\n", order(client, verb)?)),
    }
}

/// Sends a verb's command, and returns a word about the result.
fn order(client: &Client, verb: &CtlVerb) -> Result<&'static str, Failure> {
    let Some(command) = verb.command() else { return Ok("") };
    Ok(match (client.command(&command)?, verb) {
        (Reply::Done, CtlVerb::Reload(confirm)) if confirm.confirm.is_some() => {
            "reloaded; `evenkeel ctl confirm` makes it final"
        }
        (Reply::Done, CtlVerb::Reload(_)) => "reloaded",
        (Reply::Unchanged, CtlVerb::Reload(_)) => "nothing has changed",
        (Reply::Done, CtlVerb::DrainAll { .. }) => "called off; clients are accepted",
        (Reply::Done, _) => "done",
        (Reply::Unchanged, CtlVerb::Enable { .. }) => "already enabled",
        (Reply::Unchanged, CtlVerb::Disable { .. }) => "already disabled",
        (Reply::Unchanged, CtlVerb::Drain { .. }) => "already draining",
        (Reply::Unchanged, _) => "nothing to change",
    })
}

/// Drains a backend and waits until it has no sessions, for at most `limit`.
fn drain(
    client: &Client,
    verb: &CtlVerb,
    backend: &BackendSelector,
    limit: Option<Duration>,
) -> Result<String, Failure> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    order(client, verb)?;
    loop {
        let status = client.status()?;
        // One that is gone meanwhile has no sessions either.
        let sessions = find_backend(&status, backend).map_or(0, |row| row.sessions);
        if sessions == 0 {
            return Ok("drained\n".to_owned());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure {
                status: ExitStatus::Failure,
                message: format!("backend {backend} is draining, but still has {sessions} open"),
            });
        }
        std::thread::sleep(DRAIN_LOOK);
    }
}

/// Drains the whole instance.
fn drain_all(client: &Client, by: Moment, wait: bool) -> Result<String, Failure> {
    let failed = |message| Failure { status: ExitStatus::Failure, message };
    let time = match by {
        Moment::After(time) => time.0,
        Moment::At { hour, minute } => until(&Zoned::now(), hour, minute)
            .ok_or_else(|| failed(format!("no clock shows {hour:02}:{minute:02} soon")))?,
    };
    let seconds = u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    if !wait {
        client.command(&Command::DrainAll { seconds, wait })?;
        let text = "draining; `evenkeel ctl drain-all --cancel` calls it off\n";
        return Ok(text.to_owned());
    }
    let Drained { finished, ended, cut } = client.drain_all(seconds)?;
    let text = format!("drained: {finished} finished, {ended} ended while silent, {cut} cut");
    if cut == 0 { Ok(text + "\n") } else { Err(failed(text)) }
}

/// How long it is until the clock shows this.
fn until(now: &Zoned, hour: u8, minute: u8) -> Option<Duration> {
    let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
    [now.date(), now.date().tomorrow().ok()?].into_iter().find_map(|date| {
        let at = date.at(hour, minute, 0, 0).to_zoned(now.time_zone().clone()).ok()?;
        Duration::try_from(now.duration_until(&at)).ok().filter(|time| !time.is_zero())
    })
}

/// How often to check whether a backend is drained.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

fn find_backend<'a>(status: &'a Status, selector: &BackendSelector) -> Option<&'a BackendRow> {
    let mut all = status.pools.iter().flat_map(|pool| {
        let tiers = pool.tiers.iter().enumerate();
        tiers.flat_map(move |(tier, row)| {
            let backends = row.backends.iter().enumerate();
            backends.map(move |(index, row)| (pool, tier, index, row))
        })
    });
    let is_it = |(pool, tier, index, row): &(&PoolRow, usize, usize, &BackendRow)| {
        let is_called = |text: &str| {
            let names = row.name.as_deref().into_iter().chain([&*row.endpoint]);
            names.chain(row.addresses.iter().map(String::as_str)).any(|it| it == text)
        };
        selector.fits(&pool.name, *tier, *index, is_called)
    };
    all.find(is_it).map(|(.., row)| row)
}

/// `text` without control characters that a terminal would obey, because any process may answer.
pub fn printable(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n', "?")
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now: &str, (hour, minute): (u8, u8), expected: Option<u64>) {
        let now: Zoned = now.parse().unwrap();
        assert_eq!(until(&now, hour, minute), expected.map(Duration::from_secs));
    }

    #[test]
    fn a_time_of_day_is_the_next_one() {
        check("2026-11-27T17:00:30[UTC]", (17, 30), Some(1770));
        check("2026-11-27T17:30:00[UTC]", (17, 30), Some(24 * 3600));
        check("2026-11-27T17:31:00[UTC]", (17, 30), Some(24 * 3600 - 60));
        check("2026-11-27T23:59:59[+02:00]", (0, 0), Some(1));
    }
}
