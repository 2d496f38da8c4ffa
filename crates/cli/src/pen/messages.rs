//! What pen tells people: on standard error with the time, or in the system log.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;
use sys::process::{Facility, Priority, open_syslog, syslog};

/// Says things where somebody may read them.
#[derive(Clone)]
pub struct Messages {
    foreground: bool,
    /// Found out at the start: under another root directory there may be no zone to find.
    zone: TimeZone,
    /// Whether standard output is for something else than answers.
    quiet: bool,
}

impl Messages {
    /// On standard error in the foreground, else in the system log.
    pub fn new(foreground: bool) -> Self {
        if !foreground {
            open_syslog(c"pen", Facility::User);
        }
        Self { foreground, zone: TimeZone::system(), quiet: false }
    }

    /// On standard error, and answers nowhere.
    pub fn without_answers() -> Self {
        Self { quiet: true, ..Self::new(true) }
    }

    /// Answers to lines of files and options go to standard output.
    pub fn answer(&self, text: &str) {
        if !text.is_empty() && !self.quiet {
            // Nobody is left to be told that standard output is closed.
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        }
    }

    /// One message.
    pub fn say(&self, text: &str) {
        if self.foreground {
            self.print(&format!("{}: {text}\n", self.clock()));
        } else {
            syslog(Priority::Debug, text.as_bytes());
        }
    }

    /// Text without a time in front, as dumps of traffic are. Nowhere in the background.
    pub fn print(&self, text: &str) {
        if self.foreground {
            // Nobody is left to be told that standard error is closed.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// Local time: `2026-11-20 17:16:29`.
    pub fn clock(&self) -> String {
        let now = Timestamp::from_second(sys::clock::wall_nanos() / 1_000_000_000);
        let now = now.unwrap_or_default().to_zoned(self.zone.clone());
        now.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}
