//! The documents that the admin API returns.

use balancing::{AdminState, Distribution, Policy, Timings, Totals};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use terms::{CloseReason, FailureKind, Limit, Phase};

/// An instance. Served as `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The release of the running program.
    pub version: String,
    /// The process id.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whether the instance has stopped listening and waits for sessions to end.
    pub shutting_down: bool,
    /// Seconds after which a drain of the whole instance is over at the latest; absent if there is
    /// none.
    pub drain_seconds: Option<u64>,
    /// The process that this one has replaced, as long as that is there.
    pub predecessor: Option<PredecessorRow>,
    /// The configuration file, if the instance was started from one.
    pub file: Option<String>,
    /// The number of the revision that runs: 1 at the start, and one more with each reload that
    /// changed something, or that was taken back.
    pub revision: u64,
    /// A hash of the file's text, `conf.d` included, as it was loaded.
    pub file_hash: Option<String>,
    /// Seconds until the last reload is taken back, unless it is confirmed before.
    pub unconfirmed_seconds: Option<u64>,
    /// The data-plane threads.
    pub workers: Vec<WorkerRow>,
    /// Open sessions that the kernel forwards and no worker has.
    #[serde(default)]
    pub forwarded_sessions: u64,
    /// The listeners.
    pub listeners: Vec<ListenerRow>,
    /// The pools.
    pub pools: Vec<PoolRow>,
    /// The names that stand for several backends.
    pub names: Vec<NameRow>,
    /// Removed listeners that still have sessions.
    pub departed_listeners: Vec<ListenerRow>,
    /// Removed backends that still have sessions.
    pub departed_backends: Vec<DepartedRow>,
    /// The sessions that ended last, the latest first: 20 that had a problem, and 10 others, at
    /// most.
    #[serde(default)]
    pub ended_sessions: Vec<EndedSessionRow>,
}

impl Status {
    /// Open sessions, whoever has them.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.workers.iter().map(|it| it.sessions).sum::<u64>() + self.forwarded_sessions
    }
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedSessionRow {
    /// The session's number.
    pub session: u64,
    /// Seconds since its end.
    pub seconds: f64,
    /// The listener that accepted it; empty if that is gone.
    pub listener: String,
    /// The client's address; `unix` for a client of a Unix socket.
    pub client: String,
    /// The backend that served it, or was tried last; absent if there was none.
    pub backend: Option<Arc<str>>,
    /// Why it ended.
    pub reason: CloseReason,
    /// What was wrong with TLS; absent if nothing was.
    pub error: Option<String>,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// Seconds from accepting to the end.
    pub duration_seconds: f64,
}

/// A process that has handed the instance over, and still has sessions that cannot move, or watches the
/// new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredecessorRow {
    /// The process id.
    pub pid: u32,
    /// Its sessions in which TLS ends in the balancer.
    pub tls: u64,
    /// Its UDP flows.
    pub flows: u64,
    /// Its sessions that will move, or end, as soon as they have a backend for good.
    pub unsettled: u64,
    /// Its sessions of listeners that the new process does not have.
    pub refused: u64,
}

impl PredecessorRow {
    /// Its sessions in words; empty if it has none.
    #[must_use]
    pub fn sessions(&self) -> String {
        let kinds = [
            (self.tls, "TLS"),
            (self.flows, "UDP"),
            (self.unsettled, "not settled yet"),
            (self.refused, "of listeners that are gone"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<_> = kinds.map(|(count, what)| format!("{count} {what}")).collect();
        kinds.join(", ")
    }
}

/// An instance in brief: enough to find it among others, whatever its size. Served as
/// `GET /v1/instance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// The process id.
    pub pid: u32,
    /// Whether the instance has stopped listening and waits for sessions to end.
    pub shutting_down: bool,
    /// The listening addresses of all listeners, as configured.
    pub binds: Vec<String>,
}

/// A name that stands for several backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    /// The name, as configured.
    pub name: String,
    /// How many backends it stands for.
    pub backends: u64,
    /// How many of them the last answer did not have any more.
    pub missing: u64,
    /// Seconds since the last answer; absent if there was none since the start.
    pub answered_seconds: Option<u64>,
    /// Why the last lookup failed; absent if it did not.
    pub error: Option<String>,
}

/// A backend that was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepartedRow {
    /// The name of the pool that it was removed from.
    pub pool: String,
    /// The backend.
    pub backend: BackendRow,
}

