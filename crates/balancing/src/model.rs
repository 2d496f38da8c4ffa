//! The words a pool is described with.

use serde::{Deserialize, Serialize};

/// The rule that orders a tier's backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Each in turn, by session. Source: balance(1); exact also across workers.
    #[default]
    RoundRobin,
    /// The client's address decides, by balance's formulas.
    Hash,
    /// The backend with the fewest open sessions; in turn among equals.
    LeastSessions,
    /// Any, with equal chances.
    Random,
    /// Each in turn among those in service; the turn moves on whether or not the backend then
    /// takes the session. Source: pen(1), `-r`, and its default.
    Rotation,
    /// The client's address, read as a number, modulo the number of backends.
    /// Source: pen(1), `-h`.
    AddressHash,
    /// As [`Self::AddressHash`], with an IPv4 client's port mixed in. Source: pen(1), `-h -r`.
    AddressPortHash,
    /// The fewest sessions for its weight; the first among equals. Source: pen(1), `-W`.
    Weighted,
    /// The lowest priority number; the first among equals. Source: penctl(1), `prio`.
    Priority,
}

impl Policy {
    /// Whether, after a failure, the turn goes on behind the backend that answered.
    pub(crate) fn turn_follows(self) -> bool {
        match self {
            Self::RoundRobin | Self::Hash | Self::LeastSessions | Self::Random => true,
            Self::Rotation
            | Self::AddressHash
            | Self::AddressPortHash
            | Self::Weighted
            | Self::Priority => false,
        }
    }
}

/// What may be tried after a backend failed or could not take a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverScope {
    /// The other backends of the tier, then later tiers.
    #[default]
    WholeTier,
    /// Only later tiers. Source: balance(1), a hash group without `-H`.
    LaterTiers,
    /// Nothing, not even where the tier has no backend to choose. Source: pen(1), `-s`.
    Nothing,
}

/// What an operator decided about a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminState {
    /// In service.
    #[default]
    Enabled,
    /// Takes no new sessions; open ones go on.
    Disabled,
    /// As disabled, and reported once the last session has ended.
    Draining,
}
