//! Messages to people: on standard error with the time, or in the system log.

use crate::output;
use control::{LogTarget, LogWriter};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sys::process::{Facility, Priority, open_syslog};

/// Writes messages. While pen runs, nothing here waits for a reader.
#[derive(Clone)]
pub struct Messages {
    outlet: Outlet,
    /// Found out at the start: under another root directory there may be no zone to find.
    zone: TimeZone,
}

#[derive(Clone)]
enum Outlet {
    /// Written at once: before the start, when there is no thread that could do it.
    Direct { answers: bool },
    /// Written by threads.
    Foreground { stdout: LogWriter, stderr: LogWriter },
    /// In the system log.
    Background(LogWriter),
}

impl Messages {
    /// Before the start: on standard error, and replies on standard output if they are wanted.
    pub fn direct(answers: bool) -> Self {
        Self::new(Outlet::Direct { answers })
    }

    /// For a running pen. Nothing may be written before it is in the background and has changed
    /// its user.
    pub fn running(foreground: bool) -> Self {
        Self::new(if foreground {
            let writer = |target| LogWriter::new(target, |lines| format!("{}\n", dropped(lines)));
            Outlet::Foreground {
                stdout: writer(LogTarget::Stdout),
                stderr: writer(LogTarget::Stderr),
            }
        } else {
            open_syslog(c"pen", Facility::User);
            Outlet::Background(LogWriter::new(LogTarget::Syslog, dropped))
        })
    }

    fn new(outlet: Outlet) -> Self {
        Self { outlet, zone: TimeZone::system() }
    }

    /// Replies to the commands of files and options go to standard output; in the background,
    /// nowhere.
    pub fn answer(&self, text: &str) {
        match &self.outlet {
            _ if text.is_empty() => {}
            // There is nobody to tell that standard output is closed.
            Outlet::Direct { answers: true } => drop(output::print(text)),
            Outlet::Foreground { stdout, .. } => stdout.write(text),
            Outlet::Direct { answers: false } | Outlet::Background(_) => {}
        }
    }

    /// One message.
    pub fn say(&self, text: &str) {
        match &self.outlet {
            Outlet::Direct { .. } => output::complain(&format!("{}: {text}", self.clock())),
            Outlet::Foreground { stderr, .. } => {
                stderr.write(format!("{}: {text}\n", self.clock()));
            }
            Outlet::Background(syslog) => syslog.line(Priority::Debug, text),
        }
    }

    /// Text without a time in front, as dumps of traffic are. Nowhere in the background.
    pub fn dump(&self, text: &str) {
        if let Outlet::Foreground { stderr, .. } = &self.outlet {
            stderr.write(text);
        }
    }

    /// Waits for what is still to be written, but not for long.
    pub fn finish(&self) {
        match &self.outlet {
            Outlet::Direct { .. } => {}
            Outlet::Foreground { stdout, stderr } => {
                stdout.finish();
                stderr.finish();
            }
            Outlet::Background(syslog) => drop(syslog.finish()),
        }
    }

    /// Local time: `2026-11-20 17:16:29`.
    pub fn clock(&self) -> String {
        let now = Timestamp::from_second(sys::clock::wall_nanos() / 1_000_000_000);
        let now = now.unwrap_or_default().to_zoned(self.zone.clone());
        now.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

fn dropped(lines: u64) -> String {
    format!("pen: {lines} lines dropped: they were not read in time")
}
