//! The running configuration, and the commands that change it.

use crate::bind::{Sockets, StartError, listen};
use crate::countries::CountryBook;
use crate::snapshot::{first_pool, next_pool, settings};
use balancing::{AdminState, Backend, BackendState, HealthLimits, Pool, Tier, Totals};
use config::{BackendSelector, Command, CommandError, Config, Endpoint, Host, Reply};
use dataplane::{DataPlane, Listener, Observe, Settings};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use sys::files::OwnFile;
use sys::process::service_port;
use telemetry::{BackendRow, ListenerRow, SessionRow, Status, TierRow, WorkerRow};
use terms::{Address, CloseReason, Limit, ListenerId};

/// The running listeners and backends, as the control plane holds them.
pub struct Instance {
    plane: DataPlane,
    listeners: Vec<Listening>,
    /// The values of the counters at the last reset.
    baselines: HashMap<usize, Totals>,
    started: terms::Instant,
    shutting_down: bool,
    countries: CountryBook,
}

/// A listener, with the parts of its configuration that commands need.
struct Listening {
    config: config::Listener,
    /// The listening address as text, for log lines.
    name: String,
    listener: Arc<Listener>,
    /// The file of a Unix socket, removed with the listener.
    file: Option<OwnFile>,
}

/// A backend and its addresses.
struct Found {
    listener: ListenerId,
    tier: usize,
    index: usize,
    backend: Arc<Backend>,
}

/// A listener that has not been given to workers yet.
pub(crate) struct Bound {
    config: config::Listener,
    pool: Pool,
    sockets: Sockets,
}

impl Bound {
    /// The pool with the addresses found at the start.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The listener's configuration.
    pub fn config(&self) -> &config::Listener {
        &self.config
    }

    /// The listening address.
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets.fds
    }
}

/// Resolves and binds a listener.
pub(crate) fn bind_listener(
    config: &config::Listener,
    workers: usize,
) -> Result<Bound, StartError> {
    let sockets = listen(config)?;
    let pool = first_pool(&config.pool, workers)?;
    Ok(Bound { config: config.clone(), pool, sockets })
}

impl Instance {
    /// Hands the listeners to the workers.
    pub(crate) fn start(
        plane: DataPlane,
        bound: Vec<Bound>,
        observe: Observe,
        mut countries: CountryBook,
    ) -> Self {
        let mut listeners = Vec::new();
        let mut id = ListenerId::new(0);
        for Bound { config, pool, sockets } in bound {
            let settings = settings(&config, observe, countries.find(&config.pool));
            let listener = Arc::new(Listener::new(id, settings, pool));
            id = id.next();
            for socket in sockets.fds {
                plane.listen(Arc::clone(&listener), socket);
            }
            let name = config.bind.to_string();
            listeners.push(Listening { config, name, listener, file: sockets.file });
        }
        let started = sys::clock::now();
        let baselines = HashMap::new();
        Self { plane, listeners, baselines, started, shutting_down: false, countries }
    }

    pub(crate) fn plane(&self) -> &DataPlane {
        &self.plane
    }

    /// The pool of the listener at this place of the configuration, as it is now.
    #[must_use]
    pub fn pool(&self, place: usize) -> Arc<Pool> {
        self.listeners.get(place).map(|it| Arc::clone(&it.listener.pool())).unwrap_or_default()
    }

