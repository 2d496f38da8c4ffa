//! What the messages of a hand-over say.
//!
//! A field that one process does not know is ignored by it, so a new field must be one without which
//! an older process does nothing wrong. Anything else takes another major version.

use crate::ticket_keys::TicketKeys;
use config::state::State;
use dataplane::{FlowState, SessionState, Staying};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// [`Kind::Hello`](super::protocol::Kind::Hello).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Name and version.
    pub program: String,
    /// Identifies the boot of the machine.
    pub boot: String,
    /// How many descriptors the process may have.
    pub descriptors: usize,
    /// How long the old process stays ready to serve again.
    #[serde(default)]
    pub guard_millis: u64,
    /// Whether it continues UDP flows.
    #[serde(default)]
    pub takes_flows: bool,
    /// Whether it sends [`Kind::Progress`](super::protocol::Kind::Progress) on its way to being
    /// ready.
    #[serde(default)]
    pub reports_progress: bool,
}

/// [`Kind::Ready`](super::protocol::Kind::Ready).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The process that will serve.
    pub pid: u32,
    /// Whether it sends [`Kind::Beat`](super::protocol::Kind::Beat) while it is guarded. The
    /// descriptor that comes along is the process itself, then.
    #[serde(default)]
    pub sends_beats: bool,
    /// The listening addresses, as in [`BindRecord`], that its configuration does not have.
    #[serde(default)]
    pub unwanted: Vec<String>,
}

/// [`Kind::Stop`](super::protocol::Kind::Stop).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// How long sessions may go on, if not without limit.
    pub limit_millis: Option<u64>,
}

/// [`Kind::Refuse`](super::protocol::Kind::Refuse).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// Why, as a sentence.
    pub reason: String,
}

/// [`Kind::State`](super::protocol::Kind::State). The descriptors are: the old process, the flag, the
/// three standard streams, the admin socket and the ready interface if there are such, then the
/// listening sockets and those that a service manager has passed, in the order of the lists, and at
/// last the personality's own. Further messages of this kind bring those that do not fit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub program: String,
    pub pid: u32,
    /// The user.
    pub uid: u32,
    /// The path of the admin socket.
    pub admin: PathBuf,
    pub has_admin_socket: bool,
    /// Whether it understands [`Kind::Progress`](super::protocol::Kind::Progress).
    #[serde(default)]
    pub hears_progress: bool,
    /// Whether it understands [`Kind::Beat`](super::protocol::Kind::Beat).
    #[serde(default)]
    pub hears_beats: bool,
    /// Whether it understands [`Kind::Release`](super::protocol::Kind::Release).
    #[serde(default)]
    pub hears_release: bool,
    /// Whether it understands [`Kind::Stop`](super::protocol::Kind::Stop).
    #[serde(default)]
    pub hears_stop: bool,
    /// The name of the interface that says whether the instance is ready.
    #[serde(default)]
    pub ready_interface: Option<String>,
    pub listeners: Vec<ListenerRecord>,
    /// Number and name of each.
    #[serde(default)]
    pub passed: Vec<(i32, Option<String>)>,
    /// When the instance was started.
    pub started: u64,
    /// The number of the configuration's revision, and the hash of its text.
    pub revision: Option<(u64, String)>,
    pub sessions: usize,
    pub standing: Standing,
    /// What the personality's companion says about itself.
    #[serde(default)]
    pub companion: Option<CompanionRecord>,
    /// If TLS ends here.
    #[serde(default)]
    pub ticket_keys: Option<TicketKeys>,
}

/// What a personality runs beside its instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CompanionRecord {
    /// The companion's own words.
    pub record: serde_json::Value,
    /// The number of its sockets.
    pub sockets: usize,
}

/// A listener, and where it listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ListenerRecord {
    pub name: String,
    pub binds: Vec<BindRecord>,
}

/// A listening address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BindRecord {
    /// As it is written on the command line.
    pub bind: String,
    /// The number of its sockets.
    pub sockets: usize,
    /// Whether it is a Unix socket whose file is the instance's.
    pub has_file: bool,
}

