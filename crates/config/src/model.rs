//! The validated configuration, in the words of the glossary.

use balancing::{AccessList, FailoverScope, Policy};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{Cut, Limit, Source, SpliceMode, Timeouts};

/// Everything a running balancer is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What is listened on, and where it leads.
    pub listeners: Vec<Listener>,
    /// How the process itself runs.
    pub process: Process,
}

/// A bound local address feeding one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// What to bind.
    pub bind: Bind,
    /// Whether other processes may listen on the same port, so that the kernel spreads clients
    /// over all (`SO_REUSEPORT`, socket(7)). Default false; pen(1) does.
    pub shared_port: bool,
    /// Where sessions go.
    pub pool: Pool,
    /// Open sessions after which accepting pauses and clients wait in the kernel's queue.
    /// Default: as many as descriptors allow.
    pub sessions_max: Option<u32>,
    /// Connects under way after which accepting pauses. Default: no limit of its own.
    pub connecting_max: Option<u32>,
    /// When things take too long.
    pub timeouts: Timeouts,
    /// Local address of connections to backends.
    pub source: Source,
    /// Whether HTTP requests are given `X-Forwarded-Proto` and `X-Forwarded-For`.
    /// Source: pen(1), `-H`.
    pub forwarded_headers: bool,
    /// Whether clients are answered here with a fixed page, and no backend is asked.
    /// Source: penctl(1), `dummy`.
    pub dummy: bool,
    /// Whether bulk data passes through pipes instead of memory.
    pub splice: SpliceMode,
    /// What peers see of a session that we end ourselves.
    pub cut: Cut,
}

/// A local address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// A TCP port.
    Tcp {
        /// The address or name; every address of the family when absent.
        host: Option<Host>,
        /// The port, never zero.
        port: u16,
        /// Which protocols an absent host stands for.
        family: Family,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// Which internet protocol a name or an absent host stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv6 accepting IPv4 too; IPv4 alone where the machine has no IPv6.
    Any,
    /// IPv4 only.
    V4,
    /// An IPv6 socket, dual stack: IPv4 clients appear as `::ffff:a.b.c.d` (balance(1), `-6`).
    V6,
}

/// A host as written: an address, or a name to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// All tiers behind a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Tried in order; may be empty in `balance`, which then serves nobody until told otherwise.
    pub tiers: Vec<Tier>,
    /// How long a backend that failed is left out, unless all are out. Default 10 s; zero never.
    pub quarantine: Duration,
    /// Whether a failed connect disables a backend until an operator enables it.
    /// Source: balance(1), `-a`.
    pub auto_disable: bool,
    /// What may be tried after a failure in a tier that is made a hash tier while running.
    pub hash_failover: FailoverScope,
    /// Whether backends in quarantine are offered when nothing else is left. Default true.
    pub last_resort: bool,
    /// Who may be served. Default: everyone.
    pub access: Arc<AccessList>,
    /// Where clients go that may not be served; by default they are refused.
    pub reject: Option<Backend>,
    /// What is remembered of clients. Default: nothing.
    pub affinity: Option<Affinity>,
}

/// What is remembered of clients. Source: pen(1), "client tracking".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Clients there is room for; then those go that were seen longest ago. Default 2048.
    pub clients_max: u32,
    /// How long a client is remembered after its last session began. Default: for ever.
    pub time_limit: Option<Duration>,
    /// Whether clients go where they are remembered. Otherwise they are only counted.
    pub sticky: bool,
}

/// Backends tried together before the next tier is considered.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// The rule that orders the backends.
    pub policy: Policy,
    /// What may be tried after a backend of this tier failed.
    pub failover: FailoverScope,
    /// The backends. Empty only where places must stay: a pen without servers has its emergency
    /// server in tier 1 as ever.
    pub backends: Vec<Backend>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its limits.
    pub limits: Limits,
    /// Its share of sessions where the policy is `weighted`; zero, the default: none.
    pub weight: u32,
    /// Its rank where the policy is `priority`; the lowest is served first. Default 0.
    pub priority: i32,
    /// Who may be sent here. Default: everyone.
    pub access: Arc<AccessList>,
    /// Whether it is out of service until an operator enables it. Default false.
    pub disabled: bool,
}

/// Caps of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at one time. Default: no limit. Source: balance(1), `maxc`.
    pub sessions_max: Limit,
    /// Sessions at one time of clients that are remembered with this backend may be so many,
    /// where that is more than `sessions_max`. Zero, the default: `sessions_max` holds for them
    /// too. Source: pen(1), the hard limit.
    pub sessions_max_affine: u32,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP port on a host.
    Tcp {
        /// The host.
        host: Host,
        /// The port, never zero.
        port: u16,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// How the process itself runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Data-plane threads. Default: the cores available to the process.
    pub workers: Option<usize>,
    /// Keep polling this long after the last event before sleeping. Default: do not.
    pub spin: Option<Duration>,
    /// Leave the terminal and run in the background.
    pub daemon: bool,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// Whom to become once everything is bound.
    pub user: Option<String>,
    /// The directory to make the root directory (chroot(2)) before becoming the user.
    pub root: Option<PathBuf>,
    /// Where the admin socket goes; in the runtime directory when absent.
    pub admin: Option<PathBuf>,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line each.
    Text,
    /// One JSON object per line.
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

impl Default for Process {
    fn default() -> Self {
        Self {
            workers: None,
            spin: None,
            daemon: false,
            pid_file: None,
            user: None,
            root: None,
            admin: None,
            log_format: LogFormat::Text,
        }
    }
}

impl Backend {
    /// A backend with these limits and nothing else to it.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        let access = AccessList::everyone();
        Self { endpoint, limits, weight: 0, priority: 0, access, disabled: false }
    }
}

impl Pool {
    /// Whether any access list asks where clients' addresses are registered.
    #[must_use]
    pub fn needs_countries(&self) -> bool {
        let backends = self.tiers.iter().flat_map(|tier| &tier.backends).chain(&self.reject);
        let mut lists = backends.map(|backend| &backend.access).chain([&self.access]);
        lists.any(|list| list.needs_country())
    }

    /// How long a backend that failed is left out unless told otherwise.
    pub const DEFAULT_QUARANTINE: Duration = Duration::from_secs(10);
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{}:{port}", Bracketed(host)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// As an operand of the native command line: `host:port`, and as many of its numbers behind that
/// as are not zero.
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
        let count = match (&self.endpoint, numbers.iter().rposition(|number| *number != 0)) {
            (Endpoint::Tcp { .. }, last) => last.map_or(0, |last| last + 1),
            (Endpoint::Unix(path), last) => {
                // A path that ends like numbers needs others behind it, if only zero.
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

/// So many numbers at the end of a path look like all that a backend has, with one behind them.
const UNIX_TAIL: usize = crate::operand::NUMBERS - 1;

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: Some(host), port, .. } => write!(f, "{}:{port}", Bracketed(host)),
            Self::Tcp { host: None, port, family: Family::Any } => write!(f, "*:{port}"),
            Self::Tcp { host: None, port, family: Family::V4 } => write!(f, "0.0.0.0:{port}"),
            Self::Tcp { host: None, port, family: Family::V6 } => write!(f, "[::]:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A host as it stands in front of a port: in brackets when it has colons of its own.
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
