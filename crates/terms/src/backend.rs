//! What a backend is called by.

use std::fmt;

/// Names a backend for as long as the process runs, whatever becomes of its place, its address and
/// its limits. Given out when the backend enters the running configuration, and never given to
/// another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u64);

impl BackendId {
    /// The backend with this number. Whoever gives numbers out counts them up from one; zero is the
    /// default of a backend that is in no configuration.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one to be given out after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
