//! The command line of `evenkeel` itself: one tree of options and verbs.
//!
//! [`parse`] returns exactly what was typed. [`Start::to_config`] returns its meaning, and
//! [`Config::to_command_line`](crate::Config::to_command_line) turns that into words again. Programs with
//! grammars of their own, such as `evenkeel pen`, are added to the tree by the caller.

mod access;
mod convert;
mod listening;
mod print;
mod query;
mod services;
mod tap;
#[cfg(test)]
mod tests;
pub(crate) mod writing;

pub use access::{AccessRules, Proxies, entry_words};
pub use convert::NativeError;
pub use listening::ListenName;
pub use query::{ClientNetwork, EventQuery, SessionQuery};
pub(crate) use services::listen_words;
pub use services::{Start, Typed, parse};
pub use tap::{ByteCount, TapQuery};

use crate::duration::{
    Deadline, Grace, Moment, Patience, Span, parse_interval, parse_nonzero_duration,
};
use crate::words::{Choice, PrintForm};
use crate::{
    BackendSelector, Command, Engine, LogFormat, LogSessions, MetricsDetail, OnDown, OnUp,
    StateDirectory, TlsVersion,
};
use balancing::{
    AdminState, ClientLimits, FailoverScope, LoadBound, Percent, Policy, Rate, Subset,
};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand};
use probing::{AgentCheck, Probe};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use terms::{BackendTls, Ciphers, ClientCertificates, Cut, HashOn, Limit, SendProxy, SpliceMode};