/// What an instance was given and what it runs, as configuration files. Served as
/// `GET /v1/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configs {
    /// What was read from the file or the command line.
    pub loaded: String,
    /// That with the changes by commands.
    pub running: String,
}

/// One data-plane thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Open sessions.
    pub sessions: u64,
}

/// A listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerRow {
    /// The name.
    pub name: String,
    /// The listening addresses, as configured.
    pub binds: Vec<String>,
    /// The name of the pool that serves its clients.
    pub pool: String,
    /// The pools that serve certain TLS clients instead.
    pub routes: Vec<RouteRow>,
    /// Open sessions.
    pub sessions: u64,
    /// The maximum number of open sessions, if there is one.
    pub sessions_max: Option<u32>,
    /// Open sessions whose backend has not answered yet.
    pub connecting: u64,
    /// Whether further clients wait because a limit is reached.
    pub paused: bool,
    /// Sessions accepted since the start.
    pub sessions_total: u64,
    /// Sessions that the kernel forwarded, as far as they have ended; `sessions_total` is without them.
    #[serde(default)]
    pub forwarded_total: u64,
    /// Sessions that have ended, by reason.
    pub ended_total: Vec<EndedRow>,
    /// Datagrams of clients that were dropped.
    pub dropped_datagrams_total: u64,
    /// Clients refused because they had as many sessions as their limit allows.
    pub refused_sessions_total: u64,
    /// Clients refused because they began sessions faster than their limit allows.
    pub refused_rate_total: u64,
    /// Clients refused because the table of clients was full.
    pub refused_table_total: u64,
    /// Bytes from clients to backends.
    pub sent_bytes_total: u64,
    /// Bytes from backends to clients.
    pub received_bytes_total: u64,
    /// Segments that were sent to clients again, in sessions that have ended.
    pub retransmits_total: u64,
    /// How long the sessions lasted that have ended.
    pub lifetime: HistogramRow,
    /// The round-trip time to clients at the end of their sessions.
    pub rtt: HistogramRow,
    /// Until when the certificates are valid that clients are shown.
    #[serde(default)]
    pub certificates: Vec<CertificateRow>,
}

/// A file with certificates, or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// Where it is, as configured.
    pub path: String,
    /// When the first of its certificates expires, in seconds since 1970.
    pub expires: u64,
}

impl ListenerRow {
    /// How many sessions have ended for this reason.
    #[must_use]
    pub fn ended_as(&self, reason: CloseReason) -> u64 {
        self.ended_total.iter().find(|it| it.reason == reason).map_or(0, |it| it.sessions)
    }
}

/// Sessions that have ended for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRow {
    /// The reason.
    pub reason: CloseReason,
    /// How many.
    pub sessions: u64,
}

/// How long something took, counted in buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistogramRow {
    /// How often it happened.
    pub count: u64,
    /// The sum of all times.
    pub sum_seconds: f64,
    /// How often the time was in each bucket, by the bounds that the guide lists; the last bucket is
    /// for what exceeds them all. Empty if it never happened.
    pub buckets: Vec<u64>,
}

impl From<&Distribution> for HistogramRow {
    fn from(it: &Distribution) -> Self {
        let count = it.count();
        let buckets = if count > 0 { it.counts.to_vec() } else { Vec::new() };
        Self { count, sum_seconds: it.sum.as_secs_f64(), buckets }
    }
}

/// What has been counted for a backend, or for all backends of a pool, since the start. These
/// counters never go back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TotalsRow {
    /// Connects begun.
    pub attempts: u64,
    /// Connects that failed, by kind.
    pub failures: Vec<FailureRow>,
    /// Bytes from clients to backends.
    pub sent_bytes: u64,
    /// Bytes from backends to clients.
    pub received_bytes: u64,
    /// Segments that were sent to backends again, in sessions that have ended.
    pub retransmits: u64,
    /// From beginning to connect until the backend has answered.
    pub connect: HistogramRow,
    /// From being connected until the backend's first byte.
    pub first_byte: HistogramRow,
    /// The round-trip time to backends at the end of sessions.
    pub rtt: HistogramRow,
}

