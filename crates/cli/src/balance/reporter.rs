//! What a running balance prints: with `-d` its steps, with `-p` every block, and the few
//! notices it gives without being asked.

use balancing::BackendChange;
use classics::balance::{BalanceArgs, Block, Direction, debug, render_dump};
use control::{Instance, Reporter};
use dataplane::{Event, Trace};
use std::io::Write;
use sys::process::{Facility, Priority, syslog};
use telemetry::Line;
use terms::{Address, CloseReason, Side};

/// Prints as the original does. In the background everything but notices goes nowhere.
pub struct BalanceReporter {
    foreground: bool,
    idle_seconds: u64,
    stdout: String,
    stderr: String,
}

impl BalanceReporter {
    /// For a proxy called like this.
    pub fn new(args: &BalanceArgs) -> Self {
        Self {
            foreground: args.foreground,
            idle_seconds: args.idle_seconds.unwrap_or_default().into(),
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    fn trace(&mut self, trace: &Trace) {
        let text = match trace {
            Trace::Accepted { client: Some(client) } => debug::connect_from(client.ip()),
            Trace::Accepted { client: None } => return,
            Trace::Trying { tier, index, of, hash } => {
                let choice = hash.map(|hash| debug::hash_choice(hash, *of as u32));
                choice.unwrap_or_default() + &debug::trying(*tier, *index)
            }
            Trace::Connected { index } => {
                debug::attempt_result(debug::AttemptResult::Successful, 0, *index)
            }
            Trace::Failed { tier, index, timed_out } => {
                let result = match timed_out {
                    true => debug::AttemptResult::TimedOut,
                    false => debug::AttemptResult::Refused,
                };
                debug::attempt_result(result, *tier, *index)
            }
        };
        self.stderr.push_str(&text);
    }

    fn auto_disabled(&mut self, (group, channel): (usize, usize), address: Option<&Address>) {
        let address = address.map(ToString::to_string).unwrap_or_default();
        for line in debug::auto_disabled(group, channel, &address) {
            if self.foreground {
                self.stderr.push_str(&line);
                self.stderr.push('\n');
            } else {
                syslog(c"Balance", Facility::Daemon, Priority::Notice, &line);
            }
        }
    }
}

impl Reporter for BalanceReporter {
    fn event(&mut self, event: &Event, _: &Instance) {
        match event {
            Event::Trace(trace) => self.trace(trace),
            Event::Block { from, bytes, .. } => {
                let direction = match from {
                    Side::Downstream => Direction::FromClient,
                    Side::Upstream => Direction::FromServer,
                };
                let block = match bytes {
                    Some(bytes) if bytes.is_empty() => Block::End,
                    Some(bytes) => Block::Data(bytes),
                    None => Block::Error,
                };
                self.stdout.push_str(&render_dump(direction, block));
            }
            Event::Backend { backend, place, change: BackendChange::AutoDisabled, .. } => {
                self.auto_disabled(*place, backend.addresses.first());
            }
            Event::Ended(ended) if ended.reason == CloseReason::IdleTimeout => {
                self.stderr.push_str(&debug::timed_out(self.idle_seconds));
            }
            Event::Ended(_)
            | Event::Backend { .. }
            | Event::ConnectFailed(_)
            | Event::SourceUnusable { .. }
            | Event::Request { .. }
            | Event::Trouble(_)
            | Event::TroubleOver => {}
        }
    }

    fn note(&mut self, _: &Line<'_>) {
        // The original tells of no start, stop, connection or command.
    }

    fn flush(&mut self) {
        let write = |mut out: Box<dyn Write>, text: &mut String| {
            // Nobody is left to be told that a terminal went away.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            text.clear();
        };
        if !self.stdout.is_empty() {
            write(Box::new(std::io::stdout()), &mut self.stdout);
        }
        if !self.stderr.is_empty() {
            write(Box::new(std::io::stderr()), &mut self.stderr);
        }
    }
}