/// What was typed after `evenkeel`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "evenkeel",
    version = version(),
    about = "Distributes TCP connections and UDP flows over backends.",
    override_usage = USAGE,
    after_help = after_help(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct NativeCli {
    /// A verb, unless a balancer is to be started.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// The start form.
    #[command(flatten)]
    pub start: NativeArgs,
}

/// The start form: where to listen, which backends to use, and how.
#[derive(Clone, Debug, Args)]
pub struct NativeArgs {
    /// Where to listen.
    #[arg(required = true, value_name = "LISTEN", help = LISTEN_HELP)]
    pub listen: Option<String>,
    /// The backends and separators.
    #[arg(required = true, value_name = "BACKEND", help = BACKEND_HELP)]
    pub backends: Vec<String>,

    /// How a tier chooses: round-robin, hash, least-sessions, random, rotation, address-hash,
    /// address-port-hash, weighted, priority, weighted-turn, least-weighted, two, fastest, maglev
    /// or rendezvous
    #[arg(long, value_name = "POLICY", default_value = "round-robin", hide_possible_values = true)]
    #[arg(value_parser = Policy::parser(), help_heading = CHOOSING)]
    pub policy: Policy,
    /// With maglev and rendezvous: how much more than its share of the sessions a backend may have,
    /// such as 1.25 [default: any number]
    #[arg(long, value_name = "FACTOR", value_parser = LoadBound::from_str, help_heading = CHOOSING)]
    pub load_bound: Option<LoadBound>,
    /// Use a part of what names stand for: size=20,node=3,nodes=10
    #[arg(long, value_name = "PART", value_parser = Subset::from_str, help_heading = CHOOSING)]
    pub subset: Option<Subset>,
    /// How long to skip a failed backend; 0 disables this
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = CHOOSING)]
    pub quarantine: Span,
    /// Refuse clients when all backends have failed
    #[arg(long, help_heading = CHOOSING)]
    pub no_last_resort: bool,
    /// Not ready unless a backend of this pool is available
    #[arg(long, help_heading = CHOOSING)]
    pub essential: bool,
    /// Who forwards: user, this process, kernel or direct
    #[arg(long, value_name = "ENGINE", default_value = "user", hide_possible_values = true)]
    #[arg(value_parser = Engine::parser(), help_heading = CHOOSING)]
    pub engine: Engine,
    /// What to try after a backend has failed: whole-tier, later-tiers or nothing
    #[arg(long, value_name = "SCOPE", default_value = "whole-tier", hide_possible_values = true)]
    #[arg(value_parser = FailoverScope::parser(), help_heading = CHOOSING)]
    pub failover: FailoverScope,
    /// Like --failover, for tiers that hash
    #[arg(long, value_name = "SCOPE", default_value = "whole-tier", hide_possible_values = true)]
    #[arg(value_parser = FailoverScope::parser(), help_heading = CHOOSING)]
    pub hash_failover: FailoverScope,
    /// Disable a failed backend until `evenkeel ctl enable` enables it
    #[arg(long, help_heading = CHOOSING)]
    pub auto_disable: bool,
    /// Probe every backend: tcp, http:/PATH, pgsql, mysql user=NAME, redis, smtp, imap, pop3, ftp,
    /// ssh, ldap, mqtt, memcached, dns:NAME, ntp, command:/PROGRAM or send=BYTES expect=BYTES
    /// [default: none]
    #[arg(long, value_name = "PROBE", value_parser = Probe::from_str, help_heading = HEALTH)]
    pub probe: Option<Probe>,
    /// Time from one probe of a backend to the next
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "probe")]
    #[arg(value_parser = parse_interval, help_heading = HEALTH)]
    pub probe_interval: Span,
    /// How long a probe may take, connect included
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "probe")]
    #[arg(value_parser = parse_interval, help_heading = HEALTH)]
    pub probe_timeout: Span,
    /// Port to probe [default: the backend's]
    #[arg(long, value_name = "PORT", requires = "probe", help_heading = HEALTH)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub probe_port: Option<u16>,
    /// Ask agents, as HAProxy does, at PORT or ADDR:PORT [default: none]
    #[arg(long, value_name = "AGENT", value_parser = AgentCheck::from_str, help_heading = HEALTH)]
    pub agent: Option<AgentCheck>,
    /// Time from one question to the next
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "agent")]
    #[arg(value_parser = parse_interval, help_heading = HEALTH)]
    pub agent_interval: Span,
    /// What becomes of open sessions when probes find their backend down: keep or end-sessions
    #[arg(long, value_name = "WHAT", default_value = "keep", hide_possible_values = true)]
    #[arg(value_parser = OnDown::parser(), requires = "probe", help_heading = HEALTH)]
    pub on_down: OnDown,
    /// What becomes of sessions on later tiers when probes find a backend up again: keep or return
    #[arg(long, value_name = "WHAT", default_value = "keep", hide_possible_values = true)]
    #[arg(value_parser = OnUp::parser(), requires = "probe", help_heading = HEALTH)]
    pub on_up: OnUp,
    /// Skip backends whose sessions fail, at most this share of a tier
    #[arg(long, value_name = "SHARE", value_parser = Percent::from_str, help_heading = HEALTH)]
    pub eject: Option<Percent>,
    /// Below this share of available backends, ignore health
    #[arg(long, value_name = "SHARE", value_parser = Percent::from_str, help_heading = HEALTH)]
    pub fail_open_below: Option<Percent>,
    /// Below this share of available backends, refuse sessions
    #[arg(long, value_name = "SHARE", value_parser = Percent::from_str, help_heading = HEALTH)]
    #[arg(conflicts_with = "fail_open_below")]
    pub refuse_below: Option<Percent>,
    /// Give backends that come up their share gradually [default: at once]
    #[arg(long, value_name = "TIME", value_parser = parse_nonzero_duration, help_heading = HEALTH)]
    pub warm_up: Option<Span>,
    /// End sessions at this age, or up to 10% earlier
    #[arg(long, value_name = "TIME", default_value = "never", help_heading = HEALTH)]
    pub max_age: Patience,
    /// Failures until a backend has failed [default: 1 connect, 3 probes]
    #[arg(long, value_name = "N", help_heading = HEALTH)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAK_MAX)))]
    pub fall: Option<u32>,
    /// Successes until it has recovered [default: 1 connect, 2 probes]
    #[arg(long, value_name = "N", help_heading = HEALTH)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAK_MAX)))]
    pub rise: Option<u32>,
    /// Send returning clients back; remember this many [default: none]
    #[arg(long, value_name = "CLIENTS", help_heading = CHOOSING)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub affinity: Option<u32>,
    /// Forget clients that begin no session for this long
    #[arg(long, value_name = "TIME", default_value = "never", requires = "affinity")]
    #[arg(help_heading = CHOOSING)]
    pub affinity_time: Patience,
    /// Only count the sessions of remembered clients; choose as for new ones
    #[arg(long, requires = "affinity", help_heading = CHOOSING)]
    pub affinity_count_only: bool,

    /// Which clients are served.
    #[command(flatten)]
    pub access: AccessRules,
    /// Where to send denied clients [default: they are refused]
    #[arg(long, value_name = "BACKEND", help_heading = ADMISSION)]
    pub reject: Option<String>,
    /// Most open sessions; others wait [default: as file descriptors allow]
    #[arg(long, value_name = "N", help_heading = ADMISSION)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_sessions: Option<u32>,
    /// Maximum number of connects in progress; further clients wait
    #[arg(long, value_name = "N", help_heading = ADMISSION)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connecting: Option<u32>,
    /// Accept clients at most at this rate, such as 100/s; others wait
    #[arg(long, value_name = "RATE", value_parser = Rate::from_str, help_heading = ADMISSION)]
    pub max_rate: Option<Rate>,
    /// Limits of each client network: sessions=N, rate=N/TIME, and with commas also prefix=V4/V6,
    /// table=N, full=refuse [default: none]
    #[arg(long, value_name = "LIMITS", value_parser = ClientLimits::from_str)]
    #[arg(default_value = "", hide_default_value = true, help_heading = ADMISSION)]
    pub client_limits: ClientLimits,
    /// Serve only clients of these proxies, which must announce them by the PROXY protocol: ADDR,
    /// ADDR/LEN or unix, several with commas
    #[arg(long, value_name = "FROM", value_delimiter = ',', help_heading = ADMISSION)]
    #[arg(value_parser = Proxies::from_str)]
    pub accept_proxy: Vec<Proxies>,
    /// Share the port with other processes; the kernel distributes clients
    #[arg(long, help_heading = ADMISSION)]
    pub share_port: bool,

    /// Terminate TLS with the certificate chain in this PEM file; once for each certificate, the
    /// first is the default
    #[arg(long, value_name = "FILE", help_heading = TLS)]
    pub tls_cert: Vec<PathBuf>,
    /// Where the key of a certificate is [default: in its file]
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = TLS)]
    pub tls_key: Vec<PathBuf>,
    /// Protocols to offer by ALPN, in order, with commas [default: none]
    #[arg(long, value_name = "NAMES", requires = "tls_cert", value_delimiter = ',')]
    #[arg(value_parser = parse_alpn, help_heading = TLS)]
    pub tls_alpn: Vec<String>,
    /// How long a TLS handshake may take
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "tls_cert")]
    #[arg(value_parser = parse_nonzero_duration, help_heading = TLS)]
    pub tls_timeout: Span,
    /// Oldest version for clients: 1.2 or 1.3
    #[arg(long, value_name = "VERSION", default_value = "1.2", hide_possible_values = true)]
    #[arg(requires = "tls_cert", value_parser = TlsVersion::parser(), help_heading = TLS)]
    pub tls_min: TlsVersion,
    /// Ciphers of TLS 1.2, a list as for OpenSSL [default: all]
    #[arg(long, value_name = "LIST", value_parser = Ciphers::from_str, requires = "tls_cert")]
    #[arg(default_value_t, hide_default_value = true, help_heading = TLS)]
    pub tls_ciphers: Ciphers,
    /// OCSP answers for the certificates of the same places, DER
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = TLS)]
    pub tls_ocsp: Vec<PathBuf>,
    /// Keys of tickets that several hosts share [default: own ones]
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = TLS)]
    pub tls_ticket_keys: Option<PathBuf>,
    /// Certificates of clients: off, request or require
    #[arg(long, value_name = "WHETHER", default_value = "off", hide_possible_values = true)]
    #[arg(requires = "tls_cert", value_parser = ClientCertificates::parser(), help_heading = TLS)]
    pub tls_clients: ClientCertificates,
    /// Authorities of clients, files or folders [default: system's]
    #[arg(long, value_name = "PATH", requires = "tls_clients", help_heading = TLS)]
    pub tls_clients_ca: Vec<PathBuf>,
    /// Lists of revoked certificates of clients, PEM
    #[arg(long, value_name = "FILE", requires = "tls_clients", help_heading = TLS)]
    pub tls_clients_crl: Vec<PathBuf>,
    /// TLS with backends: verify, insecure or off
    #[arg(long, value_name = "HOW", default_value = "off", hide_possible_values = true)]
    #[arg(value_parser = BackendTls::parser(), help_heading = TLS)]
    pub backend_tls: BackendTls,
    /// Authorities of backends, files or folders [default: system's]
    #[arg(long, value_name = "FILE", requires = "backend_tls", help_heading = TLS)]
    pub backend_tls_ca: Vec<PathBuf>,
    /// Name in backends' certificates [default: each one's host]
    #[arg(long, value_name = "NAME", requires = "backend_tls", value_parser = parse_server_name)]
    #[arg(help_heading = TLS)]
    pub backend_tls_name: Option<String>,
    /// Certificate to show to backends
    #[arg(long, value_name = "FILE", requires = "backend_tls", help_heading = TLS)]
    pub backend_tls_cert: Option<PathBuf>,
    /// Where its key is [default: in the certificate's file]
    #[arg(long, value_name = "FILE", requires = "backend_tls_cert", help_heading = TLS)]
    pub backend_tls_key: Option<PathBuf>,
    /// Protocols to offer backends by ALPN, with commas [default: none]
    #[arg(long, value_name = "NAMES", requires = "backend_tls", value_delimiter = ',')]
    #[arg(value_parser = parse_alpn, help_heading = TLS)]
    pub backend_tls_alpn: Vec<String>,

    /// Limit of each attempt to connect to a backend
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = TIMES)]
    #[arg(value_parser = parse_nonzero_duration)]
    pub connect_timeout: Span,
    /// End a session after this long without data
    #[arg(long, value_name = "TIME", default_value = "never", help_heading = TIMES)]
    pub idle_timeout: Patience,
    /// End a session whose client sends nothing [default: never]
    #[arg(long, value_name = "TIME", default_value = "never", hide_default_value = true)]
    #[arg(help_heading = TIMES)]
    pub first_byte_timeout: Patience,
    /// End a session that one side has finished after this long without data; now ends it at once
    #[arg(long, value_name = "TIME", default_value = "10m", help_heading = TIMES)]
    pub half_close_timeout: Grace,
    /// Likewise, if the backend has finished [default: the same]
    #[arg(long, value_name = "T", help_heading = TIMES)]
    pub backend_half_close_timeout: Option<Grace>,
    /// Time to deliver the last bytes before a reset
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = TIMES)]
    pub linger: Span,
    /// Probe a silent peer after this long, up to three times, TIME/3 but at most 75s apart; 0 or
    /// never disables this [default: as the system does]
    #[arg(long, value_name = "TIME", help_heading = TIMES)]
    pub keep_alive: Option<Patience>,
    /// Give up peers that acknowledge nothing
    #[arg(long, value_name = "TIME", default_value = "never", help_heading = TIMES)]
    pub user_timeout: Patience,
    /// End a flow after this long without a datagram
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = FLOWS)]
    #[arg(value_parser = parse_nonzero_duration)]
    pub flow_timeout: Span,
    /// Begin another flow after N datagrams of a client; 1 spreads them
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = FLOWS)]
    pub requests: Option<NonZeroU32>,
    /// End a flow after N answers to each datagram from its client: 1 for DNS
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = FLOWS)]
    pub responses: Option<NonZeroU32>,
    /// Try another backend after this long without an answer [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_nonzero_duration, help_heading = FLOWS)]
    pub retry_after: Option<Span>,
    /// Know QUIC clients that move by their ids: quic-cid or quic-cid:N
    #[arg(long, value_name = "WHAT", value_parser = HashOn::from_str, help_heading = FLOWS)]
    #[arg(conflicts_with = "requests")]
    pub hash_on: Option<HashOn>,

    /// How long sessions may go on after TERM or INT; 0 cuts them, never waits
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = TIMES)]
    pub shutdown_timeout: Deadline,

    /// Local address for connections to backends
    #[arg(long, value_name = "ADDR", help_heading = RELAYING)]
    pub source: Option<IpAddr>,
    /// Connect to backends from the client's address (needs CAP_NET_RAW)
    #[arg(long, conflicts_with = "source", help_heading = RELAYING)]
    pub transparent: bool,
    /// Add X-Forwarded-For and X-Forwarded-Proto to HTTP requests
    #[arg(long, help_heading = RELAYING)]
    pub forwarded_headers: bool,
    /// Announce clients to backends by the PROXY protocol: v1, v2, v2-unique-id, v2-crc32c or
    /// v2-unique-id-crc32c
    #[arg(long, value_name = "FORM", hide_possible_values = true)]
    #[arg(value_parser = SendProxy::parser(), help_heading = RELAYING)]
    pub send_proxy: Option<SendProxy>,
    /// Bulk data through kernel pipes: auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    #[arg(value_parser = SpliceMode::parser(), help_heading = RELAYING)]
    pub splice: SpliceMode,
    /// What peers see when a session is cut: reset or close
    #[arg(long, value_name = "HOW", default_value = "reset", hide_possible_values = true)]
    #[arg(value_parser = Cut::parser(), help_heading = RELAYING)]
    pub cut: Cut,
    /// Number of threads that relay data [default: one per available core]
    #[arg(long, value_name = "N", value_parser = parse_workers, help_heading = RELAYING)]
    pub workers: Option<usize>,
    /// Poll this long before sleeping: less latency, more CPU
    #[arg(long, value_name = "TIME", default_value = "0s", help_heading = RELAYING)]
    pub spin: Span,

    /// Run in the background once listening
    #[arg(long, help_heading = PROCESS)]
    pub daemon: bool,
    /// Write the process id to this file
    #[arg(long, value_name = "PATH", help_heading = PROCESS)]
    pub pid_file: Option<PathBuf>,
    /// Change to this user once listening
    #[arg(long, value_name = "NAME", help_heading = PROCESS)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,
    /// Change the root directory (chroot) before changing to the user
    #[arg(long, value_name = "DIR", help_heading = PROCESS)]
    pub root: Option<PathBuf>,
    /// Remember commands, failures and addresses over restarts in this directory, or none
    /// [default: $STATE_DIRECTORY, if it is set]
    #[arg(long, value_name = "DIR", value_parser = parse_state, help_heading = PROCESS)]
    pub state: Option<StateDirectory>,
    /// Path of the admin socket [default: a file in the runtime directory]
    #[arg(long, value_name = "PATH", help_heading = PROCESS)]
    pub admin: Option<PathBuf>,
    /// Format of the log: text or json
    #[arg(long, value_name = "FORM", default_value = "text", hide_possible_values = true)]
    #[arg(value_parser = LogFormat::parser(), help_heading = PROCESS)]
    pub log_format: LogFormat,
    /// Which ends of sessions to log: all, problems or none
    #[arg(long, value_name = "WHICH", default_value = "all", hide_possible_values = true)]
    #[arg(value_parser = LogSessions::parser(), help_heading = PROCESS)]
    pub log_sessions: LogSessions,
    /// Of sessions without problems, log one in N
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count)]
    #[arg(help_heading = PROCESS)]
    pub log_sample: NonZeroU32,
    /// Log when sessions have been connected to a backend, too
    #[arg(long, help_heading = PROCESS)]
    pub log_start: bool,
    /// Log open sessions again at each multiple of this age
    #[arg(long, value_name = "TIME", value_parser = parse_interval, help_heading = PROCESS)]
    pub log_every: Option<Span>,
    /// Take it for a problem of a session if connecting took longer
    #[arg(long, value_name = "TIME", value_parser = parse_nonzero_duration)]
    #[arg(help_heading = PROCESS)]
    pub log_slow_connect: Option<Span>,
    /// Log to this file, which the signal USR1 has opened again
    #[arg(long, value_name = "PATH", help_heading = PROCESS)]
    pub log_file: Option<PathBuf>,
    /// Serve Prometheus metrics at this address, or port of 127.0.0.1
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = PROCESS)]
    pub metrics: Option<SocketAddr>,
    /// Detail of metrics: backend, pool (sums) or auto
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    #[arg(value_parser = MetricsDetail::parser(), help_heading = PROCESS)]
    pub metrics_detail: MetricsDetail,
    /// Make an interface that has a carrier while ready, for keepalived
    #[arg(long, value_name = "NAME", value_parser = parse_interface, help_heading = PROCESS)]
    pub ready_interface: Option<String>,
    /// How long to accept clients after a shutdown was announced
    /// [default: 1s with --ready-interface, else 0s]
    #[arg(long, value_name = "TIME", help_heading = PROCESS)]
    pub pre_stop: Option<Span>,
    /// Print this configuration in full, as a line or as toml, and exit
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "line", hide_possible_values = true)]
    #[arg(value_parser = PrintForm::parser(), help_heading = PROCESS)]
    pub print_config: Option<PrintForm>,
}