    /// Makes `config` the running configuration: see [`crate::Operator::reconfigure`].
    pub(crate) fn reconfigure(&mut self, config: &Config) -> Result<(), StartError> {
        for (listening, wanted) in self.listeners.iter_mut().zip(&config.listeners) {
            if listening.config == *wanted {
                continue;
            }
            if listening.config.bind != wanted.bind && !self.shutting_down {
                // First the new sockets: without them everything stays as it is.
                let sockets = listen(wanted)?;
                self.plane.stop_listening_on(listening.listener.id());
                for socket in sockets.fds {
                    self.plane.listen(Arc::clone(&listening.listener), socket);
                }
                listening.file = sockets.file;
                listening.name = wanted.bind.to_string();
            }
            let running = Arc::clone(&listening.listener.pool());
            let old = &listening.config.pool;
            let pool = next_pool(old, &running, &wanted.pool, self.plane.workers());
            listening.listener.publish_pool(pool);
            listening.config = wanted.clone();
            let observe = listening.listener.settings().observe;
            let settings = settings(wanted, observe, self.countries.find(&wanted.pool));
            self.plane.publish(&listening.listener, settings);
        }
        Ok(())
    }

    /// Why a country database is needed and missing; returned once.
    pub(crate) fn take_country_error(&mut self) -> Option<String> {
        self.countries.take_error()
    }

    /// Changes what is observed about sessions.
    pub(crate) fn observe(&mut self, observe: Observe) {
        for listening in &self.listeners {
            if listening.listener.settings().observe != observe {
                let settings =
                    Settings { observe, ..Settings::clone(&listening.listener.settings()) };
                self.plane.publish(&listening.listener, settings);
            }
        }
    }

    /// What a listener is bound to, as configured.
    #[must_use]
    pub fn listener_name(&self, listener: ListenerId) -> &str {
        self.listening(listener).map_or("", |it| &it.name)
    }

    /// The listener of commands that do not name one.
    fn first_listener(&self) -> ListenerId {
        self.listeners[0].listener.id()
    }

    fn listening(&self, listener: ListenerId) -> Option<&Listening> {
        self.listeners.iter().find(|it| it.listener.id() == listener)
    }

    /// Carries out a command, and returns whether anything changed.
    ///
    /// # Errors
    /// The reason, if the command was refused; nothing has changed then. `addresses` are those of
    /// the command's endpoint, if it has one.
    pub(crate) fn apply(
        &mut self,
        command: &Command,
        addresses: Vec<Address>,
    ) -> Result<Reply, CommandError> {
        if self.shutting_down {
            return Err(CommandError::ShuttingDown);
        }
        let changed = match command {
            Command::SetAdminState { backend, state } => {
                self.find(backend)?.backend.state.set_admin(*state)
            }
            Command::SetSessionsMax { backend, sessions_max } => {
                self.find(backend)?.backend.state.set_sessions_max(*sessions_max);
                true
            }
            Command::Quarantine { backend, seconds } => {
                let Found { listener, backend, .. } = self.find(backend)?;
                let health = self.listening(listener).map(|it| it.listener.pool().health);
                let health = health.unwrap_or_default();
                let length = std::time::Duration::from_secs((*seconds).into());
                backend.state.quarantine_for(length, &health, sys::clock::now());
                true
            }
            Command::ResetCounters { backend } => {
                let state = Arc::clone(&self.find(backend)?.backend.state);
                self.baselines.insert(Arc::as_ptr(&state) as usize, state.totals());
                true
            }
            Command::AddBackend { tier, endpoint } => {
                self.add_backend(*tier, endpoint, addresses)?;
                true
            }
            Command::SetEndpoint { backend, endpoint } => {
                self.set_endpoint(backend, endpoint, addresses)?;
                true
            }
            Command::SetPolicy { tier, policy } => {
                let failover = match policy {
                    balancing::Policy::Hash => self.listeners[0].config.pool.hash_failover,
                    _ => balancing::FailoverScope::WholeTier,
                };
                self.edit_pool(self.first_listener(), |pool| {
                    let tier = open_tier(pool, *tier)?;
                    tier.policy = *policy;
                    tier.failover = failover;
                    Ok(())
                })?;
                true
            }
            Command::KillSession { session } => {
                if self.plane.cut(Some(*session), CloseReason::Admin) == 0 {
                    return Err(CommandError::UnknownSession(*session));
                }
                true
            }
            Command::Shutdown {} => {
                self.stop_listening();
                true
            }
        };
        Ok(if changed { Reply::Done } else { Reply::Unchanged })
    }

