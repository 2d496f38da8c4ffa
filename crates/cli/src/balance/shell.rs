//! `balance -i` and `balance -c`: the dialogue with a running instance.

use crate::output::{complain, print};
use balancing::{AdminState, Policy};
use classics::balance::shell::{
    Answer, NO_MASTER, ShowRow, Step, SyntaxError, answer, banner, no_master_with_pid, parse, plan,
    prompt,
};
use config::{Command, CommandError, Endpoint, ExitStatus, Host};
use control::{Client, ClientError, first_ipv4, read_pid};
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};
use sys::process::service_port;
use telemetry::Status;

/// Runs one command, in group 0, and returns the exit status.
pub fn one_shot(socket: &Path, command: &str) -> u8 {
    status_of(Shell::open(socket).and_then(|mut shell| shell.run(command)))
}

/// Runs the dialogue, and returns the exit status. At a terminal, lines can be edited.
pub fn dialogue(socket: &Path) -> u8 {
    status_of(converse(socket))
}

fn converse(socket: &Path) -> Result<(), ExitStatus> {
    let mut shell = Shell::open(socket)?;
    say(&banner(shell.pid))?;
    let mut typed = Typed::new();
    while let Some(line) = typed.next(&prompt(shell.group))? {
        shell.run(&line)?;
    }
    say("\n")
}

/// A dialogue that ends early ends with a status, which may be that of a success.
fn status_of(result: Result<(), ExitStatus>) -> u8 {
    result.err().unwrap_or(ExitStatus::Success).code()
}

/// Where lines come from.
enum Typed {
    Person(Box<rustyline::DefaultEditor>),
    Script(io::StdinLock<'static>),
}

impl Typed {
    fn new() -> Self {
        let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
        match rustyline::DefaultEditor::new() {
            Ok(editor) if is_person => Self::Person(Box::new(editor)),
            _ => Self::Script(io::stdin().lock()),
        }
    }

    /// Prompts for a line; `None` at the end of input.
    fn next(&mut self, prompt: &str) -> Result<Option<String>, ExitStatus> {
        match self {
            Self::Person(editor) => {
                let line = editor.readline(prompt).ok();
                line.as_ref().map(|line| editor.add_history_entry(line));
                Ok(line)
            }
            Self::Script(input) => {
                say(prompt)?;
                let mut line = Vec::new();
                let count = input.read_until(b'\n', &mut line).unwrap_or(0);
                Ok((count > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
            }
        }
    }
}

/// A dialogue's state.
struct Shell<'a> {
    socket: &'a Path,
    client: Client,
    pid: u32,
    group: usize,
}

/// How long an instance may take to stop listening.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

impl<'a> Shell<'a> {
    fn open(socket: &'a Path) -> Result<Self, ExitStatus> {
        let client = Client::new(socket).map_err(|error| {
            complain(&format!("balance: {error}"));
            ExitStatus::OsError
        })?;
        match client.status() {
            Ok(status) if !status.shutting_down => {
                Ok(Self { socket, client, pid: status.pid, group: 0 })
            }
            Ok(_) => Err(no_master(None)),
            Err(error) => Err(unreachable(socket, &error)),
        }
    }

    /// Runs a line. The error is the status with which the dialogue ends.
    fn run(&mut self, line: &str) -> Result<(), ExitStatus> {
        let command = match parse(line) {
            None => return Ok(()),
            Some(Ok(command)) => command,
            Some(Err(SyntaxError)) => return say(&format!("{SyntaxError}\n")),
        };
        let ended = |error| unreachable(self.socket, &error);
        let rows = rows(&self.client.status().map_err(ended)?);
        match plan(&command, self.group, &rows, &service_port) {
            Step::Print(text) => say(&text),
            Step::EnterGroup(group) => {
                self.group = group;
                Ok(())
            }
            Step::Quit => Err(ExitStatus::Success),
            Step::Kill => Err(self.kill()),
            Step::Send(change) => {
                let reply = match self.send(change) {
                    Ok(reply) => Ok(reply),
                    Err(ClientError::Refused(refusal)) => Err(refusal),
                    Err(error) => return Err(ended(error)),
                };
                say(&format!("{}\n", answer(&command, self.group, &reply)))
            }
        }
    }

    /// Names are resolved here: the instance would look for IPv6 addresses too.
    fn send(&self, mut change: Command) -> Result<config::Reply, ClientError> {
        if let Command::AddBackend { endpoint, .. } | Command::SetEndpoint { endpoint, .. } =
            &mut change
            && let Ok(Endpoint::Tcp { host: Host::Name(name), port }) =
                config::operand::parse_endpoint(endpoint, &service_port)
        {
            let address =
                first_ipv4(&name).ok_or_else(|| CommandError::InvalidEndpoint(endpoint.clone()))?;
            *endpoint = format!("{address}:{port}");
        }
        self.client.command(&change)
    }

    /// Success is that nobody answers at the instance's name any more.
    fn kill(&self) -> ExitStatus {
        // An instance that ends while answering has done what was asked.
        let _ = self.client.command(&Command::Shutdown {});
        let begin = Instant::now();
        while self.client.status().is_ok_and(|status| !status.shutting_down) {
            if begin.elapsed() > KILL_TIMEOUT {
                return last_words(Answer::ShutdownFailed, ExitStatus::Unavailable);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        last_words(Answer::ShutdownComplete, ExitStatus::Success)
    }
}

/// The channels as `show` wants them.
fn rows(status: &Status) -> Vec<ShowRow> {
    let tiers = status.pools.iter().flat_map(|pool| pool.tiers.iter().enumerate());
    let mut rows = Vec::new();
    for (group, tier) in tiers {
        for (channel, backend) in tier.backends.iter().enumerate() {
            let address = backend.addresses.first().map_or("", String::as_str);
            let (address, port) = address.rsplit_once(':').unwrap_or((address, "0"));
            rows.push(ShowRow {
                group,
                hash: tier.policy == Policy::Hash,
                channel,
                enabled: backend.admin == AdminState::Enabled,
                address: address.to_owned(),
                port: port.parse().unwrap_or(0),
                connections: backend.sessions,
                total_connections: backend.attempts_total,
                maxc: backend.sessions_max.number(),
                sent: backend.sent_bytes_total,
                received: backend.received_bytes_total,
            });
        }
    }
    rows
}

fn unreachable(socket: &Path, error: &ClientError) -> ExitStatus {
    match error {
        ClientError::NotRunning { .. } => no_master(read_pid(socket)),
        ClientError::Forbidden { .. } => {
            let path = socket.to_owned();
            let denied = classics::balance::BalanceError::NameDenied { path, control: true };
            complain(&denied.to_string());
            denied.exit_status()
        }
        ClientError::Protocol { .. } | ClientError::Declined(_) | ClientError::Refused(_) => {
            complain(&format!("balance: {error}"));
            ExitStatus::OsError
        }
    }
}

fn no_master(pid: Option<u32>) -> ExitStatus {
    match pid {
        Some(pid) => last_words(no_master_with_pid(pid), ExitStatus::Unavailable),
        None => last_words(NO_MASTER, ExitStatus::Unavailable),
    }
}

/// Prints a line, and returns the status with which the dialogue ends.
fn last_words(text: impl Display, status: ExitStatus) -> ExitStatus {
    say(&format!("{text}\n")).err().unwrap_or(status)
}

/// Prints at once, also into a pipe. When that fails, the dialogue ends.
fn say(text: &str) -> Result<(), ExitStatus> {
    print(text).map_err(|error| error.report("balance"))
}