/// What `evenkeel` can do besides starting a balancer.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Start three small web servers with a balancer in front of them, for experiments
    Demo(DemoArgs),
    /// Show and change a running instance
    Ctl(CtlArgs),
    /// Print a running instance's status as a web page, also as a CGI program
    Status(StatusArgs),
    /// Show a running instance on the terminal, live
    Top(TopArgs),
    /// Ask a running instance whether clients should be sent to it; the exit status says so
    Ready(ReadyArgs),
    /// Start a balancer from a configuration file
    Run(RunArgs),
    /// Have a running instance read its configuration file again
    Reload(ReloadArgs),
    /// Replace a running instance by this program; its sessions go on
    Upgrade(UpgradeArgs),
    /// Say what is wrong with a configuration file, all of it at once
    Check(CheckArgs),
    /// Compare a configuration file with the one that was loaded, and that with what runs
    Diff(DiffArgs),
    /// Rewrite a configuration file: keys in order, one spelling, comments kept
    Fmt(FmtArgs),
    /// Print the JSON Schema of configuration files, for editors
    Schema,
    /// Print help, for a verb if one is named
    #[command(disable_help_flag = true)]
    Help {
        /// The verb
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "VERB")]
        words: Vec<OsString>,
    },
    /// Print the version
    Version,
    /// Remove the rules that instances which are gone have left in the kernel
    EngineClear(EngineClearArgs),
    /// Install the program, links, man pages, completions, systemd unit; spares other files
    Install {
        /// The directory that contains bin and share; created if missing
        #[arg(long, value_name = "DIR", default_value = "/usr/local")]
        prefix: PathBuf,
    },
    /// Create links in DIR, so that the classics can be called by their names
    Links {
        /// The directory, for instance /usr/local/bin
        dir: PathBuf,
    },
}

