//! The validated configuration, in the words of the glossary.

use crate::Discovery;
use crate::duration::Deadline;
use balancing::{
    AccessList, AdminState, ClientLimits, FailoverScope, LoadBound, Percent, Policy, ProxyPeers,
    Rate, RouteRule, Subset, Thin,
};
use probing::{AgentCheck, Probe, Rules};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use terms::{
    BackendId, BackendTls, Ciphers, ClientCertificates, Cut, FlowRules, Limit, ListenerId,
    SendProxy, Source, SpliceMode, Starttls, Timeouts,
};

/// The complete configuration of a balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The listeners. Their names are unique.
    pub listeners: Vec<Listener>,
    /// The pools. Their names are unique.
    pub pools: Vec<Pool>,
    /// How the process itself runs.
    pub process: Process,
}

/// Local addresses whose clients one pool serves. Several listeners may share a pool, and then they
/// share everything of it: limits, turns, health, and what is remembered about clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The listener's id, from the moment it is part of the running configuration.
    pub id: Option<ListenerId>,
    /// The name, unique in the configuration. A listener keeps its id for as long as it keeps its
    /// name. Default `main`.
    pub name: String,
    /// The addresses to bind.
    pub binds: Vec<Bind>,
    /// An address whose packets only the kernel sends on to backends, with [`Engine::Direct`]. Nothing
    /// is bound there. Default: none. Source: pen(1), `dsr_if`.
    pub segment: Option<Segment>,
    /// Whether other processes may listen on the same port, so that the kernel distributes clients
    /// among them (`SO_REUSEPORT`, socket(7)). Default false; pen(1) always allows it.
    pub shared_port: bool,
    /// The name of the pool that serves the clients. If there is none of this name, nobody does.
    pub pool: String,
    /// Where TLS clients are sent instead, by what they ask for. Default: nowhere else.
    pub routes: Vec<Route>,
    /// How long a client may be silent, where there are routes, before `pool` serves it, as if no
    /// route was for it: where the server speaks first, no client would ever say anything. Default
    /// 2 s.
    pub hello_wait: Duration,
    /// How clients may ask for TLS before their ClientHello. Default: not at all.
    pub starttls: Option<Starttls>,
    /// The maximum number of open sessions. When it is reached, accepting pauses, and clients wait
    /// in the kernel's queue. Default: as many as file descriptors allow.
    pub sessions_max: Option<u32>,
    /// The maximum number of connects in progress. When it is reached, accepting pauses.
    /// Default: no limit.
    pub connecting_max: Option<u32>,
    /// The limits of every client. Default: none.
    pub clients: ClientLimits,
    /// How fast clients are accepted, and UDP flows begun. Default: as fast as they come.
    pub rate_max: Option<Rate>,
    /// The time-outs.
    pub timeouts: Timeouts,
    /// What ends UDP flows.
    pub flows: FlowRules,
    /// The local address for connections to backends.
    pub source: Source,
    /// The peers that must announce their clients by the PROXY protocol. If there are any, nobody
    /// else is served. Default: none.
    pub accept_proxy: Option<ProxyPeers>,
    /// What clients' TLS is terminated with. Default: it is passed through like all bytes.
    pub tls: Option<Tls>,
    /// Whether `X-Forwarded-Proto` and `X-Forwarded-For` are added to HTTP requests.
    /// Source: pen(1), `-H`.
    pub forwarded_headers: bool,
    /// Whether clients are answered with a fixed page, without a backend.
    /// Source: penctl(1), `dummy`.
    pub dummy: bool,
    /// Whether bulk data passes through kernel pipes instead of memory.
    pub splice: SpliceMode,
    /// What peers see when the balancer ends a session.
    pub cut: Cut,
}

/// An address of IPv4 that this machine has the network believe it has, although backends have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The interface through which clients come.
    pub interface: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The port; all of them if there is none.
    pub port: Option<u16>,
    /// Whether datagrams are sent on, and not TCP.
    pub is_udp: bool,
    /// Whether the port of a client matters for which backend it gets, and not only its address.
    pub by_port: bool,
    /// Ranges of other addresses, in order, where every connection seems to begin and never goes on
    /// (tarpit), except at those of backends. Default: none. Source: pen(1), `tarpit_acl`.
    #[serde(default)]
    pub pit: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// Which TLS clients a pool serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which clients.
    pub rule: RouteRule,
    /// The name of the pool. If there is none of this name, nobody serves them.
    pub pool: String,
}

