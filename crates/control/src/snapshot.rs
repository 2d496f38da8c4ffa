//! Turns a configuration into what the data plane uses: pools and settings.

use crate::certificates::Certificates;
use crate::first_names::FirstNames;
use crate::found::Found;
use balancing::{AdminState, Affinity, Backend, BackendState, HealthLimits, Pool, Tier};
use config::Config;
use dataplane::{Countries, Observe, Settings, Termination};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, BackendId, Encryption};
use tls::Acceptor;

/// Builds a pool with no counts. Names that have no address yet are looked up later.
pub(crate) fn first_pool(
    config: &config::Pool,
    workers: usize,
    names: &FirstNames,
    certificates: &Certificates,
) -> Pool {
    build(config, None, |backend| {
        let encryption = certificates.encryption(config, backend);
        let addresses = names.addresses(&backend.endpoint);
        Arc::new(begin_backend(backend, config.age_max, encryption, addresses, workers))
    })
}

/// A backend with no counts.
fn begin_backend(
    config: &config::Backend,
    age_max: Option<Duration>,
    encryption: Option<Encryption>,
    addresses: Vec<Address>,
    workers: usize,
) -> Backend {
    let state = BackendState::new(workers + 1, config.admin, config.limits.sessions_max);
    state.set_sessions_max_affine(config.limits.sessions_max_affine);
    describe(config, age_max, encryption, addresses, Arc::new(state))
}

/// A backend as configured, with a state that may be older.
fn describe(
    config: &config::Backend,
    age_max: Option<Duration>,
    encryption: Option<Encryption>,
    addresses: Vec<Address>,
    state: Arc<BackendState>,
) -> Backend {
    Backend {
        id: config.id.unwrap_or_default(),
        weight: config.weight,
        priority: config.priority,
        access: Arc::clone(&config.access),
        send_proxy: config.send_proxy,
        encryption,
        age_max,
        ..Backend::new(config.endpoint.to_string(), addresses, state)
    }
}

/// A pool with the configured rules, of backends that `backend` makes. It keeps the turns and
/// clients of `running`.
fn build(
    config: &config::Pool,
    running: Option<&Pool>,
    mut backend: impl FnMut(&config::Backend) -> Arc<Backend>,
) -> Pool {
    let tiers = config.tiers.iter().enumerate().map(|(number, tier)| {
        let running = running.and_then(|running| running.tiers.get(number));
        let next = Tier {
            policy: tier.policy,
            failover: config.failover_of(tier.policy),
            load_bound: config.load_bound,
            warm_up: config.warm_up,
            has_agents: config.checks.agent.is_some(),
            backends: tier.backends.iter().map(&mut backend).collect(),
            ..Tier::default()
        };
        next.prepare(running)
    });
    let tiers = tiers.collect();
    let reject = config.reject.as_ref().map(backend);
    rules(config, tiers, reject, running.and_then(|running| running.affinity.clone()))
}

/// A pool of these backends with the configured rules. `table` is the existing affinity table.
fn rules(
    config: &config::Pool,
    tiers: Vec<Tier>,
    reject: Option<Arc<Backend>>,
    table: Option<Arc<Affinity>>,
) -> Pool {
    let (quarantine, last_resort) = (config.quarantine, config.last_resort);
    let affinity = config.affinity.map(|wanted| {
        let clients_max = wanted.clients_max as usize;
        let begin = || {
            // Random, so that nobody can choose addresses that collide in the table.
            let seed = RandomState::new().hash_one(clients_max);
            Arc::new(Affinity::new(clients_max, wanted.time_limit, seed))
        };
        let table = table.unwrap_or_else(begin);
        table.grow(clients_max);
        table.set_time_limit(wanted.time_limit);
        table
    });
    Pool {
        tiers,
        health: HealthLimits {
            fall: config.checks.connect_fall(),
            rise: config.checks.connect_rise(),
            quarantine,
            last_resort,
        },
        eject_most: config.checks.eject,
        thin: config.checks.thin,
        auto_disable: config.auto_disable,
        access: Arc::clone(&config.access),
        reject,
        send_proxy: config.send_proxy,
        affinity,
        sticky: config.affinity.is_some_and(|affinity| affinity.sticky),
    }
}

/// The state before a change. Backends keep their counters and their health, wherever they move,
/// and only what differs is changed.
pub(crate) struct Before<'a> {
    pools: HashMap<&'a str, (&'a config::Pool, &'a Arc<Pool>)>,
    backends: HashMap<BackendId, (&'a config::Backend, &'a Arc<Backend>)>,
    found: &'a Found,
    workers: usize,
    certificates: &'a Certificates,
}