/// `evenkeel demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Port of the balancer; the web servers use the next free ports
    #[arg(long, value_name = "N", default_value_t = 8080)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
}

/// `evenkeel run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The file; those in conf.d beside it belong to it [default: /etc/evenkeel/evenkeel.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Take over the listeners and sessions of the instance with the same admin socket, if it runs
    #[arg(long)]
    pub take_over: bool,
}

/// `evenkeel diff`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DIFF_AFTER_HELP)]
pub struct DiffArgs {
    /// The file [default: the one that the instance was started from]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
}

/// `evenkeel reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArgs {
    /// If the program has been replaced since the instance was started, upgrade instead
    #[arg(long, conflicts_with = "confirm")]
    pub or_upgrade: bool,
    /// When the change is taken back.
    #[command(flatten)]
    pub confirm: Confirm,
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
}

/// `evenkeel upgrade`.
#[derive(Clone, Debug, Args)]
pub struct UpgradeArgs {
    /// Use this configuration file instead of what the instance was started with
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Have the old process stay for TIME after that, so that it serves again if the new one dies
    #[arg(long, value_name = "TIME", value_parser = parse_nonzero_duration)]
    pub watch: Option<Span>,
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
}

/// When a reload is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct Confirm {
    /// Take the change back after TIME, unless `evenkeel ctl confirm` comes before that
    #[arg(long, value_name = "TIME", value_parser = parse_nonzero_duration)]
    pub confirm: Option<Span>,
}