    fn stop_listening(&mut self) {
        self.shutting_down = true;
        self.plane.stop_listening();
        for listening in &mut self.listeners {
            listening.file = None; // nobody is behind it any more
        }
    }

    /// How long sessions may continue after a shutdown.
    pub(crate) fn shutdown_limit(&self) -> Option<std::time::Duration> {
        let limits = self.listeners.iter().map(|it| it.config.timeouts.shutdown);
        limits.max_by_key(|limit| limit.unwrap_or(std::time::Duration::MAX)).flatten()
    }

    fn find(&self, selector: &BackendSelector) -> Result<Found, CommandError> {
        let mut found = Vec::new();
        for listening in &self.listeners {
            let pool = listening.listener.pool();
            for (tier, index, backend) in pool.backends() {
                let fits = match selector {
                    BackendSelector::Place { tier: t, index: i } => {
                        listening.listener.id() == self.first_listener()
                            && (*t, *i) == (tier, index)
                    }
                    BackendSelector::Name(name) => {
                        backend.name == *name
                            || backend.addresses.iter().any(|it| it.to_string() == *name)
                    }
                };
                if fits {
                    let (listener, backend) = (listening.listener.id(), Arc::clone(backend));
                    found.push(Found { listener, tier, index, backend });
                }
            }
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(CommandError::AmbiguousBackend(selector.to_string())),
            (None, _) => Err(CommandError::UnknownBackend(selector.to_string())),
        }
    }

    fn add_backend(
        &mut self,
        tier: usize,
        endpoint: &str,
        addresses: Vec<Address>,
    ) -> Result<(), CommandError> {
        if addresses.is_empty() {
            return Err(CommandError::InvalidEndpoint(endpoint.to_owned()));
        }
        let state =
            Arc::new(BackendState::new(self.plane.workers(), AdminState::Disabled, Limit::None));
        let backend = Arc::new(Backend::new(endpoint.to_owned(), addresses, state));
        self.edit_pool(self.first_listener(), |pool| {
            open_tier(pool, tier)?.backends.push(backend);
            Ok(())
        })
    }

    fn set_endpoint(
        &mut self,
        selector: &BackendSelector,
        endpoint: &str,
        addresses: Vec<Address>,
    ) -> Result<(), CommandError> {
        let Found { listener, tier, index, backend } = self.find(selector)?;
        if backend.state.admin() == AdminState::Enabled {
            return Err(CommandError::NotDisabled(selector.to_string()));
        }
        if addresses.is_empty() {
            return Err(CommandError::InvalidEndpoint(endpoint.to_owned()));
        }
        let state = Arc::clone(&backend.state);
        let backend = Arc::new(Backend::new(endpoint.to_owned(), addresses, state));
        self.edit_pool(listener, |pool| {
            pool.tiers[tier].backends[index] = backend;
            Ok(())
        })
    }

    /// Publishes a changed copy of a pool, unless the change is refused.
    fn edit_pool(
        &self,
        listener: ListenerId,
        change: impl FnOnce(&mut Pool) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let Some(Listening { listener, .. }) = self.listening(listener) else { return Ok(()) };
        let mut pool = Pool::clone(&listener.pool());
        change(&mut pool)?;
        listener.publish_pool(pool);
        Ok(())
    }

    /// All backends whose host is a name, each with its configured endpoint.
    pub(crate) fn named_backends(&self) -> Vec<(String, Endpoint)> {
        let mut named = Vec::new();
        for listening in &self.listeners {
            for (_, _, backend) in listening.listener.pool().backends() {
                if let Ok(endpoint @ Endpoint::Tcp { host: Host::Name(_), .. }) =
                    config::operand::parse_endpoint(&backend.name, &service_port)
                {
                    named.push((backend.name.clone(), endpoint));
                }
            }
        }
        named
    }

