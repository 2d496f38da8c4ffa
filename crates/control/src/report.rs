//! Reports what happens.

use crate::Instance;
use crate::lines::describe;
use crate::log::{LogTarget, LogWriter};
use crate::unserved::{Unserved, Warning};
use dataplane::Event;
use sys::process::{Facility, Priority, open_syslog};
use telemetry::{Level, Line, LineFormat, Stamp, Value};
use terms::CloseReason;

/// Receives everything that happens, and reports it in the way of its personality.
pub trait Reporter: Send {
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

/// The native log: one line per ended session and per change, on standard error or, in the
/// background, in the system log.
pub struct LogReporter {
    format: LineFormat,
    to_syslog: bool,
    stamp: Stamp,
    out: String,
    writer: LogWriter,
    unserved: Unserved,
}

impl LogReporter {
    /// A log in this format. If lines go to the system log, this connects to it, which must happen
    /// before the process changes its root directory.
    #[must_use]
    pub fn new(format: LineFormat, to_syslog: bool) -> Self {
        let target = match to_syslog {
            true => {
                open_syslog(c"evenkeel", Facility::Daemon);
                LogTarget::Syslog
            }
            false => LogTarget::Stderr,
        };
        let writer = LogWriter::new(target, move |lines| {
            let message = "log lines dropped: they were not read in time";
            let fields = &[("lines", Value::Count(lines))];
            let line = Line { level: Level::Warn, message, fields };
            match to_syslog {
                true => line.without_time() + "\n",
                false => {
                    let mut text = String::new();
                    line.write(format, sys::clock::wall_nanos(), &mut Stamp::default(), &mut text);
                    text
                }
            }
        });
        let (stamp, out, unserved) = (Stamp::default(), String::new(), Unserved::default());
        Self { format, to_syslog, stamp, out, writer, unserved }
    }
}

impl LogReporter {
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
    fn event(&mut self, event: &Event, instance: &Instance) {
        describe(event, instance, &mut |line| self.note(line));
        if let Event::Ended(ended) = event {
            let now = sys::clock::now();
            if let Some(warning) = self.unserved.add(ended.listener, ended.reason, now) {
                self.unserved(&warning, instance);
            }
        }
    }

    fn note(&mut self, line: &Line<'_>) {
        if self.to_syslog {
            let priority = match line.level {
                Level::Error => Priority::Error,
                Level::Warn => Priority::Warning,
                Level::Info => Priority::Info,
            };
            self.writer.line(priority, &line.without_time());
        } else {
            line.write(self.format, sys::clock::wall_nanos(), &mut self.stamp, &mut self.out);
        }
    }

    fn tick(&mut self, instance: &Instance) {
        for warning in self.unserved.due(sys::clock::now()) {
            self.unserved(&warning, instance);
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
        self.flush();
        self.writer.finish();
    }
}
