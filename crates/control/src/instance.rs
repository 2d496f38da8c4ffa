//! The running instance: its configuration, and what the data plane serves from it.
//!
//! Every change is another [`Config`]. [`commands`](crate::commands) makes one from a command,
//! [`Instance::reconfigure`] one from what a companion wants, and [`publish`](crate::publish) makes
//! it the running one.

use crate::answers::Answers;
use crate::bind::Sockets;
use crate::certificates::{CertificateError, Certificates, Contents, Way};
use crate::changes::Changes;
use crate::countries::CountryBook;
use crate::desk::Known;
use crate::discoveries::Discoveries;
use crate::manager::PassedSockets;
use crate::probes::Probes;
use crate::reload::named_backends;
use crate::retired::Retired;
use crate::snapshot::{Departed, settings, termination};
use balancing::{Backend, Outcome, Pool, Routes, Totals};
use config::{Bind, Config, Endpoint, Ids, OnDown, OnUp};
use dataplane::{
    DataPlane, DoorId, Ended, Event, Listener, Observe, Recall, Routing, SessionFilter,
    SessionInfo, Settings, Victims,
};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use sys::files::OwnFile;
use terms::{Address, BackendId, CloseReason, ConnectFailure, Instant, Limit, ListenerId};

/// The running listeners and backends, as the control plane holds them.
pub struct Instance {
    pub(crate) plane: DataPlane,
    /// The running configuration. The data plane's own decisions, which are to disable failed
    /// backends, are taken over before each change.
    pub(crate) config: Config,
    pub(crate) ids: Ids,
    /// One for each pool of the configuration, in the same order.
    pub(crate) pools: Vec<Arc<Pool>>,
    /// Whether the [`Ejector`](balancing::Ejector) has something to do for any of the pools.
    pub(crate) has_judged_pools: bool,
    /// The places of the pools there, by name.
    pub(crate) places: HashMap<String, usize>,
    /// One for each listener of the configuration, in the same order.
    pub(crate) listeners: Vec<Listening>,
    /// Removed listeners that still have sessions.
    pub(crate) departed: Vec<(config::Listener, Listening)>,
    /// Removed backends that may still have sessions.
    pub(crate) departed_backends: Vec<Departed>,
    /// What those that were forgotten had counted.
    pub(crate) retired: Retired,
    /// The values of the counters at the last reset.
    pub(crate) baselines: HashMap<BackendId, Totals>,
    pub(crate) changes: Changes,
    pub(crate) observe: Observe,
    pub(crate) started: Instant,
    pub(crate) shutting_down: bool,
    pub(crate) countries: CountryBook,
    pub(crate) certificates: Certificates,
    /// Sockets that the service manager has passed, as long as we listen.
    pub(crate) passed: PassedSockets,
    /// The last configuration from the file or the companion; at first the one of the start. It
    /// differs from `config` in what commands have changed since.
    pub(crate) given: Config,
    pub(crate) probes: Probes,
    pub(crate) discoveries: Discoveries,
    /// Whether new clients are left to another process.
    pub(crate) is_leaving: bool,
    /// Whether no clients are accepted at present.
    pub(crate) is_paused: bool,
    /// How many sessions the kernel forwards by itself, when they were last counted.
    pub(crate) forwarded: usize,
    /// The sockets of the doors at which this process does not accept for one of these reasons.
    pub(crate) left_doors: Vec<(DoorId, OwnedFd)>,
    /// Those at which clients are refused, because the process that serves now does not have them.
    pub(crate) refusing: HashSet<DoorId>,
}

/// A running listener.
pub(crate) struct Listening {
    /// The listening addresses as text, for log lines.
    pub name: String,
    pub listener: Arc<Listener>,
    pub doors: Vec<Door>,
}

/// A listening address that is bound.
pub(crate) struct Door {
    pub id: DoorId,
    pub bind: Bind,
    /// The file of a Unix socket, removed with the door.
    pub file: Option<OwnFile>,
}

/// The sockets of listening addresses that no listener has been given yet.
pub(crate) type Bound = HashMap<Bind, Sockets>;

