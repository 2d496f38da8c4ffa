//! The differences between two configurations, and how to apply them.
//!
//! [`Config::diff`] compares listeners and backends with the same id, and pools with the same name,
//! so that a change can also be applied to a third configuration: [`Config::with`] leaves alone what
//! a change does not name.

mod chain;
mod finding;
mod making;
mod names;
#[cfg(test)]
mod tests;

pub use names::Names;

#[cfg(doc)]
use crate::Config;
use crate::Segment;
use crate::duration::Deadline;
use crate::{
    AdminAccess, Affinity, Backend, Bind, Checks, Endpoint, Engine, Limits, Listener, LogFormat,
    LogSessions, MetricsDetail, Pool, PoolTls, Process, Push, Route, StateDirectory, Tls,
};
use balancing::{
    AccessList, AdminState, ClientLimits, FailoverScope, LoadBound, Policy, ProxyPeers, Rate,
    Subset,
};
use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{
    BackendId, BackendTls, Cut, FlowRules, Limit, ListenerId, SendProxy, Source, SpliceMode,
    Starttls, Timeouts,
};

/// One difference between two configurations.
///
/// What is added or moved comes directly after its predecessor, or first if it has none; last if
/// the predecessor does not exist.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A setting of the process has another value.
    SetProcess(ProcessSetting),
    /// A listener was removed.
    RemoveListener(ListenerId),
    /// A listener was added.
    AddListener {
        /// Its predecessor.
        after: Option<ListenerId>,
        /// The listener.
        listener: Box<Listener>,
    },
    /// A listener has another place in the list.
    MoveListener {
        /// Its predecessor.
        after: Option<ListenerId>,
        /// The listener.
        listener: ListenerId,
    },
    /// A setting of a listener has another value.
    SetListener(ListenerId, ListenerSetting),
    /// A pool was removed, with its backends.
    RemovePool(String),
    /// A pool was added, with its new backends. Those that it takes over from other pools are moved
    /// to it afterwards.
    AddPool {
        /// The name of its predecessor.
        after: Option<String>,
        /// The pool.
        pool: Box<Pool>,
    },
    /// A pool has another place in the list.
    MovePool {
        /// The name of its predecessor.
        after: Option<String>,
        /// Its name.
        pool: String,
    },
    /// A setting of a pool has another value.
    SetPool(String, PoolSetting),
    /// A backend was removed.
    RemoveBackend(BackendId),
    /// A tier was removed, unless it has backends that are not known here.
    RemoveTier {
        /// The name of the pool.
        pool: String,
        /// Its number.
        tier: usize,
    },
    /// A tier was added, still empty. An existing tier of that number stays.
    AddTier {
        /// The name of the pool.
        pool: String,
        /// Its number.
        tier: usize,
        /// The policy.
        policy: Policy,
    },
    /// A tier has another policy.
    SetPolicy {
        /// The name of the pool.
        pool: String,
        /// Its number.
        tier: usize,
        /// The policy.
        policy: Policy,
    },
    /// A backend was added to a tier. It replaces one with the same id that an operator has added.
    AddBackend {
        /// The name of the pool.
        pool: String,
        /// The tier's number.
        tier: usize,
        /// Its predecessor.
        after: Option<BackendId>,
        /// The backend.
        backend: Box<Backend>,
    },
    /// A backend has another place in its tier, or in another tier or pool.
    MoveBackend {
        /// The name of the pool.
        pool: String,
        /// The tier's number.
        tier: usize,
        /// Its predecessor.
        after: Option<BackendId>,
        /// The backend.
        backend: BackendId,
    },
    /// A setting of a backend has another value.
    SetBackend(BackendId, BackendSetting),
}

/// What a change sets. Two changes with the same target give one key different values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A setting of the process.
    Process(Discriminant<ProcessSetting>),
    /// A setting of a listener.
    Listener(ListenerId, Discriminant<ListenerSetting>),
    /// A setting of a pool.
    Pool(String, Discriminant<PoolSetting>),
    /// The policy of a tier.
    Policy(String, usize),
    /// A setting of a backend.
    Backend(BackendId, Discriminant<BackendSetting>),
}

impl Change {
    /// What the change sets; `None` if it adds, removes or moves something.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        Some(match self {
            Self::SetProcess(setting) => Target::Process(discriminant(setting)),
            Self::SetListener(id, setting) => Target::Listener(*id, discriminant(setting)),
            Self::SetPool(name, setting) => Target::Pool(name.clone(), discriminant(setting)),
            Self::SetPolicy { pool, tier, .. } => Target::Policy(pool.clone(), *tier),
            Self::SetBackend(id, setting) => Target::Backend(*id, discriminant(setting)),
            _ => return None,
        })
    }
}

