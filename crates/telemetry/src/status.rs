//! What the admin API tells.

use serde::{Deserialize, Serialize};
use terms::Limit;

/// A whole instance. Served as `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Release of the running program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Whether it has stopped listening and waits for sessions to end.
    pub shutting_down: bool,
    /// Its data-plane threads.
    pub workers: Vec<WorkerRow>,
    /// What it listens on.
    pub listeners: Vec<ListenerRow>,
}

/// One data-plane thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Open sessions.
    pub sessions: u64,
}

/// One listener and everything behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerRow {
    /// What it is bound to, as configured.
    pub bind: String,
    /// Open sessions.
    pub sessions: u64,
    /// Sessions accepted since start.
    pub sessions_total: u64,
    /// Its tiers, in the order they are tried.
    pub tiers: Vec<TierRow>,
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierRow {
    /// The rule that orders its backends.
    pub policy: String,
    /// The backends.
    pub backends: Vec<BackendRow>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRow {
    /// As configured.
    pub name: String,
    /// Where that is, best first.
    pub addresses: Vec<String>,
    /// `enabled`, `disabled` or `draining`.
    pub admin: String,
    /// `healthy`, `quarantined` or `probation`.
    pub health: String,
    /// Open sessions and connects under way.
    pub sessions: u64,
    /// Their limit, written as a number: zero for none, negative for "never any".
    pub sessions_max: Limit,
    /// Connects begun since start or reset.
    pub attempts_total: u64,
    /// Those that failed.
    pub failures_total: u64,
    /// Bytes from clients to the backend.
    pub sent_bytes_total: u64,
    /// Bytes from the backend to clients.
    pub received_bytes_total: u64,
}

/// One open session. `GET /v1/sessions` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its number.
    pub session: u64,
    /// Which worker has it.
    pub worker: usize,
    /// Where it came in.
    pub listener: String,
    /// Who connected; `unix` through a Unix socket.
    pub client: String,
    /// Who serves it, or is being connected to.
    pub backend: Option<String>,
    /// `connecting`, `open` or `ending`.
    pub phase: String,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// Seconds since it was accepted.
    pub age_seconds: f64,
}
