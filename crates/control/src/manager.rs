//! The service manager, such as systemd, that has started this process: the reports that it gets, and
//! the sockets that it passes.
//!
//! Reports say that the instance is ready, is reloading or stopping, what its state is, and that it
//! is alive (sd_notify(3)). Nothing here waits for the manager. A report that it cannot take at the
//! moment is sent again later if it is about a turn in the life of the instance, and dropped
//! otherwise; a manager that fails never stops the instance.

mod passed;
mod reports;
mod store;
mod watchdog;

pub use passed::PassedSocketError;
pub(crate) use passed::PassedSockets;
pub(crate) use reports::Reports;
pub(crate) use store::name_of;
pub(crate) use watchdog::Watchdog;

use crate::bind::StartError;
use crate::calls::Belongings;
use crate::hand_over::error::TakeOverError;
use crate::hand_over::successor::Predecessor;
use crate::invocation::Invocation;
use crate::runtime_dir::hand_over_path;
use config::environment::{
    EVENKEEL_TAKE_OVER, EVENKEEL_TAKE_OVER_GUARD, FDSTORE, LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID,
    NOTIFY_SOCKET, Variable, WATCHDOG_PID, WATCHDOG_USEC,
};
use config::{PassedError, PassedNames, PassedVariables};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use sys::process::close_inherited;
use sys::supervisor::{ReportSocket, take_variable};

/// The service manager that has started this process, if one has.
#[derive(Default)]
pub struct ServiceManager {
    pub(crate) reports: Reports,
    /// The maximum time between two reports that the instance is alive; `None` if it expects none.
    pub(crate) patience: Option<Duration>,
    pub(crate) passed: PassedSockets,
    /// How this process was started.
    pub(crate) invocation: Invocation,
    /// The process that this one takes over.
    pub(crate) predecessor: Option<Predecessor>,
}

impl ServiceManager {
    /// Reads what a service manager has put into the environment, removes it from there, and takes
    /// over the sockets that it passes. In a daemon, this closes all other descriptors that were left
    /// open for it, except the three standard ones. Call it once, before the process opens anything.
    ///
    /// If another instance is to be taken over, this asks it.
    ///
    /// # Errors
    /// If the passed sockets cannot be used, or the other instance declines.
    pub fn from_environment(daemon: bool) -> Result<Self, StartError> {
        let own = std::process::id();
        let invocation = Invocation::own();
        let take_over = take_variable(EVENKEEL_TAKE_OVER.name);
        let guard = take_variable(EVENKEEL_TAKE_OVER_GUARD.name);
        let address = take_variable(NOTIFY_SOCKET.name);
        let (interval, pid) = (take_variable(WATCHDOG_USEC.name), take_variable(WATCHDOG_PID.name));
        let store = take_variable(FDSTORE.name);
        let announced = announced(own).map_err(PassedSocketError::from)?;
        let passed = PassedSockets::take_over(&announced)?;
        if daemon {
            close_inherited(announced.count());
        }
        let socket = address.and_then(|address| ReportSocket::connect(&address));
        let has_store = store.and_then(|it| number(&it)).is_some_and(|most| most > 0);
        let mut reports = Reports::new(socket, has_store);
        reports.keeps(passed.stored());
        let guard = guard.and_then(|it| number(&it)).map(Duration::from_millis);
        let ask = |path: OsString| Predecessor::ask(path.as_ref(), guard.unwrap_or_default(), true);
        Ok(Self {
            reports,
            patience: patience(interval, pid, own),
            passed,
            invocation,
            predecessor: take_over.map(ask).transpose()?,
        })
    }

    /// Takes over the instance with this admin socket, if there is one, in the foreground.
    ///
    /// # Errors
    /// If it declines.
    pub fn take_over(&mut self, admin: &Path) -> Result<(), StartError> {
        let path = hand_over_path(admin);
        match Predecessor::ask(&path, Duration::ZERO, false) {
            Ok(predecessor) => self.predecessor = Some(predecessor),
            Err(TakeOverError::NotThere { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether this process was started to take another instance over. To be asked before
    /// [`from_environment`](Self::from_environment).
    #[must_use]
    pub fn is_to_take_over() -> bool {
        std::env::var_os(EVENKEEL_TAKE_OVER.name).is_some()
    }

    /// What the companion of the instance that is being taken over has, once.
    pub fn take_belongings(&mut self) -> Option<Belongings> {
        self.predecessor.as_mut()?.belongings.take()
    }

    /// Whether another instance is being taken over.
    #[must_use]
    pub fn takes_over(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Whether it passes a Unix socket with this file. Such a file must stay.
    #[must_use]
    pub fn passes(&self, path: &Path) -> bool {
        self.passed.has_path(path)
    }
}

/// The sockets that are announced to this process.
fn announced(own: u32) -> Result<PassedNames, PassedError> {
    let take = |variable: Variable| take_variable(variable.name);
    let taken = [LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES].map(take);
    let [pid, count, names] =
        taken.each_ref().map(|value| value.as_ref().map(|value| value.to_string_lossy()));
    let (pid, count, names) = (pid.as_deref(), count.as_deref(), names.as_deref());
    PassedNames::parse(own, PassedVariables { pid, count, names })
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
