//! The words a session is described with.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether bulk data passes through kernel pipes (`splice(2)`) instead of through memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpliceMode {
    /// Once a direction is bulk, as long as it profits.
    #[default]
    Auto,
    /// From the first byte.
    Always,
    /// Never.
    Never,
}

/// One of a session's two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The backend's.
    Upstream,
}

/// Who ended a session, and how. The same words in logs, metrics and the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    /// Both sides finished; the client was first.
    ClientFin,
    /// The client's connection was reset.
    ClientReset,
    /// Both sides finished; the backend was first.
    BackendFin,
    /// The backend's connection was reset.
    BackendReset,
    /// No backend was left: the last one tried refused or was unreachable.
    ConnectRefused,
    /// No backend was left: the last one tried did not answer in time.
    ConnectTimeout,
    /// No backend was in service.
    NoBackend,
    /// An access list refused the client, and no reject backend took it.
    Denied,
    /// No socket could be had for the backend within the connect time-out.
    NoSocket,
    /// Nothing was said for `idle-timeout`.
    IdleTimeout,
    /// One side had finished, and the other said nothing for `half-close-timeout`.
    HalfCloseTimeout,
    /// An operator ended it.
    Admin,
    /// We answered it ourselves, as a dummy.
    Answered,
    /// It was still open when the shutdown's deadline came.
    Shutdown,
}

/// What peers see of a session that neither of them ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A reset, so that a truncated transfer cannot be taken for a complete one. Native default.
    Reset,
    /// An orderly end of file, as the classics do.
    Close,
}

impl CloseReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::ClientFin,
        Self::ClientReset,
        Self::BackendFin,
        Self::BackendReset,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::NoBackend,
        Self::Denied,
        Self::NoSocket,
        Self::IdleTimeout,
        Self::HalfCloseTimeout,
        Self::Admin,
        Self::Answered,
        Self::Shutdown,
    ];

    /// The word: `client-fin`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientFin => "client-fin",
            Self::ClientReset => "client-reset",
            Self::BackendFin => "backend-fin",
            Self::BackendReset => "backend-reset",
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::NoBackend => "no-backend",
            Self::Denied => "denied",
            Self::NoSocket => "no-socket",
            Self::IdleTimeout => "idle-timeout",
            Self::HalfCloseTimeout => "half-close-timeout",
            Self::Admin => "admin",
            Self::Answered => "answered",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Downstream => Self::Upstream,
            Self::Upstream => Self::Downstream,
        }
    }
}