/// How TLS with clients is terminated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The files of the certificate chains, at least one, or directories. The first is the default
    /// for clients that ask for no name, or an unknown one.
    pub certificates: Vec<PathBuf>,
    /// Files with private keys, in any order. Default: the keys are in the files of the certificates.
    pub keys: Vec<PathBuf>,
    /// The protocols offered by ALPN, best first. Default: none, and a client may use any.
    pub protocols: Vec<String>,
    /// How long a handshake may take. Default 10 s.
    pub timeout: Duration,
    /// The oldest version that is spoken. Default 1.2.
    pub oldest: TlsVersion,
    /// The ciphers of TLS 1.2. Default: all that are spoken.
    pub ciphers: Ciphers,
    /// Whether clients are asked for certificates. Default: they are not.
    pub clients: ClientCertificates,
    /// Files of the authorities that may sign these, or directories. Default: those of the system.
    pub client_authorities: Vec<PathBuf>,
    /// Files with lists of revoked certificates of clients. If there are any, each authority must
    /// have one. Default: none.
    pub revocations: Vec<PathBuf>,
    /// Files with the authority's answer about revocation (OCSP), for the certificates of the same
    /// places. Default: none.
    pub staples: Vec<PathBuf>,
    /// A file with the keys of tickets, for several hosts. Default: keys of this process alone.
    pub ticket_keys: Option<PathBuf>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    V1_2,
    /// 1.3
    V1_3,
}

/// A local address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Bind {
    /// A TCP port.
    Tcp {
        /// The address or name; if absent, all addresses of the family.
        host: Option<Host>,
        /// The port, never zero.
        port: u16,
        /// The protocols that an absent host stands for.
        family: Family,
    },
    /// A UDP port.
    Udp {
        /// As for TCP.
        host: Option<Host>,
        /// The port, never zero.
        port: u16,
        /// The protocols that an absent host stands for.
        family: Family,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// What clients of an address speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP. The default.
    Tcp,
    /// UDP.
    Udp,
    /// Both, on the same port and for the same pool.
    Both,
}

/// The internet protocol that a name or an absent host stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv6 and IPv4; IPv4 only if the machine has no IPv6.
    Any,
    /// IPv4 only.
    V4,
    /// An IPv6 socket, dual stack: IPv4 clients appear as `::ffff:a.b.c.d` (balance(1), `-6`).
    V6,
}

/// A host as written: an address, or a name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// Metrics are pushed, besides being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Who gets them.
    pub collector: Collector,
    /// How often. Default 15 s.
    pub interval: Duration,
}

/// A collector of OpenTelemetry that is reached by plain HTTP (OTLP 1.0, "OTLP/HTTP").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// The host.
    pub host: Host,
    /// The TCP port. Default 4318.
    pub port: u16,
    /// What goes before `/v1/metrics`. Empty, or begins with a slash and does not end in one.
    pub path: String,
}

/// What serves the clients of one or more listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The name, unique in the configuration, by which listeners and commands select the pool. It is
    /// the pool's identity. Default `main`.
    pub name: String,
    /// The tiers, in the order in which they are tried. May be empty in `balance`, which then
    /// serves nobody until a command adds backends.
    pub tiers: Vec<Tier>,
    /// How much more than its share of the sessions a backend may have, where the policy is `maglev`
    /// or `rendezvous`. Default: any number.
    pub load_bound: Option<LoadBound>,
    /// Which of the backends that a name stands for are used, if this is one of many instances.
    /// Default: all.
    pub subset: Option<Subset>,
    /// How long a failed backend is skipped, unless all have failed. Default 10 s; zero disables
    /// this.
    pub quarantine: Duration,
    /// How long it takes until a backend that has become available gets its whole share of the
    /// sessions. Default: no time.
    pub warm_up: Option<Duration>,
    /// The age at which sessions end. Each ends at a random moment of its last tenth, so that those
    /// that began together do not end together. Default: none.
    pub age_max: Option<Duration>,
    /// Whether a failed connect disables a backend until an operator enables it.
    /// Source: balance(1), `-a`.
    pub auto_disable: bool,
    /// When a backend has failed, and how it is probed.
    pub checks: Checks,
    /// What may be tried after a failure in a tier, unless its policy is `hash`.
    pub failover: FailoverScope,
    /// What may be tried after a failure in a tier whose policy is `hash`.
    pub hash_failover: FailoverScope,
    /// Whether quarantined backends are tried when no other is left. Default true.
    pub last_resort: bool,
    /// Whether the instance is ready only while a backend of this pool is available. If there is no
    /// such pool, one available backend in any pool is enough. Default false.
    pub essential: bool,
    /// Who forwards the data of its sessions.
    pub engine: Engine,
    /// Which clients are served. Default: all.
    pub access: Arc<AccessList>,
    /// Where denied clients are sent. Default: they are refused.
    pub reject: Option<Backend>,
    /// How clients are announced to backends by the PROXY protocol, also to the reject backend.
    /// Default: not at all.
    pub send_proxy: Option<SendProxy>,
    /// How connections to backends are encrypted, also to the reject backend. Default: not at all.
    pub tls: PoolTls,
    /// What is remembered about clients. Default: nothing.
    pub affinity: Option<Affinity>,
    /// Whether tiers and backends are known by their numbers, as in the classics: none can be
    /// removed, and a new tier may leave empty ones before it. Default false.
    pub fixed_places: bool,
}