impl Confirm {
    /// The command that requests the reload.
    pub fn command(self) -> Command {
        Command::Reload { confirm_seconds: self.confirm.map(seconds) }
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Span) -> u32 {
    u32::try_from(time.0.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// `evenkeel check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CHECK_AFTER_HELP, max_term_width = 100)]
pub struct CheckArgs {
    /// The file; those in conf.d beside it belong to it, and - is standard input [default:
    /// /etc/evenkeel/evenkeel.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Check the text only; otherwise also users, directories, and whether the listening addresses
    /// are free
    #[arg(long, conflicts_with = "online")]
    pub offline: bool,
    /// Also resolve and connect to each backend once
    #[arg(long)]
    pub online: bool,
    /// How to print reports: text, or json, one object per line
    #[arg(long, value_name = "FORM", default_value = "text", hide_possible_values = true)]
    pub format: CheckFormat,
    /// Fail on warnings, too
    #[arg(long)]
    pub strict: bool,
}

/// How `evenkeel check` prints reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckFormat {
    /// With the line that each is about.
    Text,
    /// As lines of JSON.
    Json,
}

/// `evenkeel fmt`.
#[derive(Clone, Debug, Args)]
pub struct FmtArgs {
    /// The file; - reads standard input and writes standard output [default:
    /// /etc/evenkeel/evenkeel.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write nothing; exit with status 1 if the file would change
    #[arg(long)]
    pub check: bool,
}

/// `evenkeel engine-clear`.
#[derive(Clone, Debug, Args)]
#[command(max_term_width = 100)]
pub struct EngineClearArgs {
    /// Only those of these instances: the name or path of the admin socket, or the name that
    /// `nft list tables` shows [default: all that are gone]
    #[arg(value_name = "NAME")]
    pub names: Vec<PathBuf>,
    /// Also those of instances that are running; their sessions in the kernel end
    #[arg(long)]
    pub force: bool,
    /// Remove nothing; print what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// `evenkeel status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Print a self-contained HTML page (currently the only format)
    #[arg(long, required = true)]
    pub html: bool,
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
}

/// `evenkeel ready`.
#[derive(Clone, Debug, Args)]
pub struct ReadyArgs {
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
}

/// `evenkeel top`.
#[derive(Clone, Debug, Args)]
#[command(after_help = TOP_AFTER_HELP)]
pub struct TopArgs {
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
}

/// Selects a running instance.
#[derive(Clone, Debug, Args)]
pub struct WhichInstance {
    /// Use the instance with this admin socket
    #[arg(id = "ctl-admin", long = "admin", value_name = "PATH", global = true)]
    #[arg(conflicts_with = "ctl-listen")]
    pub admin: Option<PathBuf>,
    /// Use the instance with this listener.
    #[arg(id = "ctl-listen", long = "listen", value_name = "LISTEN", global = true)]
    #[arg(help = WHICH_HELP)]
    pub listen: Option<ListenName>,
}

/// `evenkeel ctl`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CTL_AFTER_HELP, disable_help_subcommand = true, max_term_width = 100)]
pub struct CtlArgs {
    /// Which instance.
    #[command(flatten)]
    pub which: WhichInstance,
    /// What to do.
    #[command(subcommand)]
    pub verb: CtlVerb,
}

/// What `evenkeel ctl` does. A BACKEND is TIER.INDEX, a name or an address, as shown by `status`.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum CtlVerb {
    /// Show listeners, tiers, backends and counters
    Status {
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        /// Print every column in full, wider than 80 characters
        #[arg(long, conflicts_with = "json")]
        wide: bool,
    },
    /// List open sessions, the oldest first
    Sessions {
        /// Which ones.
        #[command(flatten)]
        query: SessionQuery,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        /// Print every column in full, wider than 80 characters
        #[arg(long, conflicts_with = "json")]
        wide: bool,
    },
    /// Say where a client would be sent, and why not elsewhere
    Why {
        /// Its address, with a port if the policy goes by that; or unix
        client: String,
        /// The listener: its name, port or address [default: the only one]
        #[arg(long, value_name = "LISTENER")]
        listener: Option<String>,
        /// The name of the server that a TLS client asks for
        #[arg(long, value_name = "NAME")]
        sni: Option<String>,
        /// The protocols that a TLS client offers, with commas between them
        #[arg(long, value_name = "NAMES")]
        alpn: Option<String>,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow what happens, as in the log, until interrupted
    Events {
        /// Which ones.
        #[command(flatten)]
        query: EventQuery,
        /// Print each as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Watch what passes in sessions, until interrupted
    Tap {
        /// Which ones, and how much.
        #[command(flatten)]
        query: TapQuery,
        /// Print JSON objects, with the bytes in hexadecimal
        #[arg(long)]
        json: bool,
    },
    /// Put a backend into service
    Enable {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
    },
    /// Take a backend out of service; its open sessions continue
    Disable {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
    },
    /// Like disable, and log when the backend's last session has ended
    Drain {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
        /// Wait until the backend has no sessions, for at most TIME if it is given; the exit
        /// status is 1 if sessions are still open then
        #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "never")]
        wait: Option<Deadline>,
    },
    /// Limit a backend's open sessions; 0 removes the limit
    Limit {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
        /// Maximum number of open sessions; a negative number admits none
        #[arg(allow_negative_numbers = true)]
        max: i32,
    },
    /// Skip a backend for some time from now, as after a failed connect; 0 ends this
    Quarantine {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
        /// How long: 30s, 5m, 1h; a bare number is seconds, and parts of a second are rounded up
        #[arg(value_name = "TIME")]
        time: Span,
    },
    /// Set a backend's counters to zero
    Reset {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
    },
    /// Add a disabled backend to a tier
    Add {
        /// The tier's number, from 0; one more than the last makes a new tier
        #[arg(value_name = "[POOL/]TIER", value_parser = tier_place)]
        tier: TierPlace,
        /// Its address.
        #[arg(help = ENDPOINT_HELP)]
        endpoint: String,
    },
    /// Remove a backend; its open sessions go on
    Remove {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
    },
    /// Give a disabled backend another address
    Assign {
        /// TIER.INDEX, name or address
        #[arg(value_parser = BackendSelector::parse)]
        backend: BackendSelector,
        /// Its address.
        #[arg(help = ENDPOINT_HELP)]
        endpoint: String,
    },
    /// Change a tier's policy to one that --policy takes
    Policy {
        /// The tier's number, from 0
        #[arg(value_name = "[POOL/]TIER", value_parser = tier_place)]
        tier: TierPlace,
        /// The policy
        #[arg(value_parser = Policy::parser(), hide_possible_values = true)]
        policy: Policy,
    },
    /// End sessions of backends that have more than their share, one after the other
    Rebalance {
        /// The pool [default: the only one]
        pool: Option<String>,
        /// The most of each backend's sessions that end [default: all that are too many]
        #[arg(long, value_name = "SHARE", value_parser = Percent::from_str)]
        share: Option<Percent>,
        /// The time over which they end
        #[arg(long, value_name = "TIME", default_value = "1m")]
        over: Span,
    },
    /// End one session
    Kill {
        /// Its number, as `sessions` shows it
        session: u64,
    },
    /// Print what runs as a configuration file
    Config,
    /// Read the configuration file again
    Reload(Confirm),
    /// Make a reload with --confirm final
    Confirm,
    /// Send clients elsewhere, end sessions while they are silent, and exit
    #[command(after_help = DRAIN_ALL_AFTER_HELP)]
    DrainAll {
        /// When what is left is cut: after 10m, or at 17:30 (local time)
        #[arg(long, value_name = "TIME", required_unless_present = "cancel")]
        by: Option<Moment>,
        /// Wait for the end and print what became of the sessions; the exit status is 1 if some were
        /// cut
        #[arg(long, conflicts_with = "cancel")]
        wait: bool,
        /// Call the drain off, and accept clients again
        #[arg(long, conflicts_with = "by")]
        cancel: bool,
    },
    /// Stop listening, let sessions finish, and exit
    Shutdown,
}

/// A tier as `ctl` is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierPlace {
    /// The pool, where there are several.
    pub pool: Option<String>,
    /// The tier's number.
    pub tier: usize,
}

impl CtlVerb {
    /// The change that this verb requests; `None` for verbs that only read, and if that depends on
    /// the time of day.
    pub fn command(&self) -> Option<Command> {
        let admin_state = |backend: &BackendSelector, state| Command::SetAdminState {
            backend: backend.clone(),
            state,
        };
        Some(match self {
            Self::Status { .. } | Self::Sessions { .. } | Self::Why { .. } => return None,
            Self::Events { .. } | Self::Tap { .. } | Self::Config => return None,
            Self::Enable { backend } => admin_state(backend, AdminState::Enabled),
            Self::Disable { backend } => admin_state(backend, AdminState::Disabled),
            Self::Drain { backend, .. } => admin_state(backend, AdminState::Draining),
            Self::Limit { backend, max } => Command::SetSessionsMax {
                backend: backend.clone(),
                sessions_max: Limit::from_number(*max),
            },
            Self::Quarantine { backend, time } => {
                Command::Quarantine { backend: backend.clone(), seconds: seconds(*time) }
            }
            Self::Reset { backend } => Command::ResetCounters { backend: backend.clone() },
            Self::Add { tier, endpoint } => Command::AddBackend {
                pool: tier.pool.clone(),
                tier: tier.tier,
                endpoint: endpoint.clone(),
            },
            Self::Remove { backend } => Command::RemoveBackend { backend: backend.clone() },
            Self::Assign { backend, endpoint } => {
                Command::SetEndpoint { backend: backend.clone(), endpoint: endpoint.clone() }
            }
            Self::Policy { tier, policy } => {
                Command::SetPolicy { pool: tier.pool.clone(), tier: tier.tier, policy: *policy }
            }
            Self::Rebalance { pool, share, over } => Command::Rebalance {
                pool: pool.clone(),
                share_percent: share.map(Percent::number),
                seconds: seconds(*over),
            },
            Self::Kill { session } => Command::KillSession { session: *session },
            Self::Reload(confirm) => confirm.command(),
            Self::Confirm => Command::Confirm {},
            Self::DrainAll { cancel: true, .. } => Command::CancelDrainAll {},
            Self::DrainAll { by: Some(Moment::After(time)), wait, .. } => {
                Command::DrainAll { seconds: seconds(*time), wait: *wait }
            }
            // Only a clock knows how long it is until a time of day.
            Self::DrainAll { .. } => return None,
            Self::Shutdown => Command::Shutdown {},
        })
    }
}

/// The start form and the verbs as clap sees them. Programs with grammars of their own are verbs,
/// too; the caller adds them.
pub fn command_tree() -> clap::Command {
    NativeCli::command()
}

/// Example command lines with explanations.
pub const EXAMPLES: [(&str, &str); 6] = [
    ("evenkeel demo", "an experiment that needs no other program"),
    ("evenkeel 8080 app1 app2:8081", "two backends in turn, the first also on port 8080"),
    ("evenkeel 5432 db1::100 ! db2", "at most 100 sessions to db1; db2 if it is full or down"),
    ("evenkeel [::1]:80 10.0.0.1 unix:/run/a %", "by client address, over IPv4 and a Unix socket"),
    ("evenkeel 53/tcp+udp ns1 ns2", "DNS, over both protocols"),
    ("evenkeel 80 app1 app2 -- 5432 db1 ! db2", "two services in one process"),
];

/// The release, followed by the commit if `EVENKEEL_COMMIT` was set for the build. A build does not run
/// git, so it works without it and is the same in every directory.
fn version() -> String {
    let release = env!("CARGO_PKG_VERSION");
    match option_env!("EVENKEEL_COMMIT") {
        Some(commit) => format!("{release} (commit {commit})"),
        None => release.to_owned(),
    }
}

fn after_help() -> String {
    let mut text = String::from(
        "Times are written 500ms, 2s, 10m or 1h; a bare number is seconds; 0 or never, no limit.\n\nExamples:\n",
    );
    for (line, meaning) in EXAMPLES {
        text.push_str(&format!("  {line:<42}{meaning}\n"));
    }
    text + "\nExit status: 0 success, 1 failure, 2 usage error; the classics have their own, see \
            evenkeel(1)."
}

/// A directory. One that is called `none` is `./none`.
fn parse_state(text: &str) -> Result<StateDirectory, String> {
    match text {
        "" => Err("is empty; write a directory, or none".to_owned()),
        "none" => Ok(StateDirectory::None),
        path => Ok(StateDirectory::At(path.into())),
    }
}

fn parse_alpn(text: &str) -> Result<String, String> {
    match text.len() {
        1..=255 if !text.contains(',') => Ok(text.to_owned()),
        _ => Err("a protocol of ALPN is a name of 1 to 255 bytes, such as h2".to_owned()),
    }
}

/// Reads the name of a server: what a certificate can have.
pub(crate) fn parse_server_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = || text.parse::<IpAddr>().is_ok();
    match text.len() <= 253 && text.split('.').all(label) || is_address() {
        true => Ok(text.to_owned()),
        false => {
            Err("the name of a server is one such as app.example.org, or an IP address".to_owned())
        }
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers @ 1..=MAX_WORKERS) => Ok(workers),
        _ => Err(format!("the number of workers must be from 1 to {MAX_WORKERS}")),
    }
}

