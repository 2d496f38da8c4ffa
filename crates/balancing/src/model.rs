//! The terms that describe a pool.

use serde::{Deserialize, Serialize};

/// How a tier chooses a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Sessions use the backends in turn, exactly, across all workers. Source: balance(1).
    #[default]
    RoundRobin,
    /// The client's address selects the backend, by balance's formulas.
    Hash,
    /// The backend with the fewest open sessions; equals take turns. Beyond 1,024 backends, the
    /// one of two random backends that has fewer.
    LeastSessions,
    /// A random backend, all with the same probability.
    Random,
    /// Sessions use the backends in service in turn. The turn moves on whether or not the backend
    /// takes the session. Source: pen(1), `-r` and the default.
    Rotation,
    /// The client's address, read as a number, modulo the number of backends.
    /// Source: pen(1), `-h`.
    AddressHash,
    /// Like [`Self::AddressHash`], with an IPv4 client's port included. Source: pen(1), `-h -r`.
    AddressPortHash,
    /// The backend with the fewest sessions for its weight, the first among equals.
    /// Source: pen(1), `-W`.
    Weighted,
    /// The backend with the lowest priority number, the first among equals.
    /// Source: penctl(1), `prio`.
    Priority,
    /// Sessions use the backends in turn, each exactly as often as its weight says.
    WeightedTurn,
    /// The backend with the fewest sessions for its weight, one more included; equals take turns.
    LeastWeighted,
    /// The better of two random backends: the one with fewer sessions for its weight.
    Two,
    /// The better of two random backends: the one whose latency, times its sessions, is smaller for
    /// its weight. Backends that close at once count as slow.
    Fastest,
    /// The client's network selects the backend, by a table that changes little when backends come
    /// and go.
    Maglev,
    /// The client's network selects the backend. When one is gone, only its clients move.
    Rendezvous,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::RoundRobin,
        Self::Hash,
        Self::LeastSessions,
        Self::Random,
        Self::Rotation,
        Self::AddressHash,
        Self::AddressPortHash,
        Self::Weighted,
        Self::Priority,
        Self::WeightedTurn,
        Self::LeastWeighted,
        Self::Two,
        Self::Fastest,
        Self::Maglev,
        Self::Rendezvous,
    ];

    /// Whether, after a failure, the turn continues after the backend that answered.
    pub(crate) fn turn_follows(self) -> bool {
        match self {
            Self::RoundRobin | Self::Hash | Self::LeastSessions | Self::Random => true,
            Self::Rotation
            | Self::AddressHash
            | Self::AddressPortHash
            | Self::Weighted
            | Self::Priority
            | Self::WeightedTurn
            | Self::LeastWeighted
            | Self::Two
            | Self::Fastest
            | Self::Maglev
            | Self::Rendezvous => false,
        }
    }

    /// Whether weights count, so that a backend without one gets no sessions.
    #[must_use]
    pub fn minds_weight(self) -> bool {
        match self {
            Self::Weighted | Self::WeightedTurn | Self::LeastWeighted | Self::Two => true,
            Self::Fastest | Self::Maglev | Self::Rendezvous => true,
            Self::RoundRobin | Self::Hash | Self::LeastSessions | Self::Random => false,
            Self::Rotation | Self::AddressHash | Self::AddressPortHash | Self::Priority => false,
        }
    }

    /// Whether the number of sessions decides.
    pub(crate) fn minds_load(self) -> bool {
        match self {
            Self::LeastSessions | Self::LeastWeighted | Self::Two | Self::Fastest => true,
            Self::RoundRobin | Self::Hash | Self::Random | Self::Rotation => false,
            Self::AddressHash | Self::AddressPortHash | Self::Weighted | Self::Priority => false,
            Self::WeightedTurn | Self::Maglev | Self::Rendezvous => false,
        }
    }

    /// Whether the same clients are to have the same backends.
    pub(crate) fn is_hash(self) -> bool {
        matches!(
            self,
            Self::Hash
                | Self::AddressHash
                | Self::AddressPortHash
                | Self::Maglev
                | Self::Rendezvous
        )
    }

    /// Whether backends of this policy may be limited to their share of the sessions
    /// ([`crate::Tier::load_bound`]).
    #[must_use]
    pub fn has_load_bound(self) -> bool {
        matches!(self, Self::Maglev | Self::Rendezvous)
    }
}

/// What may be tried after a backend has failed or could not take a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverScope {
    /// The other backends of the tier, then later tiers.
    #[default]
    WholeTier,
    /// Only later tiers. Source: balance(1), a hash group without `-H`.
    LaterTiers,
    /// Nothing, not even if the tier has no backend to choose. Source: pen(1), `-s`.
    Nothing,
}

/// An operator's decision about a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminState {
    /// In service.
    #[default]
    Enabled,
    /// Takes no new sessions; open ones continue.
    Disabled,
    /// Like disabled, and reported when the last session has ended.
    Draining,
}