impl<'a> Before<'a> {
    /// `running` has the pools of `config`, `departed` the backends that were removed before, and
    /// `found` the addresses of backends to be added.
    pub fn new(
        config: &'a Config,
        running: &'a [Arc<Pool>],
        departed: &'a [Departed],
        found: &'a Found,
        workers: usize,
        certificates: &'a Certificates,
    ) -> Self {
        let (mut pools, mut backends) = (HashMap::new(), HashMap::new());
        for Departed { config, backend, .. } in departed {
            backends.insert(backend.id, (config, backend));
        }
        for (config, pool) in config.pools.iter().zip(running) {
            let running: HashMap<_, _> = pool.all_backends().map(|it| (it.id, it)).collect();
            for config in config.all_backends() {
                if let Some(id) = config.id
                    && let Some(running) = running.get(&id)
                {
                    backends.insert(id, (config, *running));
                }
            }
            pools.insert(&*config.name, (config, pool));
        }
        Self { pools, backends, found, workers, certificates }
    }

    /// The pools that follow. Those that stay as they are keep their snapshot.
    pub fn next_pools(&self, wanted: &[config::Pool]) -> Vec<Arc<Pool>> {
        let next = |wanted: &config::Pool| match self.pools.get(&*wanted.name) {
            Some((was, running)) if *was == wanted => Arc::clone(running),
            was => {
                let running = was.map(|(_, running)| &***running);
                Arc::new(build(wanted, running, |backend| self.next_backend(wanted, backend)))
            }
        };
        wanted.iter().map(next).collect()
    }

    fn next_backend(&self, pool: &config::Pool, wanted: &config::Backend) -> Arc<Backend> {
        let (encryption, age_max) = (self.certificates.encryption(pool, wanted), pool.age_max);
        let Some((was, running)) = wanted.id.and_then(|id| self.backends.get(&id)) else {
            let addresses = self.found.addresses(&wanted.endpoint);
            let new = begin_backend(wanted, age_max, encryption, addresses, self.workers);
            new.state.warm_up(sys::clock::now());
            return Arc::new(new);
        };
        let is_same = running.encryption == encryption && running.age_max == age_max;
        if *was == wanted && is_same {
            return Arc::clone(running);
        }
        let state = &running.state;
        if was.limits != wanted.limits {
            state.set_sessions_max(wanted.limits.sessions_max);
            state.set_sessions_max_affine(wanted.limits.sessions_max_affine);
        }
        if was.admin != wanted.admin {
            state.set_admin(wanted.admin);
            if wanted.admin == AdminState::Enabled {
                state.warm_up(sys::clock::now());
            }
        }
        let addresses = if was.endpoint == wanted.endpoint {
            running.addresses.clone()
        } else {
            self.found.addresses(&wanted.endpoint)
        };
        Arc::new(describe(wanted, age_max, encryption, addresses, Arc::clone(state)))
    }

    /// The backends that `ids` does not have, with the names of their pools. Some of those that
    /// were removed before are among them.
    pub fn without(&self, ids: &HashSet<BackendId>) -> Vec<Departed> {
        let mut departed = Vec::new();
        for (name, (config, pool)) in &self.pools {
            for (config, backend) in config.all_backends().zip(pool.all_backends()) {
                if !ids.contains(&backend.id) {
                    let (config, backend) = (config.clone(), Arc::clone(backend));
                    departed.push(Departed { pool: (*name).to_owned(), config, backend });
                }
            }
        }
        departed
    }
}

/// A backend that was removed, and that may still have sessions.
pub(crate) struct Departed {
    /// The name of its pool.
    pub pool: String,
    pub config: config::Backend,
    pub backend: Arc<Backend>,
}

impl Departed {
    /// One that another process has removed, and that has sessions here.
    pub fn new(pool: String, config: config::Backend, workers: usize) -> Self {
        let backend = Arc::new(begin_backend(&config, None, None, Vec::new(), workers));
        Self { pool, config, backend }
    }

    /// Whether it has a session, or may still be given one: by a search that began before it was
    /// removed.
    pub fn is_in_use(&self) -> bool {
        self.backend.state.all_sessions() > 0 || Arc::strong_count(&self.backend) > 1
    }
}

/// The ids of all backends, reject backends included.
pub(crate) fn backend_ids(config: &Config) -> HashSet<BackendId> {
    let pools = config.pools.iter();
    pools.flat_map(config::Pool::all_backends).filter_map(|backend| backend.id).collect()
}

/// How a listener terminates TLS.
pub(crate) fn termination(config: &config::Tls, acceptor: Option<Acceptor>) -> Termination {
    Termination { acceptor, timeout: config.timeout }
}

/// The settings for the sessions of a listener.
pub(crate) fn settings(
    config: &config::Listener,
    observe: Observe,
    countries: Option<Arc<dyn Countries>>,
    tls: Option<Termination>,
) -> Settings {
    Settings {
        timeouts: config.timeouts,
        flows: config.flows,
        sessions_max: config.sessions_max,
        connecting_max: config.connecting_max,
        clients: config.clients,
        rate_max: config.rate_max,
        source: config.source,
        forwarded_headers: config.forwarded_headers,
        accept_proxy: config.accept_proxy.clone(),
        hello_wait: config.looks_at_hellos().then_some(config.hello_wait),
        starttls: config.starttls,
        dummy: config.dummy,
        tls,
        countries,
        splice: config.splice,
        cut: config.cut,
        observe,
    }
}