fn parse_count(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("must be a whole number from 1 to {}", u32::MAX))
}

/// The name of a network interface. Source: dev_valid_name() of the kernel.
fn parse_interface(text: &str) -> Result<String, String> {
    let is_fit = |letter: char| letter.is_ascii_graphic() && !"/:%".contains(letter);
    match (1..=15).contains(&text.len()) && text.chars().all(is_fit) {
        true => Ok(text.to_owned()),
        false => {
            Err("the name of a network interface has at most 15 letters, digits and signs other \
                      than '/', ':' and '%'"
                .to_owned())
        }
    }
}

/// An address with a port, or only a port.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text.parse().map_err(|_| {
            "metrics are served at an address with a port, such as 127.0.0.1:9188 or [::1]:9188, or \
             at a port of 127.0.0.1"
                .to_owned()
        }),
    }
}

fn tier_place(text: &str) -> Result<TierPlace, String> {
    let (pool, tier) = match text.rsplit_once('/') {
        Some((pool, tier)) => (Some(pool.to_owned()), tier),
        None => (None, text),
    };
    let tier = tier.parse().map_err(|_| "a tier is a number, from 0".to_owned())?;
    Ok(TierPlace { pool, tier })
}

/// The longest row of failures or successes that can be asked for.
pub(crate) const STREAK_MAX: u32 = 1000;

