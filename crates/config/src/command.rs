//! The changes that a running balancer accepts, whatever door they come through.

use balancing::{AdminState, Policy};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU8;
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
    /// Appends a disabled backend to a tier, or to a new one after the last.
    AddBackend {
        /// The pool, if there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
        /// The tier's number. One more than the last creates a tier with the last one's policy.
        tier: usize,
        /// `host:port`, `[v6]:port` or `unix:/path`.
        endpoint: String,
    },
    /// Removes a backend. Its open sessions continue; the backends after it in its tier move up by
    /// one place.
    RemoveBackend {
        /// Which.
        backend: BackendSelector,
    },
    /// Gives a disabled backend another address and leaves everything else as it is. Open sessions
    /// continue.
    SetEndpoint {
        /// The backend.
        backend: BackendSelector,
        /// `host:port`, `[v6]:port` or `unix:/path`.
        endpoint: String,
    },
    /// Changes a tier's policy.
    SetPolicy {
        /// The pool, if there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
        /// The tier's number.
        tier: usize,
        /// The policy.
        policy: Policy,
    },
    /// Ends sessions of backends that have more than their share, one after the other, so that their
    /// clients connect again and go where the policy sends them.
    Rebalance {
        /// The pool, if there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
        /// The most of each backend's sessions that end, in percent. Default: as many as are too
        /// many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share_percent: Option<NonZeroU8>,
        /// The time in seconds over which they end.
        seconds: u32,
    },
    /// Ends one session.
    KillSession {
        /// The session's number, as shown in the list of sessions.
        session: u64,
    },
    /// Reads the configuration file again, and applies what has changed in it since it was last
    /// read. What commands have changed stays, unless the file has changed the same key.
    Reload {
        /// The number of seconds after which the change is taken back, unless
        /// [`Command::Confirm`] comes before that. By default, it is final.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_seconds: Option<u32>,
    },
    /// Makes a reload final that would be taken back otherwise.
    Confirm {},
    /// Has clients go elsewhere, stops accepting, ends sessions while they are silent, and ends the
    /// process: when no session is left, or after a time, when it ends those that are.
    DrainAll {
        /// That time, in seconds.
        seconds: u32,
        /// Whether the answer waits for the end, and says what became of the sessions.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
    /// Calls [`Command::DrainAll`] off, and accepts clients again.
    CancelDrainAll {},
    /// Stops listening, lets sessions finish as configured, and ends the process.
    // Braces, because a variant without fields would accept unknown fields.
    Shutdown {},
}

/// What somebody may do with a running instance. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
    View,
    /// Take backends out and in, and end sessions.
    Operate,
    /// Everything.
    Admin,
}

impl Role {
    /// All roles with their words.
    pub const WORDS: [(&str, Self); 3] =
        [("view", Self::View), ("operate", Self::Operate), ("admin", Self::Admin)];

    /// The role of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(it, _)| *it == word).map(|(_, role)| *role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, role)| role == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

impl Command {
    /// The role that is needed for it.
    #[must_use]
    pub fn needs(&self) -> Role {
        match self {
            Self::SetAdminState { .. }
            | Self::SetSessionsMax { .. }
            | Self::Quarantine { .. }
            | Self::ResetCounters { .. }
            | Self::Rebalance { .. }
            | Self::KillSession { .. } => Role::Operate,
            Self::AddBackend { .. }
            | Self::RemoveBackend { .. }
            | Self::SetEndpoint { .. }
            | Self::SetPolicy { .. }
            | Self::Reload { .. }
            | Self::Confirm {}
            | Self::DrainAll { .. }
            | Self::CancelDrainAll {}
            | Self::Shutdown {} => Role::Admin,
        }
    }
}

/// Selects a backend: by place, `TIER.INDEX`, or by name or address, as shown in a status report.
/// `POOL/` before that searches only one pool: `0.1`, `db1:5432`, `web/0.1`, `web/db1`.
///
/// What a text selects is known only where the names of the pools are: `unix:/run/db` is an
/// address, unless there is a pool `unix:/run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendSelector(String);

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Sessions that end.
    Ends,
    /// Everything else in the log.
    Changes,
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

/// What became of the sessions that were open when a drain of the whole instance stopped accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Those that ended by themselves.
    pub finished: u64,
    /// Those that were ended while they were silent.
    pub ended: u64,
    /// Those that were ended because the time had passed.
    pub cut: u64,
}

