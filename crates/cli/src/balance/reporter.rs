//! What a running balance prints: with `-d` its steps, with `-p` every block, and the few
//! notices it gives without being asked.

use balancing::BackendChange;
use classics::balance::{BalanceArgs, Block, Direction, debug, render_dump};
use control::{Instance, LogTarget, LogWriter, Reporter};
use dataplane::{Event, Trace};
use sys::process::{Facility, Priority, open_syslog};
use telemetry::Line;
use terms::{Address, CloseReason, Side};

/// Prints as the original does. In the background everything but notices goes nowhere.
pub struct BalanceReporter {
    foreground: bool,
    idle_seconds: u64,
    stdout: Stream,
    stderr: Stream,
    /// For notices in the background.
    syslog: LogWriter,
}

/// Text of this batch, and where it goes.
struct Stream {
    text: String,
    writer: LogWriter,
}

impl Stream {
    fn new(target: LogTarget) -> Self {
        let writer = LogWriter::new(target, |lines| {
            format!("balance: {lines} lines dropped: they were not read in time\n")
        });
        Self { text: String::new(), writer }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() >= GATHERED_BYTES_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.writer.write(&self.text);
            self.text.clear();
        }
    }
}

/// How much text is gathered before it is handed over; a batch of blocks makes more.
const GATHERED_BYTES_MAX: usize = 64 << 10;

impl BalanceReporter {
    /// For a proxy called like this. Connects to the system log where notices go there.
    pub fn new(args: &BalanceArgs) -> Self {
        if !args.foreground {
            open_syslog(c"Balance", Facility::Daemon);
        }
        Self {
            foreground: args.foreground,
            idle_seconds: args.idle_seconds.unwrap_or_default().into(),
            stdout: Stream::new(LogTarget::Stdout),
            stderr: Stream::new(LogTarget::Stderr),
            syslog: LogWriter::new(LogTarget::Syslog, |lines| format!("{lines} lines dropped\n")),
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
        self.stderr.push(&text);
    }

    fn auto_disabled(&mut self, (group, channel): (usize, usize), address: Option<&Address>) {
        let address = address.map(ToString::to_string).unwrap_or_default();
        for line in debug::auto_disabled(group, channel, &address) {
            if self.foreground {
                self.stderr.push(&(line + "\n"));
            } else {
                self.syslog.line(Priority::Notice, &line);
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
                self.stdout.push(&render_dump(direction, block));
            }
            Event::Backend { backend, place, change: BackendChange::AutoDisabled, .. } => {
                self.auto_disabled(*place, backend.addresses.first());
            }
            Event::Ended(ended) if ended.reason == CloseReason::IdleTimeout => {
                self.stderr.push(&debug::timed_out(self.idle_seconds));
            }
            Event::Started(_)
            | Event::Ended(_)
            | Event::Backend { .. }
            | Event::ConnectFailed(_)
            | Event::SourceUnusable { .. }
            | Event::Request { .. }
            | Event::Trouble(_)
            | Event::TroubleOver(_) => {}
        }
    }

    fn note(&mut self, _: &Line<'_>) {
        // The original reports no start, stop, connection or command.
    }

    fn dropped(&mut self, events: u64) {
        let text = format!("balance: {events} events dropped: they came faster than printed\n");
        self.stderr.push(&text);
    }

    fn flush(&mut self) {
        self.stdout.flush();
        self.stderr.flush();
    }

    fn finish(&mut self) {
        self.flush();
        for writer in [&self.stdout.writer, &self.stderr.writer, &self.syslog] {
            writer.finish();
        }
    }
}