impl TotalsRow {
    /// The totals, and the timings if they are wanted.
    #[must_use]
    pub fn new(totals: &Totals, timings: Option<&Timings>) -> Self {
        let failures = FailureKind::ALL.into_iter().zip(totals.failures);
        let failures = failures.filter(|(_, connects)| *connects > 0);
        let failures =
            failures.map(|(kind, connects)| FailureRow { kind: kind.name().to_owned(), connects });
        let timed = |which: fn(&Timings) -> &Distribution| {
            timings.map(|it| HistogramRow::from(which(it))).unwrap_or_default()
        };
        Self {
            attempts: totals.attempts,
            failures: failures.collect(),
            sent_bytes: totals.sent_bytes,
            received_bytes: totals.received_bytes,
            retransmits: totals.retransmits,
            connect: timed(|it| &it.connect),
            first_byte: timed(|it| &it.first_byte),
            rtt: timed(|it| &it.round_trip),
        }
    }
}

/// Connects that failed in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRow {
    /// The kind of failure.
    pub kind: String,
    /// How many.
    pub connects: u64,
}

/// A pool for certain TLS clients of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The names that a client may ask for; empty if that does not matter.
    pub sni: Vec<String>,
    /// The protocols of which a client must offer one; empty if that does not matter.
    pub alpn: Vec<String>,
    /// The name of the pool.
    pub pool: String,
}

/// A pool, which may serve several listeners.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolRow {
    /// The name, for commands where there are several pools.
    pub name: String,
    /// The tiers, in the order in which they are tried.
    pub tiers: Vec<TierRow>,
    /// The first tier with a backend that takes a session now, if there is one.
    pub tier_in_use: Option<u32>,
    /// How many backends are in which state.
    pub states: StatesRow,
    /// Open sessions of all backends, removed ones included.
    pub sessions: u64,
    /// What has been counted for all backends, removed ones included.
    pub totals: TotalsRow,
}

/// How many backends are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatesRow {
    /// In service, and not known to have failed.
    pub up: u64,
    /// In service, but failed or without an address.
    pub down: u64,
    /// Taken out by an operator.
    pub disabled: u64,
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierRow {
    /// The policy.
    pub policy: Policy,
    /// What it does about too few backends that are available.
    #[serde(default)]
    pub stance: Stance,
    /// The backends.
    pub backends: Vec<BackendRow>,
}

/// What a tier does about too few backends that are available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stance {
    /// There are enough, or it does nothing.
    #[default]
    Normal,
    /// Health is ignored.
    FailOpen,
    /// It takes no new sessions.
    Refusing,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendRow {
    /// The name, if it has one.
    pub name: Option<String>,
    /// The address as configured.
    pub endpoint: Arc<str>,
    /// The resolved addresses, the preferred one first.
    pub addresses: Vec<String>,
    /// What the operator decided.
    pub admin: AdminState,
    /// What connects and probes have shown.
    pub health: Health,
    /// What probes have shown, if the backend is probed.
    pub probe: Option<Box<ProbeRow>>,
    /// What its agent has said, if it has one.
    pub agent: Option<Box<AgentRow>>,
    /// The last change of its state, if there was one since the start.
    pub last_change: Option<ChangeRow>,
    /// Open sessions and connects in progress.
    pub sessions: u64,
    /// The limit of sessions, as a number: zero for no limit, negative to admit none.
    pub sessions_max: Limit,
    /// Connects begun since the start, or since the counters were reset.
    pub attempts_total: u64,
    /// Connects that failed.
    pub failures_total: u64,
    /// Bytes from clients to the backend.
    pub sent_bytes_total: u64,
    /// Bytes from the backend to clients.
    pub received_bytes_total: u64,
    /// What has been counted since the start, whether counters were reset or not.
    pub totals: TotalsRow,
}

impl BackendRow {
    /// Whether it is not known to have failed.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health.is_up()
    }

    /// Whether it takes a session now.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        let sessions = u32::try_from(self.sessions).unwrap_or(u32::MAX);
        let has_room = self.sessions_max.allows(sessions);
        self.admin == AdminState::Enabled && !self.is_declined() && self.is_up() && has_room
    }

    /// Whether its agent keeps new sessions away.
    #[must_use]
    pub fn is_declined(&self) -> bool {
        let declines = |it: &AgentRow| it.declines_sessions || it.share_percent == 0;
        self.agent.as_ref().is_some_and(|it| declines(it) && !it.is_overruled)
    }

    /// What people call it: its name, or else its address.
    #[must_use]
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.endpoint)
    }

    /// Its name, if it has one, and its address, by which sessions and the log refer to it.
    #[must_use]
    pub fn described(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.endpoint),
            None => self.endpoint.to_string(),
        }
    }
}

