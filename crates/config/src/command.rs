//! The changes that a running balancer accepts, whatever door they come through.

use balancing::{AdminState, Policy};
use serde::{Deserialize, Serialize};
use std::fmt;
use terms::Limit;

/// A change. The HTTP API carries it as JSON; `ctl` and the classics' shells translate to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Puts a backend into service, or takes it out.
    SetAdminState {
        /// The backend.
        backend: BackendSelector,
        /// The new state.
        state: AdminState,
    },
    /// Changes a backend's `sessions_max`. Open sessions count, and none is ended.
    SetSessionsMax {
        /// The backend.
        backend: BackendSelector,
        /// The limit, as a number: zero for no limit, negative to admit none.
        sessions_max: Limit,
    },
    /// Skips a backend for some time from now, as if a connect to it had failed.
    Quarantine {
        /// The backend.
        backend: BackendSelector,
        /// The time in seconds; zero ends a quarantine at once.
        seconds: u32,
    },
    /// Sets a backend's counters to zero; its open sessions still count.
    ResetCounters {
        /// The backend.
        backend: BackendSelector,
    },
    /// Appends a disabled backend to a tier, which may be a new one.
    AddBackend {
        /// The tier's number. Tiers in between are created, empty.
        tier: usize,
        /// `host:port`, `[v6]:port` or `unix:/path`.
        endpoint: String,
    },
    /// Gives a disabled backend another address. Open sessions continue.
    SetEndpoint {
        /// The backend.
        backend: BackendSelector,
        /// `host:port`, `[v6]:port` or `unix:/path`.
        endpoint: String,
    },
    /// Changes a tier's policy.
    SetPolicy {
        /// The tier's number; a new tier may be created.
        tier: usize,
        /// The policy.
        policy: Policy,
    },
    /// Ends one session.
    KillSession {
        /// The session's number, as shown in the list of sessions.
        session: u64,
    },
    /// Stops listening, lets sessions finish as configured, and ends the process.
    // Braces, because a variant without fields would accept unknown fields.
    Shutdown {},
}

/// Selects a backend: by place, `TIER.INDEX`, or by address as configured.
///
/// The API also writes it as text: `"0.1"`, `"db1:5432"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum BackendSelector {
    /// The tier's number and the backend's index in it, both from zero.
    Place {
        /// The tier.
        tier: usize,
        /// The index.
        index: usize,
    },
    /// The name, as shown in a status report.
    Name(String),
}

/// The answer to a command that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// Nothing had to change.
    Unchanged,
}

/// Why a command was not carried out. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "detail", rename_all = "kebab-case")]
pub enum CommandError {
    /// No such backend.
    #[error("no backend {0}; `evenkeel ctl status` lists them")]
    UnknownBackend(String),
    /// Several backends have the name.
    #[error("several backends are called {0}; use TIER.INDEX, as shown by `evenkeel ctl status`")]
    AmbiguousBackend(String),
    /// No such session.
    #[error("no session {0}; `evenkeel ctl sessions` lists them")]
    UnknownSession(u64),
    /// The address could not be understood or resolved.
    #[error("no usable address {0}")]
    InvalidEndpoint(String),
    /// The address of a backend in service cannot change.
    #[error("backend {0} must be disabled before its address can change")]
    NotDisabled(String),
    /// The tier number is too large.
    #[error("tier {0} is out of range")]
    TierOutOfRange(usize),
    /// The process is shutting down.
    #[error("the balancer is shutting down")]
    ShuttingDown,
}

impl From<String> for BackendSelector {
    fn from(text: String) -> Self {
        let place = text.split_once('.').and_then(|(tier, index)| {
            Some(Self::Place { tier: tier.parse().ok()?, index: index.parse().ok()? })
        });
        place.unwrap_or(Self::Name(text))
    }
}

impl From<BackendSelector> for String {
    fn from(selector: BackendSelector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for BackendSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { tier, index } => write!(f, "{tier}.{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