/// More threads than this are a typing mistake.
const MAX_WORKERS: usize = 1024;

// Not doc comments, because rustdoc would take the brackets for links.
const LISTEN_HELP: &str = "Where to listen: port, service, addr:port, [v6]:port or unix:/path; with \
     /udp for UDP and /tcp+udp for both after it, as in 53/tcp+udp";
const BACKEND_HELP: &str = "Backends: host[:port[:max[:max_affine[:weight[:priority]]]]], [v6]:port, \
     unix:/path, or dns:name:port or srv:name (one per address). ! ends a tier; % ends one that \
     selects by client address. A tier is used while no backend in those before it is available. -- \
     ends the service; another one may follow, with its own options";
const WHICH_HELP: &str = "Use the instance with this listener: a port, or an address as shown by \
     `ctl status`, such as *:80, [::1]:80 or unix:/path [default: the only one running]";
const ENDPOINT_HELP: &str = "host:port, [v6]:port or unix:/path";

const CHOOSING: &str = "Choosing a backend";
const HEALTH: &str = "Health";
const ADMISSION: &str = "Admitting clients";
const TIMES: &str = "Times";
const FLOWS: &str = "UDP flows";
const TLS: &str = "TLS";
const RELAYING: &str = "Relaying";
const PROCESS: &str = "Process";