impl Instance {
    /// Hands the listeners of `config`, whose addresses are `bound`, to the workers. `pools` are its
    /// pools. It may differ from the `given` configuration as if commands had changed it.
    pub(crate) fn start(
        plane: DataPlane,
        (given, config): (Config, Config),
        ids: Ids,
        (mut bound, pools): (Bound, Vec<Pool>),
        observe: Observe,
        (countries, certificates): (CountryBook, Certificates),
    ) -> Self {
        let probes = Probes::new(certificates.connectors());
        let mut instance = Self {
            plane,
            given,
            has_judged_pools: pools.iter().any(Pool::is_judged),
            places: places(&config),
            config,
            ids,
            pools: pools.into_iter().map(Arc::new).collect(),
            listeners: Vec::new(),
            departed: Vec::new(),
            departed_backends: Vec::new(),
            retired: Retired::default(),
            baselines: HashMap::new(),
            changes: Changes::default(),
            observe,
            started: sys::clock::now(),
            shutting_down: false,
            countries,
            certificates,
            passed: PassedSockets::default(),
            probes,
            discoveries: Discoveries::default(),
            is_leaving: false,
            is_paused: false,
            forwarded: 0,
            left_doors: Vec::new(),
            refusing: HashSet::new(),
        };
        for listener in instance.config.listeners.clone() {
            let listening = instance.begin(&listener, &mut bound);
            instance.listeners.push(listening);
        }
        instance
    }

    /// Makes the workers accept clients of a new listener. Its sockets are taken out of `bound`.
    pub(crate) fn begin(&mut self, config: &config::Listener, bound: &mut Bound) -> Listening {
        let id = config.id.unwrap_or_else(|| self.ids.listener());
        let settings = self.settings(config);
        let listener = Arc::new(Listener::new(
            id,
            settings,
            self.pool_called(&config.pool),
            self.plane.workers(),
        ));
        listener.publish_routing(self.routing_of(config));
        let mut listening = Listening { name: String::new(), listener, doors: Vec::new() };
        self.open_doors(&mut listening, config, bound);
        listening
    }

    /// Makes a listener accept clients at those of its addresses that are `bound`.
    pub(crate) fn open_doors(
        &mut self,
        listening: &mut Listening,
        config: &config::Listener,
        bound: &mut Bound,
    ) {
        for bind in &config.binds {
            if let Some((bind, Sockets { fds, file })) = bound.remove_entry(bind) {
                let id = self.listen(&listening.listener, fds);
                listening.doors.push(Door { id, bind, file });
            }
        }
        listening.name = config.bound_to();
    }

    /// The settings for the sessions of a listener.
    pub(crate) fn settings(&mut self, config: &config::Listener) -> Settings {
        let pools = config.pools().filter_map(|pool| self.places.get(pool));
        let pools = pools.map(|place| &self.config.pools[*place]);
        let countries = pools.filter_map(|pool| self.countries.find(pool)).last();
        let tls = config.tls.as_ref();
        let tls = tls.map(|it| termination(it, self.certificates.find(it)));
        settings(config, self.observe, countries, tls)
    }

    /// Takes over what the files of a way to use TLS have become. Returns whether anything
    /// has changed.
    ///
    /// # Errors
    /// Why that cannot be used; nothing has changed then.
    pub(crate) fn renew(
        &mut self,
        way: &Way,
        contents: Contents,
    ) -> Result<bool, Arc<CertificateError>> {
        if !self.certificates.renew(way, contents)? {
            return Ok(false);
        }
        let Way::Listener(tls) = way else { return Ok(true) };
        let listeners = self.config.listeners.clone();
        for (config, index) in listeners.iter().zip(0..) {
            if config.tls.as_ref() == Some(tls) {
                let settings = self.settings(config);
                self.plane.publish(&self.listeners[index].listener, settings);
            }
        }
        Ok(true)
    }

    /// The running pool of this name; one that serves nobody, if it does not exist.
    pub(crate) fn pool_called(&self, name: &str) -> Arc<Pool> {
        self.places.get(name).map(|place| self.pool(*place)).unwrap_or_default()
    }

    /// The routes of a listener with their running pools.
    pub(crate) fn routing_of(&self, listener: &config::Listener) -> Routing {
        let pools = listener.routes.iter().map(|route| self.pool_called(&route.pool));
        let routes = Routes::new(listener.routes.iter().map(|route| &route.rule));
        Routing { routes, pools: pools.collect() }
    }

    /// The number of open sessions, with those that the kernel forwards by itself.
    pub(crate) fn session_count(&self) -> usize {
        self.plane.sessions() + self.forwarded
    }

    /// The file descriptors that these have.
    pub(crate) fn session_descriptors(&self) -> usize {
        self.plane.descriptors()
    }