/// Who forwards the data of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// This process.
    #[default]
    User,
    /// The kernel, by address translation, wherever it can; see [`crate::engine`].
    Kernel,
    /// The kernel, by sending frames on to backends that have the listening address, too, and answer
    /// clients themselves, wherever it can.
    Direct,
}

/// How connections to the backends of a pool are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolTls {
    /// Whether they are, unless a backend says otherwise.
    pub mode: BackendTls,
    /// The name to ask for and to find in certificates. Default: the host of each backend.
    pub name: Option<String>,
    /// The files of the authorities to trust. Default: those of the system.
    pub authorities: Vec<PathBuf>,
    /// The file of the certificate chain that backends see. Default: none.
    pub certificate: Option<PathBuf>,
    /// The file of its key. Default: the key is in the file of the certificate.
    pub key: Option<PathBuf>,
    /// The protocols offered by ALPN, best first. Default: none.
    pub protocols: Vec<String>,
}

/// A way to use TLS as a client, whoever the server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// Whether certificates of servers are verified.
    pub verifies: bool,
    /// As for [`PoolTls`]; likewise below.
    pub authorities: Vec<PathBuf>,
    /// See [`PoolTls::certificate`].
    pub certificate: Option<PathBuf>,
    /// See [`PoolTls::key`].
    pub key: Option<PathBuf>,
    /// See [`PoolTls::protocols`].
    pub protocols: Vec<String>,
}

/// When a backend has failed, and when it answers again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// The probe that every backend of the tiers is sent. Default: none.
    pub probe: Option<PeriodicProbe>,
    /// The agent that is asked about every backend of the tiers. Default: none.
    pub agent: Option<PeriodicAgent>,
    /// Successes in a row that bring a failed backend back. Default: 1 connect, or 2 probes.
    pub rise: Option<u32>,
    /// Failures in a row after which a backend has failed. Default: 1 connect, or 3 probes.
    pub fall: Option<u32>,
    /// What becomes of the sessions of a backend that probes find down.
    pub on_down: OnDown,
    /// What becomes of sessions on later tiers when probes find a backend up again.
    pub on_up: OnUp,
    /// How many backends of a tier may be ejected because their sessions fail. Default: none.
    pub eject: Option<Percent>,
    /// What is to be done when too few backends of a tier are available. Default: nothing.
    pub thin: Option<Thin>,
}

/// What becomes of the sessions of a backend that goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDown {
    /// They stay open, for as long as both sides want.
    #[default]
    Keep,
    /// They end, so that their clients connect again, to another backend.
    EndSessions,
}

/// What becomes of the sessions on later tiers when a backend is up again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUp {
    /// They stay where they are.
    #[default]
    Keep,
    /// They end, one after the other, so that their clients return to the earlier tier.
    Return,
}

/// A probe, and when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodicProbe {
    /// What is asked.
    pub probe: Probe,
    /// The port, if it is not the backend's.
    pub port: Option<u16>,
    /// The time from one probe to the next, between those of a healthy backend. Default 5 s.
    pub interval: Duration,
    /// How long a probe may take, the connect included. Default 2 s.
    pub timeout: Duration,
}

/// An agent, and how often it is asked. Source: HAProxy's configuration manual, `agent-check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodicAgent {
    /// Where it is, and what it is sent.
    pub check: AgentCheck,
    /// The time from one question to the next. Default 5 s.
    pub interval: Duration,
}