const USAGE: &str = "\
evenkeel [OPTIONS] LISTEN BACKEND... [! BACKEND...] [-- LISTEN BACKEND...]
       evenkeel demo | ctl VERB | top | status --html | help [VERB] | version
       evenkeel run [FILE] | reload | upgrade | diff [FILE] | check [FILE] | fmt [FILE] | schema
       evenkeel install [--prefix DIR] | links DIR | engine-clear [NAME]... | PROGRAM [WORD]...";

const CHECK_AFTER_HELP: &str = "\
Exit status: 0 the file can be used, 1 it cannot or there are warnings with --strict, 2 usage error.";

const TOP_AFTER_HELP: &str = "\
Keys: 1 to 4 or Tab for the panes (overview, backends, sessions, events), arrows to select a row, / to
filter, s to sort, d and e to drain and enable a backend, k to end a session, ? for help, q to quit.
Commands say what they would do, and wait for a yes. The terminal needs 80 x 24 characters.";

const DIFF_AFTER_HELP: &str = "\
First the file is compared with what was loaded from it, which is what a reload would change; then
what was loaded with what runs, which is what commands have changed.

Exit status: 0 no difference, 1 differences, 2 trouble.";

const DRAIN_ALL_AFTER_HELP: &str = "\
The instance is no longer ready at once, goes on accepting for --pre-stop, and then refuses clients.
Every session is ended when its turn comes, unless it is active: then as soon as it has been silent
for a second. What is still open at TIME is cut. The process exits with status 0 when no session is
left. Another `drain-all` changes the time; `shutdown` has the --shutdown-timeout count instead.

Exit status: 0 success, 1 refused, or sessions were cut (--wait), 2 usage error, 69 no such instance.";

const CTL_AFTER_HELP: &str = "\
A BACKEND is TIER.INDEX, a name or an address, as shown by `status`. Where there are several pools,
POOL/ before it selects one.

Exit status: 0 success, 1 refused or not drained in time, 2 usage error, 69 no such instance.";
