//! The network interface that says whether clients should be sent to this instance.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use sys::ready_interface::ReadyInterface;

/// Why clients should not be sent to this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// It is shutting down, or has announced that it will.
    Ending,
    /// It is being drained.
    Draining,
    /// No backend is available in this pool, or in any if there is no name.
    NoBackend(Option<String>),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ending => f.write_str("shutting down"),
            Self::Draining => f.write_str("draining"),
            Self::NoBackend(Some(pool)) => write!(f, "no backend available in pool {pool}"),
            Self::NoBackend(None) => f.write_str("no backend available"),
        }
    }
}

/// The interface whose carrier follows readiness, if there is one.
#[derive(Default)]
pub(crate) struct Beacon {
    interface: Option<(String, ReadyInterface)>,
    /// What it says, once it says anything.
    is_ready: Option<bool>,
}

impl Beacon {
    /// Makes the interface, or goes on with the one that an old process had.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(name: Option<&str>, inherited: Option<OwnedFd>) -> io::Result<Self> {
        let make = |name: &str| {
            let interface = match inherited {
                Some(device) => ReadyInterface::inherit(device),
                None => ReadyInterface::open(name)?,
            };
            Ok::<_, io::Error>((name.to_owned(), interface))
        };
        Ok(Self { interface: name.map(make).transpose()?, is_ready: None })
    }

    /// Whether there is an interface.
    pub fn is_lit(&self) -> bool {
        self.interface.is_some()
    }

    /// What keeps the interface in another process, and its name.
    pub fn copy(&self) -> Option<(String, OwnedFd)> {
        let (name, interface) = self.interface.as_ref()?;
        Some((name.clone(), interface.copy().ok()?))
    }

    /// Shows whether the instance is ready. Returns whether that is news.
    ///
    /// # Errors
    /// If the interface was removed from outside.
    pub fn show(&mut self, is_ready: bool) -> io::Result<bool> {
        let Some((_, interface)) = &self.interface else { return Ok(false) };
        if self.is_ready == Some(is_ready) {
            return Ok(false);
        }
        self.is_ready = Some(is_ready);
        interface.set_carrier(is_ready).map(|()| true)
    }

    /// Shows whether the instance is ready the next time, whatever it has shown before.
    pub fn forget(&mut self) {
        self.is_ready = None;
    }

    /// Removes the interface, so that another instance can have it.
    pub fn put_out(&mut self) {
        self.interface = None;
    }
}

/// How often the interface is brought up to date, whatever happens: quarantines end by themselves.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);