/// What is remembered about clients. Source: pen(1), "client tracking".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The maximum number of clients remembered. When the table is full, the least recently seen
    /// client is dropped. Default 2048.
    pub clients_max: u32,
    /// How long a client is remembered after its last session began. Default: forever.
    pub time_limit: Option<Duration>,
    /// Whether clients return to the backend they are remembered with. Otherwise their sessions
    /// are only counted.
    pub sticky: bool,
}

/// Backends tried together before the next tier is considered.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// How a backend is chosen.
    pub policy: Policy,
    /// The backends. Empty if all were removed, or if places must stay the same: a pen without
    /// servers still has its emergency server in tier 1.
    pub backends: Vec<Backend>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The backend's id, from the moment it is part of the running configuration.
    pub id: Option<BackendId>,
    /// The name by which commands select the backend, unique in the pool. Default: the address
    /// stands for it.
    pub name: Option<String>,
    /// The address.
    pub endpoint: Endpoint,
    /// The limits.
    pub limits: Limits,
    /// The share of sessions under the policies that mind it; zero means none. Default 1.
    pub weight: u32,
    /// The rank under the policy `priority`; the lowest is used first. Default 0.
    pub priority: i32,
    /// Which clients may be sent here. Default: all.
    pub access: Arc<AccessList>,
    /// How clients are announced here by the PROXY protocol. Default: as in the pool.
    pub send_proxy: Option<SendProxy>,
    /// Whether connections are encrypted. Default: as in the pool.
    pub tls: Option<BackendTls>,
    /// The name to ask for and to find in the certificate. Default: as in the pool.
    pub tls_name: Option<String>,
    /// Whether the backend takes new sessions. Default: enabled.
    pub admin: AdminState,
}

/// The limits of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of open sessions. Default: no limit. Source: balance(1), `maxc`.
    pub sessions_max: Limit,
    /// The maximum for clients that are remembered with this backend, if it is larger than
    /// `sessions_max`. Zero, the default: `sessions_max` applies to them, too. Source: pen(1), the
    /// hard limit.
    pub sessions_max_affine: u32,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A port on a host, for TCP and UDP.
    Tcp {
        /// The host.
        host: Host,
        /// The port, never zero.
        port: u16,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
    /// In several places, each of which becomes a backend of its own ([`Config::expand`]). Never in
    /// what runs.
    Discovered(Discovery),
}

/// How the process itself runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// The number of data-plane threads. Default: the number of available cores.
    pub workers: Option<usize>,
    /// How long to poll after the last event before sleeping. Default: not at all.
    pub spin: Option<Duration>,
    /// Whether to run in the background.
    pub daemon: bool,
    /// The file for the process id.
    pub pid_file: Option<PathBuf>,
    /// The user to change to once everything is bound.
    pub user: Option<String>,
    /// The new root directory (chroot(2)), set before changing to the user.
    pub root: Option<PathBuf>,
    /// Where to keep what a restart should remember. Default: see [`StateDirectory`].
    pub state: StateDirectory,
    /// The path of the admin socket; if absent, a file in the runtime directory.
    pub admin: Option<PathBuf>,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// Which ends of sessions are logged.
    pub log_sessions: LogSessions,
    /// One in this many sessions without problems is logged. Default: 1, all of them.
    pub log_sample: NonZeroU32,
    /// Whether sessions that have been connected to a backend are logged.
    pub log_start: bool,
    /// How much older an open session becomes until it is logged again. Default: never.
    pub log_every: Option<Duration>,
    /// Connecting for longer is a problem of a session. Default: it never is.
    pub log_slow_connect: Option<Duration>,
    /// The file of the log; standard error or the system log if absent.
    pub log_file: Option<PathBuf>,
    /// Where metrics are served by HTTP, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// How much metrics say about backends.
    pub metrics_detail: MetricsDetail,
    /// Where metrics are pushed to, if anywhere.
    pub push: Option<Push>,
    /// The network interface whose carrier others follow: it is there while clients should be sent to
    /// this instance. Default: none.
    pub ready_interface: Option<String>,
    /// How long the instance goes on accepting clients after it has announced that it shuts down.
    /// Default: [`DEFAULT_PRE_STOP`](Process::DEFAULT_PRE_STOP) with that interface, and else not at
    /// all.
    pub pre_stop: Option<Duration>,
    /// Whether the configuration file is reloaded whenever its contents have changed. Default false.
    pub watch: bool,
    /// How long sessions that cannot move to another process may go on in this one after an upgrade.
    /// Default: as after a shutdown, and 10 seconds at least.
    pub upgrade_drain: Option<Deadline>,
    /// Who may use the admin socket, and where else it is served.
    pub access: AdminAccess,
}