/// Makes an enum of the settings of a part of the configuration, with functions that compare and
/// set them. The pattern must name every field, so that a new one is not forgotten.
macro_rules! settings {
    (
        $(#[$doc:meta])* $Setting:ident of $Owner:ident as $pattern:pat,
        $($(#[$about:meta])* $Variant:ident($type:ty) is $($field:ident).+, $key:literal;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Setting {
            $($(#[$about])* $Variant($type),)*
        }

        impl $Setting {
            /// The key by which people know the setting.
            fn key(&self) -> &'static str {
                match self {
                    $(Self::$Variant(_) => $key,)*
                }
            }
        }

        impl $Owner {
            /// The settings in which `self` differs from `before`.
            fn settings_since(&self, before: &Self) -> Vec<$Setting> {
                let $pattern = self;
                let mut settings = Vec::new();
                $(if self.$($field).+ != before.$($field).+ {
                    settings.push($Setting::$Variant(self.$($field).+.clone()));
                })*
                settings
            }

            fn set(&mut self, setting: $Setting) {
                match setting {
                    $($Setting::$Variant(value) => self.$($field).+ = value,)*
                }
            }
        }
    };
}

settings! {
    /// A setting of the process.
    ProcessSetting of Process as Process {
        workers: _, spin: _, daemon: _, pid_file: _, user: _, root: _, state: _, admin: _,
        log_format: _, log_sessions: _, log_sample: _, log_start: _, log_every: _,
        log_slow_connect: _, log_file: _, metrics: _, metrics_detail: _, push: _, watch: _,
        upgrade_drain: _, access: _,
        ready_interface: _, pre_stop: _,
    },
    /// [`Process::workers`]
    Workers(Option<usize>) is workers, "workers";
    /// [`Process::spin`]
    Spin(Option<Duration>) is spin, "spin";
    /// [`Process::daemon`]
    Daemon(bool) is daemon, "daemon";
    /// [`Process::pid_file`]
    PidFile(Option<PathBuf>) is pid_file, "pid-file";
    /// [`Process::user`]
    User(Option<String>) is user, "user";
    /// [`Process::root`]
    Root(Option<PathBuf>) is root, "root";
    /// [`Process::state`]
    State(StateDirectory) is state, "state";
    /// [`Process::admin`]
    Admin(Option<PathBuf>) is admin, "admin";
    /// [`Process::log_format`]
    LogFormat(LogFormat) is log_format, "log-format";
    /// [`Process::log_sessions`]
    LogSessions(LogSessions) is log_sessions, "log-sessions";
    /// [`Process::log_sample`]
    LogSample(NonZeroU32) is log_sample, "log-sample";
    /// [`Process::log_start`]
    LogStart(bool) is log_start, "log-start";
    /// [`Process::log_every`]
    LogEvery(Option<Duration>) is log_every, "log-every";
    /// [`Process::log_slow_connect`]
    LogSlowConnect(Option<Duration>) is log_slow_connect, "log-slow-connect";
    /// [`Process::log_file`]
    LogFile(Option<PathBuf>) is log_file, "log-file";
    /// [`Process::metrics`]
    Metrics(Option<SocketAddr>) is metrics, "metrics";
    /// [`Process::metrics_detail`]
    MetricsDetail(MetricsDetail) is metrics_detail, "metrics-detail";
    /// [`Process::push`]
    Push(Option<Push>) is push, "otlp";
    /// [`Process::ready_interface`]
    ReadyInterface(Option<String>) is ready_interface, "ready-interface";
    /// [`Process::pre_stop`]
    PreStop(Option<Duration>) is pre_stop, "pre-stop";
    /// [`Process::watch`]
    Watch(bool) is watch, "watch";
    /// [`Process::upgrade_drain`]
    UpgradeDrain(Option<Deadline>) is upgrade_drain, "upgrade-drain";
    /// [`Process::access`]
    Access(AdminAccess) is access, "access to the admin socket";
}

settings! {
    /// A setting of a listener.
    ListenerSetting of Listener as Listener {
        id: _, name: _, binds: _, segment: _, shared_port: _, pool: _, routes: _, hello_wait: _, starttls: _,
        sessions_max: _, connecting_max: _, rate_max: _, clients: _, timeouts: _, flows: _, source: _, accept_proxy: _, tls: _,
        forwarded_headers: _,
        dummy: _, splice: _, cut: _,
    },
    /// [`Listener::name`]
    Name(String) is name, "name";
    /// [`Listener::binds`]
    Binds(Vec<Bind>) is binds, "bind";
    /// [`Listener::segment`]
    Segment(Option<Segment>) is segment, "dsr_if";
    /// [`Listener::shared_port`]
    SharedPort(bool) is shared_port, "share-port";
    /// [`Listener::pool`]
    Pool(String) is pool, "pool";
    /// [`Listener::routes`]
    Routes(Vec<Route>) is routes, "routes";
    /// [`Listener::hello_wait`]
    HelloWait(Duration) is hello_wait, "hello-wait";
    /// [`Listener::starttls`]
    Starttls(Option<Starttls>) is starttls, "starttls";
    /// [`Listener::sessions_max`]
    SessionsMax(Option<u32>) is sessions_max, "max-sessions";
    /// [`Listener::connecting_max`]
    ConnectingMax(Option<u32>) is connecting_max, "max-connecting";
    /// [`Listener::rate_max`]
    RateMax(Option<Rate>) is rate_max, "max-rate";
    /// [`Listener::clients`]
    Clients(ClientLimits) is clients, "client limits";
    /// [`Listener::timeouts`]
    Timeouts(Timeouts) is timeouts, "time-outs";
    /// [`Listener::flows`]
    Flows(FlowRules) is flows, "UDP flows";
    /// [`Listener::source`]
    Source(Source) is source, "source";
    /// [`Listener::accept_proxy`]
    AcceptProxy(Option<ProxyPeers>) is accept_proxy, "accept-proxy";
    /// [`Listener::tls`]
    Tls(Option<Tls>) is tls, "TLS";
    /// [`Listener::forwarded_headers`]
    ForwardedHeaders(bool) is forwarded_headers, "forwarded-headers";
    /// [`Listener::dummy`]
    Dummy(bool) is dummy, "dummy";
    /// [`Listener::splice`]
    Splice(SpliceMode) is splice, "splice";
    /// [`Listener::cut`]
    Cut(Cut) is cut, "cut";
}

settings! {
    /// A setting of a pool.
    PoolSetting of Pool as Pool {
        name: _, tiers: _, load_bound: _, subset: _, quarantine: _, warm_up: _, age_max: _,
        auto_disable: _, checks: _, failover: _, hash_failover: _,
        last_resort: _, essential: _, engine: _, access: _, reject: _, send_proxy: _, tls: _, affinity: _,
        fixed_places: _,
    },
    /// [`Pool::load_bound`]
    LoadBound(Option<LoadBound>) is load_bound, "load-bound";
    /// [`Pool::subset`]
    Subset(Option<Subset>) is subset, "subset";
    /// [`Pool::quarantine`]
    Quarantine(Duration) is quarantine, "quarantine";
    /// [`Pool::warm_up`]
    WarmUp(Option<Duration>) is warm_up, "warm-up";
    /// [`Pool::age_max`]
    AgeMax(Option<Duration>) is age_max, "max-age";
    /// [`Pool::auto_disable`]
    AutoDisable(bool) is auto_disable, "auto-disable";
    /// [`Pool::checks`]
    Checks(Checks) is checks, "probe";
    /// [`Pool::failover`]
    Failover(FailoverScope) is failover, "failover";
    /// [`Pool::hash_failover`]
    HashFailover(FailoverScope) is hash_failover, "hash-failover";
    /// [`Pool::last_resort`]
    LastResort(bool) is last_resort, "no-last-resort";
    /// [`Pool::essential`]
    Essential(bool) is essential, "essential";
    /// [`Pool::engine`]
    Engine(Engine) is engine, "engine";
    /// [`Pool::access`]
    Access(Arc<AccessList>) is access, "access";
    /// [`Pool::reject`]
    Reject(Option<Backend>) is reject, "reject";
    /// [`Pool::send_proxy`]
    SendProxy(Option<SendProxy>) is send_proxy, "send-proxy";
    /// [`Pool::tls`]
    Tls(PoolTls) is tls, "backend-tls";
    /// [`Pool::affinity`]
    Affinity(Option<Affinity>) is affinity, "affinity";
    /// [`Pool::fixed_places`]
    FixedPlaces(bool) is fixed_places, "fixed places";
}

settings! {
    /// A setting of a backend.
    BackendSetting of Backend as Backend {
        id: _, name: _, endpoint: _, limits: Limits { sessions_max: _, sessions_max_affine: _ },
        weight: _, priority: _, access: _, send_proxy: _, tls: _, tls_name: _, admin: _,
    },
    /// [`Backend::name`]
    Name(Option<String>) is name, "name";
    /// [`Backend::endpoint`]
    Endpoint(Endpoint) is endpoint, "address";
    /// [`Limits::sessions_max`]
    SessionsMax(Limit) is limits.sessions_max, "max-sessions";
    /// [`Limits::sessions_max_affine`]
    SessionsMaxAffine(u32) is limits.sessions_max_affine, "max-affine";
    /// [`Backend::weight`]
    Weight(u32) is weight, "weight";
    /// [`Backend::priority`]
    Priority(i32) is priority, "priority";
    /// [`Backend::access`]
    Access(Arc<AccessList>) is access, "access";
    /// [`Backend::send_proxy`]
    SendProxy(Option<SendProxy>) is send_proxy, "send-proxy";
    /// [`Backend::tls`]
    Tls(Option<BackendTls>) is tls, "backend-tls";
    /// [`Backend::tls_name`]
    TlsName(Option<String>) is tls_name, "backend-tls-name";
    /// [`Backend::admin`]
    Admin(AdminState) is admin, "admin";
}
