//! The service manager, such as systemd, that has started this process: what it is told.
//!
//! It hears when the instance is ready, reloads and stops, what its state is, and that it is alive
//! (sd_notify(3)). Nothing here waits for the manager, and none of its faults is ours: what it
//! cannot take now it is told later, or never.

mod reports;
mod watchdog;

pub(crate) use reports::Reports;
pub(crate) use watchdog::Watchdog;

use std::ffi::OsString;
use std::time::Duration;
use sys::process::close_inherited;
use sys::supervisor::{ReportSocket, take_variable};

/// The service manager that has started this process, if one has.
#[derive(Default)]
pub struct ServiceManager {
    pub(crate) reports: Reports,
    /// The time within which it must hear that the instance is alive, each time anew.
    pub(crate) patience: Option<Duration>,
}

impl ServiceManager {
    /// Reads what a service manager has put into the environment, and removes it from there. In a
    /// daemon, this closes all descriptors that were left open for it, except the three standard
    /// ones. Call it once, before the process opens anything.
    #[must_use]
    pub fn from_environment(daemon: bool) -> Self {
        let address = take_variable("NOTIFY_SOCKET");
        let (interval, pid) = (take_variable("WATCHDOG_USEC"), take_variable("WATCHDOG_PID"));
        if daemon {
            close_inherited();
        }
        let socket = address.and_then(|address| ReportSocket::connect(&address));
        let reports = Reports::new(socket);
        Self { reports, patience: patience(interval, pid, std::process::id()) }
    }
}

/// The patience of the watchdog, if it watches this process. Source: sd_watchdog_enabled(3).
fn patience(interval: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| number(&pid) == Some(own.into()));
    let micros = number(&interval?).filter(|&micros| micros > 0 && is_ours)?;
    Some(Duration::from_micros(micros))
}

fn number(text: &std::ffi::OsStr) -> Option<u64> {
    text.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(interval: &str, pid: Option<&str>, expected: Option<u64>) {
        let found = patience(Some(interval.into()), pid.map(OsString::from), 17);
        assert_eq!(found, expected.map(Duration::from_micros));
    }

    #[test]
    fn the_watchdog_watches_the_process_it_names() {
        check("30000000", None, Some(30_000_000));
        check("30000000", Some("17"), Some(30_000_000));
        check("30000000", Some("18"), None);
        check("30000000", Some(""), None);
        check("0", Some("17"), None);
        check("soon", Some("17"), None);
        assert_eq!(patience(None, Some("17".into()), 17), None);
    }
}