/// Who may use the admin socket, besides root and the user of the process, and where else it is
/// served.
///
/// Users are written as their names or numbers, groups with `@` before that. Source: the roles of
/// balancers that have them; the kernel says who connects (unix(7), `SO_PEERCRED`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminAccess {
    /// Who may look.
    pub viewers: Vec<String>,
    /// Who may also take backends out and in, and end sessions.
    pub operators: Vec<String>,
    /// Who may do everything.
    pub admins: Vec<String>,
    /// The path of a socket at which everybody can only look.
    pub view_socket: Option<PathBuf>,
    /// Where else the admin socket is served, by TCP, and the file of the tokens that clients need
    /// there.
    pub listen: Option<(SocketAddr, PathBuf)>,
    /// What of sessions those may watch who may do everything.
    pub tap: TapAccess,
}

/// What can be watched of sessions while it passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TapAccess {
    /// Nothing.
    Off,
    /// What passes in plain text on both sides, and how much of what TLS protects on one of them.
    #[default]
    On,
    /// Everything.
    Decrypted,
}

/// The directory of the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StateDirectory {
    /// As the start form says: with a configuration file, the directory that the service manager has
    /// made, or else the usual one, if it exists and can be written; with a command line, only the
    /// service manager's; as a classic, none.
    #[default]
    Usual,
    /// No state is kept.
    None,
    /// This one. It is made if it does not exist.
    At(PathBuf),
}

/// Which ends of sessions are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogSessions {
    /// All.
    #[default]
    All,
    /// Those that did not end in order.
    Problems,
    /// None.
    None,
}

/// How much metrics say about backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsDetail {
    /// The most detail that stays reasonable for the number of backends.
    #[default]
    Auto,
    /// Everything, however many there are.
    Backend,
    /// Only the sums of each pool.
    Pool,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines.
    Text,
    /// A JSON object per line.
    Json,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Process {
    /// Long enough for who follows the interface to send clients elsewhere.
    pub const DEFAULT_PRE_STOP: Duration = Duration::from_secs(1);

    /// How long, at least, sessions that cannot move may go on after an upgrade unless the
    /// configuration says it, also where a shutdown cuts them at once.
    const DRAIN_LEAST: Duration = Duration::from_secs(10);

    /// How long to go on accepting clients after it was announced that the instance shuts down.
    #[must_use]
    pub fn pre_stop(&self) -> Duration {
        let default = self.ready_interface.as_ref().map(|_| Self::DEFAULT_PRE_STOP);
        self.pre_stop.or(default).unwrap_or_default()
    }
}

impl Default for Process {
    fn default() -> Self {
        Self {
            workers: None,
            spin: None,
            daemon: false,
            pid_file: None,
            user: None,
            root: None,
            state: StateDirectory::Usual,
            admin: None,
            log_format: LogFormat::Text,
            log_sessions: LogSessions::All,
            log_sample: NonZeroU32::MIN,
            log_start: false,
            log_every: None,
            log_slow_connect: None,
            log_file: None,
            metrics: None,
            metrics_detail: MetricsDetail::Auto,
            push: None,
            ready_interface: None,
            pre_stop: None,
            watch: false,
            upgrade_drain: None,
            access: AdminAccess::default(),
        }
    }
}

impl Config {
    /// How long sessions that cannot move to another process may go on in this one after an upgrade.
    #[must_use]
    pub fn upgrade_drain(&self) -> Option<Duration> {
        match self.process.upgrade_drain {
            Some(Deadline(limit)) => limit,
            None => self.shutdown_limit().map(|limit| limit.max(Process::DRAIN_LEAST)),
        }
    }

    /// How long sessions may go on after a shutdown.
    #[must_use]
    pub fn shutdown_limit(&self) -> Option<Duration> {
        let limits = self.listeners.iter().map(|it| it.timeouts.shutdown);
        limits.max_by_key(|limit| limit.unwrap_or(Duration::MAX)).flatten()
    }

    /// The pool of this name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The programs that its probes run, with the names of their pools.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.pools.iter().filter_map(|pool| {
            let command = pool.checks.probe.as_ref()?.probe.command()?;
            Some((pool.name.as_str(), Path::new(command.program())))
        })
    }
}

