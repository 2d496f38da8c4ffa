//! Turns a configuration into what the data plane uses: pools and settings.

use crate::bind::{StartError, resolve_endpoint};
use balancing::{AdminState, Affinity, Backend, BackendState, HealthLimits, Pool, Tier};
use config::{Endpoint, Host};
use dataplane::{Countries, Observe, Settings};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use terms::Address;

/// Builds a pool with no counts. A name that does not resolve gets no address and is tried again
/// later. A pool is refused only if none of its names resolves.
pub(crate) fn first_pool(config: &config::Pool, workers: usize) -> Result<Pool, StartError> {
    let mut unresolved = None;
    let mut reachable = 0;
    let mut begin = |config: &config::Backend| {
        let addresses = match resolve_endpoint(&config.endpoint) {
            Ok(addresses) => addresses,
            Err(source) => {
                unresolved.get_or_insert((config.endpoint.to_string(), source));
                Vec::new()
            }
        };
        reachable += usize::from(!addresses.is_empty());
        Arc::new(begin_backend(config, addresses, workers))
    };
    let tiers = config.tiers.iter().map(|tier| Tier {
        policy: tier.policy,
        failover: tier.failover,
        backends: tier.backends.iter().map(&mut begin).collect(),
        ..Tier::default()
    });
    let tiers = tiers.collect();
    let reject = config.reject.as_ref().map(&mut begin);
    match unresolved {
        Some((host, source)) if reachable == 0 => Err(StartError::ResolveBackend { host, source }),
        _ => Ok(rules(config, tiers, reject, None)),
    }
}

/// A backend with no counts.
fn begin_backend(config: &config::Backend, addresses: Vec<Address>, workers: usize) -> Backend {
    let state = BackendState::new(workers, admin_state(config), config.limits.sessions_max);
    state.set_sessions_max_affine(config.limits.sessions_max_affine);
    describe(config, addresses, Arc::new(state))
}

/// A backend as configured, with a state that may be older.
fn describe(
    config: &config::Backend,
    addresses: Vec<Address>,
    state: Arc<BackendState>,
) -> Backend {
    Backend {
        weight: config.weight,
        priority: config.priority,
        access: Arc::clone(&config.access),
        ..Backend::new(config.endpoint.to_string(), addresses, state)
    }
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
            // Random, so that nobody can choose addresses that meet in the table.
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
        health: HealthLimits { quarantine, last_resort, ..HealthLimits::default() },
        auto_disable: config.auto_disable,
        access: Arc::clone(&config.access),
        reject,
        affinity,
        sticky: config.affinity.is_some_and(|affinity| affinity.sticky),
    }
}

/// The pool that follows `running`, which was made from `old`. Backends keep their counters and
/// their health by tier and place. Only what differs between the configurations is changed, because
/// commands may have changed the rest.
pub(crate) fn next_pool(
    old: &config::Pool,
    running: &Pool,
    wanted: &config::Pool,
    workers: usize,
) -> Pool {
    let next = |wanted: &config::Backend, old: Option<(&config::Backend, &Backend)>| {
        Arc::new(match old {
            Some((was, running)) => next_backend(was, running, wanted),
            None => begin_backend(wanted, literal(&wanted.endpoint), workers),
        })
    };
    let tiers = wanted.tiers.iter().enumerate().map(|(number, tier)| {
        let old = old.tiers.get(number).zip(running.tiers.get(number));
        let backends = tier.backends.iter().enumerate().map(|(index, backend)| {
            let old = old.and_then(|(config, running)| {
                config.backends.get(index).zip(running.backends.get(index).map(Arc::as_ref))
            });
            next(backend, old)
        });
        Tier {
            policy: tier.policy,
            failover: tier.failover,
            backends: backends.collect(),
            cursor: old.map(|(_, running)| Arc::clone(&running.cursor)).unwrap_or_default(),
        }
    });
    let tiers = tiers.collect();
    let old_reject = old.reject.as_ref().zip(running.reject.as_deref());
    let reject = wanted.reject.as_ref().map(|reject| next(reject, old_reject));
    rules(wanted, tiers, reject, running.affinity.clone())
}

fn next_backend(was: &config::Backend, running: &Backend, wanted: &config::Backend) -> Backend {
    let state = &running.state;
    if was.limits != wanted.limits {
        state.set_sessions_max(wanted.limits.sessions_max);
        state.set_sessions_max_affine(wanted.limits.sessions_max_affine);
    }
    if was.disabled != wanted.disabled {
        state.set_admin(admin_state(wanted));
    }
    let addresses = if was.endpoint == wanted.endpoint {
        running.addresses.clone()
    } else {
        literal(&wanted.endpoint)
    };
    describe(wanted, addresses, Arc::clone(state))
}

fn admin_state(config: &config::Backend) -> AdminState {
    if config.disabled { AdminState::Disabled } else { AdminState::Enabled }
}

/// The address of an endpoint that needs no lookup; none for a name, until `keep_names` has looked
/// it up.
fn literal(endpoint: &Endpoint) -> Vec<Address> {
    match endpoint {
        Endpoint::Unix(path) => vec![Address::Unix(path.clone())],
        Endpoint::Tcp { host: Host::Address(address), port } => {
            vec![Address::Ip(SocketAddr::new(*address, *port))]
        }
        Endpoint::Tcp { host: Host::Name(_), .. } => Vec::new(),
    }
}

/// The settings for the sessions of a listener.
pub(crate) fn settings(
    config: &config::Listener,
    observe: Observe,
    countries: Option<Arc<dyn Countries>>,
) -> Settings {
    Settings {
        timeouts: config.timeouts,
        sessions_max: config.sessions_max,
        connecting_max: config.connecting_max,
        source: config.source,
        forwarded_headers: config.forwarded_headers,
        dummy: config.dummy,
        countries,
        splice: config.splice,
        cut: config.cut,
        observe,
    }
}
