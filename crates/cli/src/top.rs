//! `evenkeel top`: asks an instance, again and again, and hands the answers to the dashboard.

use crate::ctl::choose;
use crate::output::complain;
use config::ExitStatus;
use config::environment::NO_COLOR;
use config::native::{EventQuery, SessionQuery, TopArgs};
use config::{Command, Reply};
use control::{Client, ClientError};
use dashboard::{App, Ask, News, run};
use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::Duration;
use sys::errors::with_causes;
use terms::SessionOrder;

/// What waits to be shown. If it is full, the instance counts what is lost.
const NEWS_MAX: usize = 4096;

/// From one reading to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Runs `evenkeel top`.
pub fn main(args: &TopArgs) -> ExitCode {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        complain("evenkeel top: needs a terminal; `evenkeel ctl status` prints to anything");
        return ExitStatus::Usage.into();
    }
    let client = match choose(&args.which) {
        Ok(client) => client,
        Err(failure) => return failure.report("evenkeel top"),
    };
    let (news, arrive) = sync_channel(NEWS_MAX);
    let (asks, asked) = channel();
    // The threads end with the process, whatever they wait for.
    if let Ok(follower) = choose(&args.which) {
        let news = news.clone();
        std::thread::spawn(move || keep_following(&follower, &news));
    }
    std::thread::spawn(move || keep_reading(&client, &news, &asked));
    let has_colour = std::env::var_os(NO_COLOR.name).is_none_or(|it| it.is_empty());
    match run(App::new(true, has_colour), &arrive, &asks) {
        Ok(()) => ExitStatus::Success.into(),
        Err(error) => {
            complain(&format!("evenkeel top: cannot use the terminal: {error}"));
            ExitStatus::Failure.into()
        }
    }
}

/// Reads the status and the sessions every second, and carries out what is asked in between.
fn keep_reading(client: &Client, news: &SyncSender<News>, asked: &Receiver<Ask>) {
    loop {
        let reading = match read(client) {
            Ok(reading) => reading,
            Err(error) => News::Lost(with_causes(&error)),
        };
        if news.send(reading).is_err() {
            return;
        }
        match asked.recv_timeout(EVERY) {
            Ok(Ask::Command(command)) => drop(news.send(News::Answer(send(client, &command)))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Passes on what happens, also after a restart of the instance.
fn keep_following(client: &Client, news: &SyncSender<News>) {
    loop {
        let mut rest = Vec::new();
        // Why it has ended is what reading finds out, too.
        let _ = client.events(&EventQuery::default(), |bytes| {
            rest.extend_from_slice(bytes);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                if news.send(News::Event(line)).is_err() {
                    return false;
                }
            }
            rest.len() < LINE_BYTES_MAX
        });
        std::thread::sleep(EVERY);
    }
}

/// No line of the log is longer.
const LINE_BYTES_MAX: usize = 1 << 20;

/// How many sessions are read: the busiest.
const SESSIONS: usize = 1000;

fn read(client: &Client) -> Result<News, ClientError> {
    let busiest = SessionQuery { sort: SessionOrder::Rate, limit: SESSIONS, ..Default::default() };
    Ok(News::Reading(Box::new(client.status()?), client.sessions(&busiest)?))
}

/// Sends a command, and says what became of it.
fn send(client: &Client, command: &Command) -> Result<String, String> {
    match client.command(command) {
        Ok(Reply::Done) => Ok("done".to_owned()),
        Ok(Reply::Unchanged) => Ok("nothing to change".to_owned()),
        Err(error) => Err(with_causes(&error)),
    }
}