impl Listener {
    /// The name of a listener that is the only one.
    pub const DEFAULT_NAME: &str = "main";
    /// The default of [`Listener::hello_wait`].
    pub const DEFAULT_HELLO_WAIT: Duration = Duration::from_secs(2);

    /// Whether clients have to say something before it is clear what becomes of them.
    #[must_use]
    pub fn looks_at_hellos(&self) -> bool {
        !self.routes.is_empty() || self.starttls.is_some()
    }

    /// The names of the pools that serve its clients.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        let routed = self.routes.iter().map(|route| route.pool.as_str());
        std::iter::once(self.pool.as_str()).chain(routed)
    }

    /// The listening addresses as one text, for people.
    #[must_use]
    pub fn bound_to(&self) -> String {
        let segment = self.segment.iter().map(ToString::to_string);
        self.binds.iter().map(ToString::to_string).chain(segment).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, address, port, is_udp, .. } = self;
        write!(f, "{address}")?;
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        write!(f, "{} at {interface}", if *is_udp { "/udp" } else { "" })
    }
}

impl Checks {
    /// Failures in a row after which a connect quarantines a backend.
    #[must_use]
    pub fn connect_fall(&self) -> u32 {
        self.fall.unwrap_or(1)
    }

    /// Successes in a row by which connects bring a backend back.
    #[must_use]
    pub fn connect_rise(&self) -> u32 {
        self.rise.unwrap_or(1)
    }

    /// The rules for probes.
    #[must_use]
    pub fn rules(&self, probe: &PeriodicProbe) -> Rules {
        Rules {
            interval: probe.interval,
            timeout: probe.timeout,
            rise: self.rise.unwrap_or(2),
            fall: self.fall.unwrap_or(3),
        }
    }
}

impl PeriodicAgent {
    /// The default of [`PeriodicAgent::interval`].
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

    /// The rules for its answers. One says all that there is to know, so that a single result
    /// decides.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let timeout = self.interval.min(PeriodicProbe::DEFAULT_TIMEOUT);
        Rules { interval: self.interval, timeout, rise: 1, fall: 1 }
    }
}

impl PeriodicProbe {
    /// The default of [`PeriodicProbe::interval`].
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
    /// The default of [`PeriodicProbe::timeout`].
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            keys: Vec::new(),
            protocols: Vec::new(),
            timeout: Self::DEFAULT_TIMEOUT,
            oldest: TlsVersion::default(),
            ciphers: Ciphers::ALL,
            clients: ClientCertificates::default(),
            client_authorities: Vec::new(),
            revocations: Vec::new(),
            staples: Vec::new(),
            ticket_keys: None,
        }
    }
}

impl Tls {
    /// The default of [`Tls::timeout`].
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
}

impl Backend {
    /// The name, or the address of a backend without one.
    pub(crate) fn called(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.endpoint.to_string())
    }

    /// A backend with these limits and otherwise default values.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self {
            id: None,
            name: None,
            endpoint,
            limits,
            weight: 1,
            priority: 0,
            access: AccessList::everyone(),
            send_proxy: None,
            tls: None,
            tls_name: None,
            admin: AdminState::Enabled,
        }
    }
}

impl Pool {
    /// The name of a pool that is the only one.
    pub const DEFAULT_NAME: &str = "main";

    /// All backends, with the number of the tier and the place in it.
    pub fn backends(&self) -> impl Iterator<Item = (usize, usize, &Backend)> {
        self.tiers.iter().enumerate().flat_map(|(number, tier)| {
            let numbered = tier.backends.iter().enumerate();
            numbered.map(move |(index, backend)| (number, index, backend))
        })
    }

    /// The backends of all tiers, and then the reject backend.
    pub fn all_backends(&self) -> impl Iterator<Item = &Backend> {
        self.tiers.iter().flat_map(|tier| &tier.backends).chain(&self.reject)
    }

    /// How connections to one of its backends are encrypted: the way, and the server's name.
    #[must_use]
    pub fn tls_of(&self, backend: &Backend) -> Option<(ClientTls, String)> {
        let tls = self.client_tls(backend.tls.unwrap_or(self.tls.mode))?;
        let name = backend.tls_name.clone().or_else(|| self.tls.name.clone());
        let name = name.unwrap_or_else(|| match &backend.endpoint {
            Endpoint::Tcp { host, .. } => host.to_string(),
            Endpoint::Unix(_) => "localhost".to_owned(),
            Endpoint::Discovered(discovery) => discovery.name().to_owned(),
        });
        Some((tls, name))
    }

