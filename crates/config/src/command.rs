//! Every change a running balancer accepts, whichever door it came through.

use balancing::{AdminState, Policy};
use serde::{Deserialize, Serialize};
use std::fmt;
use terms::Limit;

/// One change. The HTTP API carries it as JSON; `ctl` and the classics' shells are translations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Puts a backend in or out of service.
    SetAdminState {
        /// Which.
        backend: BackendSelector,
        /// The state to take.
        state: AdminState,
    },
    /// Changes a backend's `sessions_max`. Open sessions are counted, and none is ended.
    SetSessionsMax {
        /// Which.
        backend: BackendSelector,
        /// The limit, written as a number: zero for none, negative for "never any".
        sessions_max: Limit,
    },
    /// Leaves a backend out for so long from now, as if a connect to it had failed.
    Quarantine {
        /// Which.
        backend: BackendSelector,
        /// How long, in seconds; zero ends a quarantine at once.
        seconds: u32,
    },
    /// Sets a backend's counters back to zero; its open sessions stay counted.
    ResetCounters {
        /// Which.
        backend: BackendSelector,
    },
    /// Appends a disabled backend to a tier, which may be a new one.
    AddBackend {
        /// The tier's number. Tiers in between come to be, empty.
        tier: usize,
        /// `host:port`, `[v6]:port` or `unix:/path`.
        endpoint: String,
    },
    /// Gives a disabled backend another address. Open sessions stay where they are.
    SetEndpoint {
        /// Which.
        backend: BackendSelector,
        /// `host:port`, `[v6]:port` or `unix:/path`.
        endpoint: String,
    },
    /// Changes the rule by which a tier chooses.
    SetPolicy {
        /// The tier's number, which may be a new one.
        tier: usize,
        /// The rule.
        policy: Policy,
    },
    /// Ends one session.
    KillSession {
        /// Its number, as the session list shows it.
        session: u64,
    },
    /// Stops listening, lets sessions finish as configured, and ends the process.
    // Braces, since a variant without fields would let unknown ones pass.
    Shutdown {},
}

/// Names one backend: by place, `TIER.INDEX`, or by address as it was configured.
///
/// Written as text in the API too: `"0.1"`, `"db1:5432"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum BackendSelector {
    /// The tier's number and the backend's place in it, both from zero.
    Place {
        /// The tier.
        tier: usize,
        /// The place.
        index: usize,
    },
    /// The name a status report shows.
    Name(String),
}

/// What a command answers when it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done,
    /// It was so already.
    Unchanged,
}

/// Why a command was not carried out; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "detail", rename_all = "kebab-case")]
pub enum CommandError {
    /// No such backend.
    #[error("no backend {0}; `evenkeel ctl status` lists them")]
    UnknownBackend(String),
    /// The name fits several backends.
    #[error("{0} names several backends; use TIER.INDEX as `evenkeel ctl status` shows it")]
    AmbiguousBackend(String),
    /// No such session.
    #[error("no session {0}; `evenkeel ctl sessions` lists them")]
    UnknownSession(u64),
    /// The address could not be understood or resolved.
    #[error("no usable address {0}")]
    InvalidEndpoint(String),
    /// A backend in service keeps its address.
    #[error("backend {0} must be disabled before its address can change")]
    NotDisabled(String),
    /// The tier number is beyond what can be.
    #[error("tier {0} is out of range")]
    TierOutOfRange(usize),
    /// The process is ending.
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