/// Why a command was not carried out. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "detail", rename_all = "kebab-case")]
pub enum CommandError {
    /// No such backend.
    #[error("no backend {0}; `evenkeel ctl status` lists them")]
    UnknownBackend(String),
    /// Several backends fit.
    #[error("several backends are called {0}; use the place that `evenkeel ctl status` shows")]
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
    /// No such pool.
    #[error("no pool {0}; `evenkeel ctl status` lists them")]
    UnknownPool(String),
    /// No such listener.
    #[error("no listener {0}; `evenkeel ctl status` lists them")]
    UnknownListener(String),
    /// Several listeners fit; these are their names.
    #[error("several listeners fit; choose one of them by its name: {0}")]
    AmbiguousListener(String),
    /// The text does not name a client.
    #[error("{0} is no client; write an address, such as 10.0.0.1 or [::1]:4242, or unix")]
    InvalidClient(String),
    /// There are several pools, and the command does not select one. This is what it could have
    /// instead: a pool, or a tier of one if the command is about a tier.
    #[error("there are several pools; write which, as in {0}")]
    AmbiguousPool(String),
    /// The tier does not exist, and the command cannot make it.
    #[error("there is no tier {tier}; {}", tiers(*.next, *.can_add))]
    TierOutOfRange {
        /// The requested number.
        tier: usize,
        /// The number of the next new tier.
        next: usize,
        /// Whether the command could have made that one.
        #[serde(default)]
        can_add: bool,
    },
    /// The pool already has the maximum number of tiers.
    #[error("a pool can have at most {0} tiers")]
    TooManyTiers(usize),
    /// The pool's backends are known by their numbers.
    #[error(
        "{0} cannot be removed, because balance and pen know backends by number; disable it instead"
    )]
    FixedPlaces(String),
    /// The instance was not started from a file.
    #[error(
        "there is no configuration file to reload: this instance was started from a command line"
    )]
    NoFile,
    /// The configuration file has errors; each is a text of several lines with its place.
    #[error("{}", .0.join("\n"))]
    InvalidFile(Vec<String>),
    /// The configuration file asks for what a running balancer cannot do. All reasons.
    #[error("nothing was reloaded:\n{}", .0.join("\n"))]
    NotReloadable(Vec<String>),
    /// No reload waits for confirmation.
    #[error("no reload waits for confirmation")]
    NothingToConfirm,
    /// The instance is not being drained.
    #[error("no drain is under way; `evenkeel ctl drain-all` begins one")]
    NotDraining,
    /// The drain whose end was to be waited for was called off.
    #[error("the drain was called off")]
    CalledOff,
    /// The instance cannot accept clients again.
    #[error("the drain goes on, because the instance cannot accept clients again:\n{}", .0.join("\n"))]
    NotResumable(Vec<String>),
    /// Whoever sent it may not.
    #[error("this needs the role {needs}, and you have the role {has} here")]
    NotAllowed {
        /// The role that is needed.
        needs: Role,
        /// The role that whoever sent the command has.
        has: Role,
    },
    /// Another process is taking over.
    #[error("an upgrade is under way; try again when it is over")]
    HandingOver,
    /// The process is shutting down.
    #[error("the balancer is shutting down")]
    ShuttingDown,
}

impl BackendSelector {
    /// The backend at a place of the only pool.
    #[must_use]
    pub fn place(tier: usize, index: usize) -> Self {
        Self(format!("{tier}.{index}"))
    }

    /// Reads a selector. Whether it selects anything is only known where the backends are.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            let form = "a backend is TIER.INDEX, a name or an address, as shown by `status`";
            return Err(form.to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether this selects the backend at this place of `pool`. `is_called` says whether a text is
    /// one of the backend's names or addresses.
    pub fn fits(
        &self,
        pool: &str,
        tier: usize,
        index: usize,
        is_called: impl Fn(&str) -> bool,
    ) -> bool {
        let fits = |text: &str| parse_place(text) == Some((tier, index)) || is_called(text);
        fits(&self.0) || self.within(pool).is_some_and(fits)
    }

    /// What follows `POOL/`, if the selector begins with this pool.
    pub(crate) fn within(&self, pool: &str) -> Option<&str> {
        self.0.strip_prefix(pool)?.strip_prefix('/')
    }

    /// The selector as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The tiers that a command could have named instead. `next` is the number of the next new one.
fn tiers(next: usize, can_add: bool) -> String {
    match next.checked_sub(1) {
        _ if can_add => format!("the next new tier is {next}"),
        None => "the pool has no tiers".to_owned(),
        Some(0) => "the only tier is 0".to_owned(),
        Some(last) => format!("the tiers are 0 to {last}"),
    }
}

/// The tier and the index of a place.
pub(crate) fn parse_place(text: &str) -> Option<(usize, usize)> {
    let (tier, index) = text.split_once('.')?;
    Some((tier.parse().ok()?, index.parse().ok()?))
}

impl From<String> for BackendSelector {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for BackendSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
