//! Reports what happens.

use crate::Instance;
use crate::bind::StartError;
use crate::lines::{describe, describe_open, is_about_session};
use crate::log::{LogTarget, LogWriter};
use crate::unserved::{Unserved, Warning};
use config::LogSessions;
use config::environment::JOURNAL_STREAM;
use dataplane::{Ended, Event, SessionInfo};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use sys::bounded_files::open_log;
use sys::process::{Facility, Priority, open_syslog};
use telemetry::{Level, Line, LineFormat, Stamp, Value};
use terms::{CloseReason, Instant};

/// Receives everything that happens, and reports it in the way of its personality.
pub trait Reporter: Send {
    /// Opens the file of the log, as the user of the process and under its root directory.
    ///
    /// # Errors
    /// If that fails. The start then fails.
    fn open(&mut self) -> Result<(), StartError> {
        Ok(())
    }
    /// Opens the file of the log again: somebody has renamed it.
    fn reopen(&mut self) {}
    /// How many lines have been lost because nobody read them in time.
    fn lost_lines(&self) -> u64 {
        0
    }
    /// How many sessions are not in the log because only a sample is.
    fn left_out(&self) -> u64 {
        0
    }
    /// A session is open that has come to one of the ages at which the log mentions it.
    fn aged(&mut self, _session: &SessionInfo, _instance: &Instance) {}
    /// Something happened in the data plane.
    fn event(&mut self, event: &Event, instance: &Instance);
    /// Something happened in the control plane: a start, a command, an end.
    fn note(&mut self, line: &Line<'_>);
    /// This many events were dropped, because they arrived faster than they could be reported.
    fn dropped(&mut self, events: u64) {
        let fields = &[("events", Value::Count(events))];
        let message = "events dropped: they came faster than they could be logged";
        self.note(&Line { level: Level::Warn, message, fields });
    }
    /// Reports what was held back and is due. Called every few seconds.
    fn tick(&mut self, _instance: &Instance) {}
    /// A batch is complete: write what was gathered.
    fn flush(&mut self) {}
    /// The process is about to exit: wait for unwritten lines, but not for long.
    fn finish(&mut self) {}
}

/// How the native log is written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The format of lines.
    pub format: LineFormat,
    /// Whether lines go to the system log, unless there is a file.
    pub to_syslog: bool,
    /// The absolute path of a file.
    pub file: Option<PathBuf>,
    /// Which ends of sessions are logged.
    pub sessions: LogSessions,
    /// One in this many sessions without problems is logged.
    pub sample: NonZeroU32,
    /// Connecting for longer is a problem.
    pub slow_connect: Option<Duration>,
}

/// The native log: one line per ended session and per change, on standard error or, in the
/// background, in the system log.
pub struct LogReporter {
    options: LogOptions,
    /// Whether each line begins with its priority, as the journal wants it.
    is_journal: bool,
    stamp: Stamp,
    out: String,
    writer: LogWriter,
    unserved: Unserved,
    left_out: LeftOut,
}

/// Sessions that are not in the log because only a sample is.
#[derive(Default)]
struct LeftOut {
    total: u64,
    /// How many of them the log has mentioned, and when it last did.
    mentioned: u64,
    mentioned_at: Option<Instant>,
}

/// How often the log mentions how many sessions it has left out.
const MENTIONED_EVERY: Duration = Duration::from_secs(60);

impl LogReporter {
    /// A log of this kind. If lines go to the system log, this connects to it, which must happen
    /// before the process changes its root directory.
    #[must_use]
    pub fn new(options: LogOptions) -> Self {
        let options =
            LogOptions { to_syslog: options.to_syslog && options.file.is_none(), ..options };
        let journal = std::env::var(JOURNAL_STREAM.name);
        let is_journal = !options.to_syslog
            && options.file.is_none()
            && journal.is_ok_and(|stream| sys::process::is_journal(&stream));
        let target = match options.to_syslog {
            true => {
                open_syslog(c"evenkeel", Facility::Daemon);
                LogTarget::Syslog
            }
            false => LogTarget::Stderr,
        };
        let (format, to_syslog) = (options.format, options.to_syslog);
        let writer = LogWriter::new(target, move |lines| {
            let message = "log lines dropped: they were not read in time";
            let fields = &[("lines", Value::Count(lines))];
            let line = Line { level: Level::Warn, message, fields };
            match to_syslog {
                true => line.without_time() + "\n",
                false => {
                    let mut text = prefix(line.level, is_journal).to_owned();
                    line.write(format, sys::clock::wall_nanos(), &mut Stamp::default(), &mut text);
                    text
                }
            }
        });
        let (stamp, out, unserved) = (Stamp::default(), String::new(), Unserved::default());
        Self { options, is_journal, stamp, out, writer, unserved, left_out: LeftOut::default() }
    }
}