    /// The ways in which connections to its backends are encrypted.
    pub fn tls_ways(&self) -> impl Iterator<Item = ClientTls> {
        let modes = self.all_backends().filter_map(|backend| backend.tls).chain([self.tls.mode]);
        let mut modes: Vec<_> = modes.collect();
        modes.sort_unstable();
        modes.dedup();
        modes.into_iter().filter_map(|mode| self.client_tls(mode))
    }

    fn client_tls(&self, mode: BackendTls) -> Option<ClientTls> {
        if mode == BackendTls::Off {
            return None;
        }
        let verifies = mode == BackendTls::Verify;
        let PoolTls { authorities, certificate, key, protocols, .. } = self.tls.clone();
        let authorities = if verifies { authorities } else { Vec::new() };
        Some(ClientTls { verifies, authorities, certificate, key, protocols })
    }

    /// What may be tried after a failure in a tier with this policy.
    #[must_use]
    pub fn failover_of(&self, policy: Policy) -> FailoverScope {
        match policy {
            Policy::Hash => self.hash_failover,
            _ => self.failover,
        }
    }

    /// Whether any access list has a rule about countries.
    #[must_use]
    pub fn needs_countries(&self) -> bool {
        let mut lists = self.all_backends().map(|backend| &backend.access).chain([&self.access]);
        lists.any(|list| list.needs_country())
    }

    /// The default of [`Pool::quarantine`].
    pub const DEFAULT_QUARANTINE: Duration = Duration::from_secs(10);
}

impl Endpoint {
    /// The name, if this stands for several backends.
    #[must_use]
    pub const fn discovery(&self) -> Option<&Discovery> {
        match self {
            Self::Discovered(discovery) => Some(discovery),
            Self::Tcp { .. } | Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{}:{port}", Bracketed(host)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Discovered(discovery) => discovery.fmt(f),
        }
    }
}

/// Writes an operand of the native command line: `host:port`, and the numbers after it up to the
/// last that is not the default.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)?;
        let Limits { sessions_max, sessions_max_affine } = self.limits;
        let numbers = [
            i64::from(sessions_max.number()),
            sessions_max_affine.into(),
            self.weight.into(),
            self.priority.into(),
        ];
        let last = (0..numbers.len()).rfind(|&it| numbers[it] != crate::operand::DEFAULTS[it]);
        let count = match (&self.endpoint, last) {
            (Endpoint::Tcp { .. } | Endpoint::Discovered(_), last) => {
                last.map_or(0, |last| last + 1)
            }
            (Endpoint::Unix(path), last) => {
                // A path that ends like numbers needs a number after it, even zero.
                let path = path.to_string_lossy();
                let tail = path.rsplit(':').take_while(|part| crate::operand::is_limit(part));
                match (last, tail.count()) {
                    (None, 0) => 0,
                    (None | Some(0), 0..UNIX_TAIL) => 1,
                    _ => crate::operand::NUMBERS,
                }
            }
        };
        numbers[..count].iter().try_for_each(|number| write!(f, ":{number}"))
    }
}

/// With one more after them, this many numbers at the end of a path look like a backend's fields.
const UNIX_TAIL: usize = crate::operand::NUMBERS - 1;

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port, family) = match self {
            Self::Tcp { host, port, family } | Self::Udp { host, port, family } => {
                (host, port, family)
            }
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        match (host, family) {
            (Some(host), _) => write!(f, "{}:{port}", Bracketed(host))?,
            (None, Family::Any) => write!(f, "*:{port}")?,
            (None, Family::V4) => write!(f, "0.0.0.0:{port}")?,
            (None, Family::V6) => write!(f, "[::]:{port}")?,
        }
        f.write_str(if self.is_udp() { crate::operand::UDP } else { "" })
    }
}

impl Bind {
    /// Whether clients send datagrams here.
    #[must_use]
    pub const fn is_udp(&self) -> bool {
        matches!(self, Self::Udp { .. })
    }

    /// The port; `None` for a Unix socket.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } | Self::Udp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }
}

/// A host before a port: in brackets if it contains colons.
struct Bracketed<'a>(&'a Host);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]"),
            host => host.fmt(f),
        }
    }
}
