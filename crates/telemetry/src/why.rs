//! Why a client would be sent where it would be sent.

use balancing::Policy;
use serde::{Deserialize, Serialize};

/// What would become of a client's next session, and why. Served as `GET /v1/why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The client, as it was understood.
    pub client: String,
    /// Where its address is registered, if a rule needs that and it is known.
    pub country: Option<String>,
    /// The name of the listener.
    pub listener: String,
    /// The listener's addresses, as configured.
    pub binds: Vec<String>,
    /// The name of the pool that would serve the client.
    pub pool: String,
    /// Why it would be this pool.
    pub pool_because: String,
    /// Whether the pool's access rules permit the client.
    pub is_permitted: bool,
    /// Which rule says so.
    pub access_because: String,
    /// The backend that the client is remembered with.
    pub remembered: Option<String>,
    /// The backend that would get the session; `None` if the client would be refused.
    pub backend: Option<String>,
    /// Why the session would go there, or nowhere.
    pub because: String,
    /// The backends that would follow if connects failed, in order.
    pub then: Vec<String>,
    /// What else decides, and cannot be known beforehand.
    pub notes: Vec<String>,
    /// The tiers.
    pub tiers: Vec<WhyTier>,
}

/// A tier in such a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyTier {
    /// The policy.
    pub policy: Policy,
    /// The backends.
    pub backends: Vec<WhyBackend>,
}

/// A backend in such a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyBackend {
    /// What people call it: its name, or else its address.
    pub backend: String,
    /// Whether it would get the session, or why not.
    pub reason: WhyReason,
    /// The reason in words.
    pub because: String,
}

/// Why a backend would get a session, or would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyReason {
    /// It would.
    Chosen,
    /// The pool's access rules deny the client.
    Denied,
    /// It is disabled.
    Disabled,
    /// It is being drained.
    Draining,
    /// It failed, and is skipped for a while.
    Quarantined,
    /// Probes say that it is down.
    Down,
    /// Its sessions failed, and it is skipped for a while.
    Ejected,
    /// Too few backends of its tier are available, so that none takes a session.
    Refusing,
    /// Nothing is known about it yet, and others are available.
    Unknown,
    /// It has as many sessions as it may have.
    Full,
    /// Its own access rules deny the client.
    NotPermitted,
    /// It has no weight, and the policy goes by weights.
    NoWeight,
    /// Its tier's policy selects another backend, which is unavailable and may not be replaced.
    NoStandIn,
    /// A tier before its own has a backend for the client.
    LaterTier,
    /// The search ends in a tier before its own.
    NotReached,
    /// The client returns to another one.
    ClientReturns,
    /// Its tier's policy selects another one.
    NotSelected,
}