/// Whether a session is one of the sample, of which there is one in `among`. All lines about it are
/// or are not in the log. Numbers of sessions follow patterns, so they are scattered first.
fn is_in_sample(session: u64, among: NonZeroU32) -> bool {
    let mut mixed = session.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed >> 32).is_multiple_of(u64::from(among.get()))
}

/// What the journal takes for the priority of a line (sd-daemon(3)).
fn prefix(level: Level, is_journal: bool) -> &'static str {
    match level {
        _ if !is_journal => "",
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
    }
}

impl LogReporter {
    /// Whether the end of a session is to be logged. Counts it if that is only for the sample.
    fn is_wanted(&mut self, ended: &Ended) -> bool {
        let slow = self.options.slow_connect;
        let is_slow = slow.is_some_and(|limit| ended.connect.is_some_and(|took| took > limit));
        match self.options.sessions {
            LogSessions::None => false,
            _ if is_slow || ended.is_problem() => true,
            LogSessions::Problems => false,
            LogSessions::All => {
                let is_in = is_in_sample(ended.session, self.options.sample);
                self.left_out.total += u64::from(!is_in);
                is_in
            }
        }
    }

    /// Logs how many sessions were left out since the last such line.
    fn mention_left_out(&mut self) {
        let sessions = self.left_out.total - self.left_out.mentioned;
        self.left_out.mentioned = self.left_out.total;
        if sessions > 0 {
            let fields = [
                ("sessions", Value::Count(sessions)),
                ("log-sample", Value::Count(self.options.sample.get().into())),
            ];
            let message = "sessions without problems were not logged";
            self.note(&Line { level: Level::Info, message, fields: &fields });
        }
    }

    fn unserved(&mut self, warning: &Warning, instance: &Instance) {
        let listener = instance.listener_name(warning.listener);
        let fields = [
            ("listener", Value::Text(&listener)),
            ("reason", Value::Text(&warning.reason)),
            ("sessions", Value::Count(warning.sessions)),
        ];
        let message = match warning.reason {
            CloseReason::ProxyInvalid | CloseReason::ProxyTimeout => {
                "proxies have not announced their clients; accept-proxy takes no others"
            }
            CloseReason::Limit => "all backends have as many sessions as their limits allow",
            _ => "no backend has served these sessions",
        };
        self.note(&Line { level: Level::Warn, message, fields: &fields });
    }
}

impl Reporter for LogReporter {
    fn open(&mut self) -> Result<(), StartError> {
        if let Some(path) = &self.options.file {
            let file = open_log(path);
            let file = file.map_err(|source| StartError::Log { path: path.clone(), source })?;
            self.writer.begin_with(file);
        }
        Ok(())
    }

    fn reopen(&mut self) {
        let Some(path) = self.options.file.clone() else { return };
        self.flush();
        // If it cannot be opened, the log goes on where it is.
        self.writer.switch(move || open_log(&path).ok());
        let fields = [("signal", Value::Text(&"SIGUSR1"))];
        self.note(&Line { level: Level::Info, message: "log opened again", fields: &fields });
        self.flush();
    }

    fn lost_lines(&self) -> u64 {
        self.writer.lost_total()
    }

    fn left_out(&self) -> u64 {
        self.left_out.total
    }

    fn aged(&mut self, session: &SessionInfo, instance: &Instance) {
        if is_in_sample(session.session, self.options.sample) {
            describe_open(session, instance, &mut |line| self.note(line));
        }
    }

    fn event(&mut self, event: &Event, instance: &Instance) {
        let is_wanted = match event {
            Event::Ended(ended) => self.is_wanted(ended),
            Event::Started(it) => is_in_sample(it.session, self.options.sample),
            _ => true,
        };
        describe(event, instance, &mut |line| {
            if is_wanted || !is_about_session(line) {
                self.note(line);
            }
        });
        if let Event::Ended(ended) = event {
            let now = sys::clock::now();
            if let Some(warning) = self.unserved.add(ended.listener, ended.reason, now) {
                self.unserved(&warning, instance);
            }
        }
    }

    fn note(&mut self, line: &Line<'_>) {
        if self.options.to_syslog {
            let priority = match line.level {
                Level::Error => Priority::Error,
                Level::Warn => Priority::Warning,
                Level::Info => Priority::Info,
            };
            self.writer.line(priority, &line.without_time());
        } else {
            self.out.push_str(prefix(line.level, self.is_journal));
            let format = self.options.format;
            line.write(format, sys::clock::wall_nanos(), &mut self.stamp, &mut self.out);
        }
    }

    fn tick(&mut self, instance: &Instance) {
        let now = sys::clock::now();
        for warning in self.unserved.due(now) {
            self.unserved(&warning, instance);
        }
        if now.since(*self.left_out.mentioned_at.get_or_insert(now)) >= MENTIONED_EVERY {
            self.left_out.mentioned_at = Some(now);
            self.mention_left_out();
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.writer.write(&self.out);
            self.out.clear();
        }
    }

    fn finish(&mut self) {
        self.mention_left_out();
        self.flush();
        self.writer.finish();
    }
}