/// What changes while the instance runs. [`Kind::Switch`](super::protocol::Kind::Switch) has it again,
/// with the clients that have come since.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Changes by commands, health, and addresses of names, as for a restart.
    pub kept: State,
    pub counts: Counts,
    /// The clients of each pool, by the pool's name.
    #[serde(default)]
    pub clients: BTreeMap<String, Vec<ClientRecord>>,
    /// Whether UDP flows follow. Until they have, nothing is received from their clients.
    #[serde(default)]
    pub flows_follow: bool,
}

/// A client that a pool remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClientRecord {
    pub client: Option<IpAddr>,
    pub backend: Option<String>,
    pub last_used: u64,
    pub connects: u32,
    pub sent: u64,
    pub received: u64,
}

/// What has been counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// No session has this number or a higher one.
    pub next_number: u64,
    /// By the name of the pool.
    pub pools: BTreeMap<String, PoolCounts>,
    /// By the name of the listener: sessions accepted, and datagrams dropped.
    pub listeners: BTreeMap<String, (u64, u64)>,
    /// By the name of the listener: what else there is.
    #[serde(default)]
    pub listener_totals: BTreeMap<String, ListenerTotalsRecord>,
}

/// What has been counted of a listener's sessions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ListenerTotalsRecord {
    pub sent: u64,
    pub received: u64,
    pub retransmits: u64,
    /// Sessions that have ended and that the kernel forwarded.
    pub forwarded: u64,
    /// Sessions that have ended, by the words of the reasons.
    pub ended: BTreeMap<String, u64>,
    pub lifetime: TimesRecord,
    pub round_trip: TimesRecord,
}

/// A distribution of times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TimesRecord {
    /// By bucket.
    pub counts: Vec<u64>,
    pub sum_nanos: u64,
}

/// What has been counted in a pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PoolCounts {
    /// The turn of each tier, and what it took last.
    pub turns: Vec<[u32; 2]>,
    /// By the address of the backend.
    pub backends: BTreeMap<String, BackendCounts>,
}

/// What has been counted of a backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BackendCounts {
    pub totals: TotalsRecord,
    /// Those at the last reset of the counters.
    pub baseline: TotalsRecord,
    pub last_failure: Option<u64>,
    /// When it changed last, and how.
    #[serde(default)]
    pub last_change: Option<(u64, String)>,
    /// Sessions that are still in the old process.
    pub sessions: u32,
    /// Of connects, first bytes and round trips.
    #[serde(default)]
    pub timings: [TimesRecord; 3],
}

/// The counters of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TotalsRecord {
    pub attempts: u64,
    /// By kind of failure. A kind that one process does not know counts as the first.
    pub failures: Vec<u64>,
    pub sent: u64,
    pub received: u64,
    pub retransmits: u64,
}

/// [`Kind::Batch`](super::protocol::Kind::Batch). There are two descriptors for each session, the
/// client's connection first; the tail has the bytes that are held back, in this order.
///
/// UDP flows come in batches of their own, before all sessions. Each has one descriptor, the socket
/// towards its backend, if it has a backend; the tail has the datagrams that are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub sessions: Vec<SessionRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<FlowRecord>,
}

/// A UDP flow that moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FlowRecord {
    pub listener: String,
    /// If it has one.
    pub backend: Option<BackendRecord>,
    /// The lengths of the datagrams that are kept.
    pub kept: Vec<usize>,
    pub state: FlowState,
}

/// A backend as the other process finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackendRecord {
    pub pool: String,
    /// Its address, and the backend as an operand.
    pub backend: String,
    pub operand: String,
}

/// A session that moves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub listener: String,
    #[serde(flatten)]
    pub backend: BackendRecord,
    /// Whether the client is entered in the table of the backend's pool rather than the listener's.
    #[serde(default)]
    pub is_routed: bool,
    /// The number of bytes held back from the client, and from the backend.
    pub held: [usize; 2],
    pub state: SessionState,
}

/// [`Kind::Taken`](super::protocol::Kind::Taken).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The numbers of sessions that stay where they are, because the new process has no such
    /// listener.
    #[serde(default)]
    pub refused: Vec<u64>,
}

/// [`Kind::Rest`](super::protocol::Kind::Rest) and [`Kind::Final`](super::protocol::Kind::Final).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rest {
    /// The sessions that are left.
    pub staying: Staying,
    /// How many of them the new process has refused.
    #[serde(default)]
    pub refused: usize,
    pub counts: Counts,
}