/// A change of a backend's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// Seconds since then.
    pub seconds: u64,
    /// What has changed, and why or by whom.
    pub what: String,
}

/// The probes of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// What is asked, as configured.
    pub probe: String,
    /// What the probes have come to.
    pub verdict: ProbeVerdict,
    /// Seconds since the verdict has been this one.
    pub since_seconds: u64,
    /// Why a probe failed last, if one did.
    pub last_error: Option<String>,
    /// Seconds since the error was first seen, or seen again after another one.
    pub last_error_seconds: Option<u64>,
}

/// The agent of a backend, and what it has said; what it has not mentioned is as by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Its address.
    pub at: String,
    /// The last line that it said, if it has said one, and if that still holds.
    pub says: Option<String>,
    /// Seconds since it has said this.
    pub since_seconds: u64,
    /// Whether it says that the backend is down.
    pub is_down: bool,
    /// Whether it wants the backend drained, or in maintenance.
    pub declines_sessions: bool,
    /// The share in percent of its usual sessions that it wants for the backend.
    pub share_percent: u8,
    /// The limit of sessions that it has set; zero for no limit.
    pub sessions_max: Option<u32>,
    /// Whether an operator has enabled the backend although the agent wants no sessions.
    pub is_overruled: bool,
    /// Why it did not answer last, if it did not.
    pub last_error: Option<String>,
}

/// What the probes of a backend have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeVerdict {
    /// No probe is over yet.
    Unknown,
    /// It answers as it should, at one of its addresses at least.
    Up,
    /// It does not.
    Down,
}

/// What is known of a backend's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Its name has no address yet.
    Unresolved,
    /// No connect has been tried, and no probe is over.
    Unknown,
    /// It answers.
    Healthy,
    /// It failed, and is skipped for a while.
    Quarantined,
    /// It is tried again after a quarantine.
    Probation,
    /// Probes have failed, and it is skipped until they pass again.
    Down,
    /// Too many of its sessions failed, and it is skipped for a while.
    Ejected,
}

impl Health {
    /// Whether it is not known to have failed.
    #[must_use]
    pub const fn is_up(self) -> bool {
        match self {
            Self::Unknown | Self::Healthy | Self::Probation => true,
            Self::Unresolved | Self::Quarantined | Self::Down | Self::Ejected => false,
        }
    }
}

/// An open session, as `GET /v1/sessions` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRow {
    /// The session's number.
    pub session: u64,
    /// The worker that has it; `None` if the kernel forwards it.
    pub worker: Option<usize>,
    /// The listener that accepted it.
    pub listener: String,
    /// The client's address; `unix` for a client of a Unix socket.
    pub client: String,
    /// The address of the proxy that announced the client; `None` if the client connected itself.
    pub peer: Option<String>,
    /// The name of the server that a TLS client has asked for, if the listener has routes or ends
    /// TLS.
    pub server_name: Option<String>,
    /// The version of the client's TLS, if that ends here.
    #[serde(default)]
    pub tls: Option<String>,
    /// The protocol that was agreed upon with the client (ALPN).
    #[serde(default)]
    pub alpn: Option<String>,
    /// The backend that serves it, or that is being connected to.
    pub backend: Option<Arc<str>>,
    /// The backend's address and port that it is connected to; none before that, and for a Unix
    /// socket.
    pub backend_address: Option<String>,
    /// The balancer's own address and port towards the backend; `None` while there is no connection,
    /// and for a Unix socket.
    pub source: Option<String>,
    /// How far it is.
    pub phase: Phase,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// Seconds since it was accepted.
    pub age_seconds: f64,
    /// Seconds since data last passed.
    pub idle_seconds: f64,
    /// From being connected to the backend's first byte.
    pub first_byte_seconds: Option<f64>,
    /// The kernel's estimate of the round-trip time to the client, or to the proxy in front of it;
    /// `None` if there is none, as for UDP and Unix sockets.
    pub rtt_seconds: Option<f64>,
    /// Segments that were sent to the client again.
    pub retransmits: Option<u32>,
    /// The kernel's estimate of the round-trip time to the backend.
    pub backend_rtt_seconds: Option<f64>,
    /// Segments that were sent to the backend again.
    pub backend_retransmits: Option<u32>,
}