    /// Gives all backends called `name` these addresses; returns whether they are new.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[Address]) -> bool {
        let mut changed = false;
        for listening in &self.listeners {
            let mut pool = Pool::clone(&listening.listener.pool());
            let tiers = pool.tiers.iter_mut();
            for backend in tiers.flat_map(|tier| &mut tier.backends) {
                if backend.name == name && !same_set(&backend.addresses, addresses) {
                    changed = true;
                    *backend = Arc::new(backend.with_addresses(addresses.to_vec()));
                }
            }
            if changed {
                listening.listener.publish_pool(pool);
            }
        }
        changed
    }

    /// The status report.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = sys::clock::now();
        let workers = self.plane.sessions_by_worker();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started).as_secs(),
            shutting_down: self.shutting_down,
            workers: workers.into_iter().map(|it| WorkerRow { sessions: it as u64 }).collect(),
            listeners: self.listeners.iter().map(|it| self.listener_row(it, now)).collect(),
        }
    }

    fn listener_row(&self, listening: &Listening, now: terms::Instant) -> ListenerRow {
        let listener = &listening.listener;
        let pool = listener.pool();
        let tiers = pool.tiers.iter().map(|tier| TierRow {
            policy: word(&tier.policy),
            backends: tier
                .backends
                .iter()
                .map(|backend| self.backend_row(backend, &pool.health, now))
                .collect(),
        });
        ListenerRow {
            bind: listening.name.clone(),
            sessions: listener.sessions().into(),
            sessions_total: listener.sessions_total(),
            tiers: tiers.collect(),
        }
    }

    fn backend_row(
        &self,
        backend: &Backend,
        limits: &HealthLimits,
        now: terms::Instant,
    ) -> BackendRow {
        let state = &backend.state;
        let baseline = self.baselines.get(&(Arc::as_ptr(state) as usize)).copied();
        let totals = state.totals().since(baseline.unwrap_or_default());
        BackendRow {
            name: backend.name.clone(),
            addresses: backend.addresses.iter().map(ToString::to_string).collect(),
            admin: word(&state.admin()),
            health: state.health().name(limits, now).to_owned(),
            sessions: state.sessions().into(),
            sessions_max: state.sessions_max(),
            attempts_total: totals.attempts,
            failures_total: totals.failures,
            sent_bytes_total: totals.sent_bytes,
            received_bytes_total: totals.received_bytes,
        }
    }

    /// All open sessions, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionRow> {
        let mut sessions = self.plane.list();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.age));
        let rows = sessions.into_iter().map(|it| SessionRow {
            session: it.session,
            worker: it.worker,
            listener: self.listener_name(it.listener).to_owned(),
            client: it.client.map_or_else(|| "unix".to_owned(), |it| plain(it).to_string()),
            backend: it.backend.map(|backend| backend.name.clone()),
            backend_address: it.backend_address.map(|it| plain(it).to_string()),
            phase: it.phase.to_owned(),
            sent_bytes: it.sent_bytes,
            received_bytes: it.received_bytes,
            age_seconds: it.age.as_secs_f64(),
        });
        rows.collect()
    }
}

/// Tier numbers beyond this are typing mistakes.
const TIERS_MAX: usize = 1024;

/// A tier, which may be new. Tiers in between are created, empty.
fn open_tier(pool: &mut Pool, tier: usize) -> Result<&mut Tier, CommandError> {
    if tier >= TIERS_MAX {
        return Err(CommandError::TierOutOfRange(tier));
    }
    if pool.tiers.len() <= tier {
        pool.tiers.resize_with(tier + 1, Tier::default);
    }
    Ok(&mut pool.tiers[tier])
}

/// Whether two answers agree. Their order may differ from one lookup to the next.
fn same_set(one: &[Address], other: &[Address]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

/// An address as people write it: an IPv4 client of a dual-stack listener is an IPv4 client.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The word for a value of an enum of the model.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