    /// Has the workers list open sessions.
    pub(crate) fn list(&self, filter: &Arc<SessionFilter>) -> Answers<Vec<SessionInfo>> {
        let (reply, answers) = Answers::new();
        self.plane.list(filter, reply);
        answers
    }

    /// Notes what has become of sessions that the kernel has sent to a backend.
    pub(crate) fn note_outcome(
        &self,
        id: BackendId,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Event> {
        let mut pools = self.config.pools.iter().zip(&self.pools);
        let (config, pool, (tier, index, backend)) = pools.find_map(|(config, pool)| {
            let found = pool.backends().find(|(_, _, backend)| backend.id == id)?;
            Some((config, pool, found))
        })?;
        let change = pool.note_outcome(backend, outcome, now)?;
        let mut listeners = self.config.listeners.iter().zip(&self.listeners);
        let (_, listening) = listeners.find(|(listener, _)| listener.pool == config.name)?;
        Some(Event::Backend {
            listener: listening.listener.id(),
            backend: Arc::clone(backend),
            place: (tier, index),
            change,
            failure: (outcome == Outcome::Failure).then_some(ConnectFailure::Refused),
        })
    }

    /// Whether sessions of a backend end that goes down in this pool.
    pub(crate) fn ends_sessions_of_the_down(&self, pool: &str) -> bool {
        let pool = self.config.pool(pool);
        pool.is_some_and(|it| it.checks.on_down == OnDown::EndSessions)
    }

    /// How long it takes until sessions have returned from later tiers, if they do in this pool.
    pub(crate) fn returns_within(&self, pool: &str) -> Option<Duration> {
        let pool = self.config.pool(pool)?;
        let time = pool.warm_up.unwrap_or_default().max(RETURN_TIME);
        (pool.checks.on_up == OnUp::Return).then_some(time)
    }

    /// Has the workers end sessions, one after the other. Each answers with the number.
    pub(crate) fn recall_sessions(&self, recall: &Recall) -> Answers<usize> {
        let (reply, answers) = Answers::new();
        self.plane.recall(recall, reply);
        answers
    }

    /// Has the workers end sessions. Each answers with the number.
    pub(crate) fn cut(&self, whom: Victims, reason: CloseReason) -> Answers<usize> {
        let (reply, answers) = Answers::new();
        self.plane.cut(whom, reason, reply);
        answers
    }

    /// The pool at this place of the configuration, as it is now.
    #[must_use]
    pub fn pool(&self, place: usize) -> Arc<Pool> {
        self.pools.get(place).map(Arc::clone).unwrap_or_default()
    }

    /// Takes over the data plane's own decisions.
    pub(crate) fn note_auto_disabled(&mut self) {
        for (config, pool) in self.config.pools.iter_mut().zip(&self.pools) {
            for (tier, index, backend) in pool.backends() {
                if let Some(tier) = config.tiers.get_mut(tier)
                    && let Some(config) = tier.backends.get_mut(index)
                {
                    config.admin = backend.state.admin();
                }
            }
        }
    }

    /// Keeps agents from changing the limits that commands have set.
    pub(crate) fn keep_limits(&mut self) {
        if !self.probes.has_agents() {
            return;
        }
        let limits = |config: &Config| -> HashMap<_, _> {
            let backends = config.pools.iter().flat_map(config::Pool::backends);
            backends.map(|(_, _, it)| (it.id.unwrap_or_default(), it.limits.sessions_max)).collect()
        };
        let given = limits(&self.given);
        let is_set = |(id, limit): &(BackendId, Limit)| given.get(id).is_some_and(|it| it != limit);
        let set = limits(&self.config).into_iter().filter(is_set).map(|(id, _)| id);
        self.probes.keep_limits(&set.collect());
    }

    /// Why a country database is needed and missing; returned once.
    pub(crate) fn take_country_error(&mut self) -> Option<String> {
        self.countries.take_error()
    }

    /// Changes what is observed about sessions.
    pub(crate) fn observe(&mut self, observe: Observe) {
        if std::mem::replace(&mut self.observe, observe) == observe {
            return;
        }
        for listening in &self.listeners {
            let settings = Settings { observe, ..Settings::clone(&listening.listener.settings()) };
            self.plane.publish(&listening.listener, settings);
        }
    }

    /// What a listener is bound to, as configured.
    #[must_use]
    pub fn listener_name(&self, listener: ListenerId) -> &str {
        let mut all = self.all_listeners();
        all.find(|it| it.listener.id() == listener).map_or("", |it| &it.name)
    }

    /// Counts a session that has ended and that the kernel forwarded.
    pub(crate) fn count_forwarded(&self, ended: &Ended) {
        let mut all = self.all_listeners();
        if let Some(listening) = all.find(|it| it.listener.id() == ended.listener) {
            listening.listener.count_forwarded(ended);
        }
    }

    /// What all listeners are bound to, as configured, those with sessions left included.
    pub(crate) fn listener_names(&self) -> HashMap<ListenerId, String> {
        self.all_listeners().map(|it| (it.listener.id(), it.name.clone())).collect()
    }

    /// All listeners, those with sessions left included.
    fn all_listeners(&self) -> impl Iterator<Item = &Listening> {
        self.listeners.iter().chain(self.departed.iter().map(|(_, it)| it))
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    pub(crate) fn stop_listening(&mut self) {
        self.shutting_down = true;
        self.plane.stop_listening();
        self.passed = PassedSockets::default();
        self.left_doors.clear();
        self.listeners.iter_mut().for_each(|it| it.doors.clear());
    }

    /// All backends whose host is a name, reject backends included, and names that stand for several
    /// backends.
    pub(crate) fn named_backends(&self) -> Vec<(String, Endpoint)> {
        let named = named_backends(&self.config).cloned();
        let discovered = self.discoveries.names().cloned().map(Endpoint::Discovered);
        named.chain(discovered).map(|endpoint| (endpoint.to_string(), endpoint)).collect()
    }

    /// The addresses of those that have some.
    pub(crate) fn known_addresses(&self) -> HashMap<String, Vec<Address>> {
        let named: HashSet<_> = named_backends(&self.config).map(ToString::to_string).collect();
        let backends = self.pools.iter().flat_map(|pool| pool.all_backends());
        let known = backends.filter(|it| !it.addresses.is_empty() && named.contains(&*it.name));
        known.map(|it| (it.name.to_string(), it.addresses.clone())).collect()
    }

    /// What a reload need not look up.
    pub(crate) fn known(&self) -> Known {
        let binds = self.listeners.iter().flat_map(|it| &it.doors).map(|door| door.bind.clone());
        Known {
            backends: self.known_addresses(),
            binds: binds.collect(),
            discovered: self.discoveries.answers().keys().cloned().collect(),
        }
    }

    /// Gives all backends called `name` these addresses; returns whether they are new.
    pub(crate) fn set_addresses(&mut self, name: &str, addresses: &[Address]) -> bool {
        let mut changed = false;
        for running in &mut self.pools {
            let is_other = |it: &Backend| &*it.name == name && !same_set(&it.addresses, addresses);
            if !running.all_backends().any(|it| is_other(it)) {
                continue;
            }
            let mut pool = Pool::clone(running);
            let renewed = |it: &Arc<Backend>| match is_other(it) {
                true => Arc::new(it.with_addresses(addresses.to_vec())),
                false => Arc::clone(it),
            };
            for tier in &mut pool.tiers {
                tier.backends = tier.backends.iter().map(renewed).collect();
            }
            pool.reject = pool.reject.as_ref().map(renewed);
            *running = Arc::new(pool);
            changed = true;
        }
        if changed {
            self.probes.update(&self.config, self.pools.iter().map(|it| &**it));
            self.publish_pools();
        }
        changed
    }

    /// Gives each listener the pools that are its pools now.
    pub(crate) fn publish_pools(&self) {
        for (config, listening) in self.config.listeners.iter().zip(&self.listeners) {
            let pool = self.pool_called(&config.pool);
            if !Arc::ptr_eq(&pool, &listening.listener.pool()) {
                listening.listener.publish_pool(pool);
            }
            let routed = listening.listener.routing();
            let mut pools = config.routes.iter().map(|it| self.pool_called(&it.pool));
            let is_same = |pool: &Arc<Pool>| pools.next().is_some_and(|it| Arc::ptr_eq(&it, pool));
            if !routed.pools.iter().all(is_same) {
                listening.listener.publish_routing(self.routing_of(config));
            }
        }
    }
}

/// The places of pools in a configuration.
pub(crate) fn places(config: &Config) -> HashMap<String, usize> {
    config.pools.iter().map(|pool| pool.name.clone()).zip(0..).collect()
}

/// Whether two answers agree. Their order may differ from one lookup to the next.
fn same_set(one: &[Address], other: &[Address]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

/// How long it takes until all sessions have returned to an earlier tier.
const RETURN_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests;
