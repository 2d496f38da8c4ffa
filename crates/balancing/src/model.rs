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
    /// Nothing. Source: pen(1), `-s`.
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
