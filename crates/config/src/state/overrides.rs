//! Values other than the given ones: how they are found, and how they are applied again.

use super::{addresses, keys};
use crate::apply::TIERS_MAX;
use crate::operand::{parse_backend, parse_endpoint};
use crate::words::Choice;
use crate::{Backend, Config, Endpoint, Pool, Tier};
use balancing::{AdminState, Policy};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use terms::Limit;

/// A value that ran instead of the given one.
///
/// Endpoints and backends are written as operands of the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "key", rename_all = "kebab-case")]
pub enum Override {
    /// Whether a backend is in service: an operator's decision, or that of a failure
    /// (`--auto-disable`).
    Admin {
        /// The backend's name, or its address.
        backend: String,
        /// The given value.
        given: AdminState,
        /// The value instead.
        running: AdminState,
    },
    /// A backend's limit.
    MaxSessions {
        /// The backend's name, or its address.
        backend: String,
        /// The given value.
        given: Limit,
        /// The value instead.
        running: Limit,
    },
    /// A backend's address.
    To {
        /// The backend's name, or its address.
        backend: String,
        /// The given value.
        given: String,
        /// The value instead.
        running: String,
    },
    /// A tier's policy.
    Policy {
        /// The tier's number.
        tier: usize,
        /// The given value.
        given: Policy,
        /// The value instead.
        running: Policy,
    },
    /// A backend that was added.
    Added {
        /// The tier's number.
        tier: usize,
        /// The tier's policy, if it was added, too.
        policy: Policy,
        /// The backend.
        backend: String,
        /// Whether it is in service.
        admin: AdminState,
        /// How many backends of its address were given.
        #[serde(default)]
        given: usize,
    },
    /// A backend that was removed.
    Removed {
        /// The backend's name, or its address.
        backend: String,
        /// The backend as it was given.
        given: String,
    },
}

/// An override that no longer applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// The pool.
    pub pool: String,
    /// The override.
    pub dropped: Override,
    /// Why it does not apply.
    pub why: Why,
}

/// Why an override no longer applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What it changes no longer exists.
    Gone,
    /// Another value is given by now.
    Changed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "what it changes no longer exists",
            Self::Changed => "the configuration gives another value now",
        })
    }
}

impl Override {
    /// The backend or tier that it is about.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Admin { backend, .. }
            | Self::MaxSessions { backend, .. }
            | Self::To { backend, .. }
            | Self::Added { backend, .. }
            | Self::Removed { backend, .. } => backend.clone(),
            Self::Policy { tier, .. } => format!("tier {tier}"),
        }
    }
}

/// The change in words: `admin: disabled instead of enabled`.
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin { given, running, .. } => {
                write!(f, "admin: {} instead of {}", running.word(), given.word())
            }
            Self::MaxSessions { given, running, .. } => {
                write!(f, "max-sessions: {running} instead of {given}")
            }
            Self::To { given, running, .. } => write!(f, "to: {running} instead of {given}"),
            Self::Policy { given, running, .. } => {
                write!(f, "policy: {} instead of {}", running.word(), given.word())
            }
            Self::Added { tier, .. } => write!(f, "added to tier {tier}"),
            Self::Removed { .. } => f.write_str("removed"),
        }
    }
}

/// The values in `running` that differ from those in `given`, by pool.
pub(super) fn between(given: &Config, running: &Config) -> Vec<(String, Vec<Override>)> {
    let mut given = given.clone();
    given.recognise_added_again(running);
    let known: BTreeMap<_, _> = given.pools.iter().map(|it| (&it.name, it)).collect();
    let pools = running.pools.iter().filter_map(|running| {
        let given = known.get(&running.name)?;
        let overrides = between_pools(given, running);
        (!overrides.is_empty()).then(|| (running.name.clone(), overrides))
    });
    pools.collect()
}

fn between_pools(given: &Pool, running: &Pool) -> Vec<Override> {
    let mut left: BTreeMap<_, _> = given
        .backends()
        .zip(keys(given))
        .filter_map(|((tier, _, backend), key)| Some((backend.id?, (key, tier, backend))))
        .collect();
    let mut overrides = Vec::new();
    // Before any tier is added.
    for (tier, (given, running)) in given.tiers.iter().zip(&running.tiers).enumerate() {
        let (given, running) = (given.policy, running.policy);
        if given != running {
            overrides.push(Override::Policy { tier, given, running });
        }
    }
    for (tier, _, backend) in running.backends() {
        let was = backend.id.and_then(|id| left.get(&id).cloned().map(|it| (id, it)));
        match was {
            Some((id, (key, before, given)))
                if before == tier && differs_in_values(given, backend) =>
            {
                left.remove(&id);
                values(&key, given, backend, &mut overrides);
            }
            // Possibly one that was removed and added again, otherwise than it was given.
            _ => {
                let policy = running.tiers.get(tier).map(|tier| tier.policy).unwrap_or_default();
                let count = of_address(given, &backend.endpoint);
                let (admin, backend) = (backend.admin, backend.to_string());
                overrides.push(Override::Added { tier, policy, backend, admin, given: count });
            }
        }
    }
    let gone = left.into_values();
    overrides.extend(
        gone.map(|(backend, _, was)| Override::Removed { backend, given: was.to_string() }),
    );
    overrides
}

/// Whether [`values`] says all that differs.
fn differs_in_values(given: &Backend, running: &Backend) -> bool {
    let mut given = Backend { admin: running.admin, id: running.id, ..given.clone() };
    given.limits.sessions_max = running.limits.sessions_max;
    given.endpoint.clone_from(&running.endpoint);
    given == *running
}

fn values(key: &str, given: &Backend, running: &Backend, overrides: &mut Vec<Override>) {
    let backend = || key.to_owned();
    if given.admin != running.admin {
        let (given, running) = (given.admin, running.admin);
        overrides.push(Override::Admin { backend: backend(), given, running });
    }
    let (old, new) = (given.limits.sessions_max, running.limits.sessions_max);
    if old != new {
        overrides.push(Override::MaxSessions { backend: backend(), given: old, running: new });
    }
    if given.endpoint != running.endpoint {
        let (given, running) = (given.endpoint.to_string(), running.endpoint.to_string());
        overrides.push(Override::To { backend: backend(), given, running });
    }
}

/// The configuration with these overrides, by pool, and those that do not apply to it.
pub(super) fn apply<'a>(
    given: &Config,
    overrides: impl Iterator<Item = (&'a str, &'a [Override])>,
) -> (Config, Vec<Dropped>) {
    let mut config = given.clone();
    let mut dropped = Vec::new();
    for (name, overrides) in overrides {
        let pool = config.pools.iter_mut().find(|it| it.name == name);
        let refused = match pool {
            Some(pool) => apply_to_pool(pool, overrides),
            None => overrides.iter().map(|it| (it.clone(), Why::Gone)).collect(),
        };
        let refused = refused.into_iter();
        let pool = || name.to_owned();
        dropped.extend(refused.map(|(dropped, why)| Dropped { pool: pool(), dropped, why }));
    }
    (config, dropped)
}

fn apply_to_pool(pool: &mut Pool, overrides: &[Override]) -> Vec<(Override, Why)> {
    let (given, places) = (pool.clone(), places(pool));
    let mut removed = BTreeSet::new();
    let mut refused = Vec::new();
    // A backend that was removed and added again follows the configuration if that has changed it.
    let mut changed: Vec<_> = overrides
        .iter()
        .filter_map(|it| match it {
            Override::Removed { backend, given: was } => {
                let why = removal(&given, &places, backend, was).err()?;
                Some((parse_backend(was, None, &no_services).ok()?.endpoint, why))
            }
            _ => None,
        })
        .collect();
    for it in overrides {
        let result = match it {
            Override::Removed { backend, given: was } => {
                removal(&given, &places, backend, was).map(|place| removed.extend([place]))
            }
            Override::Added { tier, policy, backend, admin, given: count } => {
                let added = (&**backend, *admin, *count);
                add(pool, &given, &mut changed, (*tier, *policy), added)
            }
            other => set(pool, &places, other),
        };
        refused.extend(result.err().map(|why| (it.clone(), why)));
    }
    for (number, tier) in pool.tiers.iter_mut().enumerate() {
        let mut index = 0..;
        tier.backends.retain(|_| !removed.contains(&(number, index.next().unwrap_or(0))));
    }
    refused
}

/// Tier and index of each backend, by its key.
type Places = BTreeMap<String, (usize, usize)>;

fn places(pool: &Pool) -> Places {
    let places = || pool.backends().map(|(tier, index, _)| (tier, index));
    // A backend may have been given a name since then.
    addresses(pool).into_iter().zip(places()).chain(keys(pool).into_iter().zip(places())).collect()
}

fn find<'a>(
    pool: &'a mut Pool,
    places: &Places,
    key: &str,
) -> Result<(&'a mut Backend, (usize, usize)), Why> {
    let (tier, index) = *places.get(key).ok_or(Why::Gone)?;
    let backend = pool.tiers.get_mut(tier).and_then(|tier| tier.backends.get_mut(index));
    backend.map(|backend| (backend, (tier, index))).ok_or(Why::Gone)
}

/// The place of a backend that was removed, if it is given as it was.
fn removal(given: &Pool, places: &Places, key: &str, was: &str) -> Result<(usize, usize), Why> {
    let (tier, index) = *places.get(key).ok_or(Why::Gone)?;
    let found = given.tiers.get(tier).and_then(|tier| tier.backends.get(index));
    let is_same = found.ok_or(Why::Gone)?.to_string() == was;
    is_same.then_some((tier, index)).ok_or(Why::Changed)
}

fn set(pool: &mut Pool, places: &Places, to: &Override) -> Result<(), Why> {
    match to {
        Override::Admin { backend, given, running } => {
            replace(&mut find(pool, places, backend)?.0.admin, given, *running)
        }
        Override::MaxSessions { backend, given, running } => {
            replace(&mut find(pool, places, backend)?.0.limits.sessions_max, given, *running)
        }
        Override::To { backend, given, running } => {
            let (backend, _) = find(pool, places, backend)?;
            let endpoint = parse_endpoint(running, &no_services).map_err(|_| Why::Gone)?;
            let is_same = backend.endpoint.to_string() == *given;
            is_same.then(|| backend.endpoint = endpoint).ok_or(Why::Changed)
        }
        Override::Policy { tier, given, running } => {
            replace(&mut pool.tiers.get_mut(*tier).ok_or(Why::Gone)?.policy, given, *running)
        }
        Override::Added { .. } | Override::Removed { .. } => Ok(()),
    }
}

/// Adds a backend to a tier, or to a new one after the last, unless more backends of its address
/// are `given` than were, or one of its address that was removed has `changed`. That is taken off the
/// list.
fn add(
    pool: &mut Pool,
    given: &Pool,
    changed: &mut Vec<(Endpoint, Why)>,
    (tier, policy): (usize, Policy),
    (backend, admin, count): (&str, AdminState, usize),
) -> Result<(), Why> {
    let backend = parse_backend(backend, None, &no_services).map_err(|_| Why::Gone)?;
    if of_address(given, &backend.endpoint) > count {
        return Err(Why::Changed);
    }
    if let Some(place) = changed.iter().position(|(it, _)| *it == backend.endpoint) {
        return Err(changed.swap_remove(place).1);
    }
    if tier >= pool.tiers.len() && pool.tiers.len() < TIERS_MAX {
        pool.tiers.push(Tier { policy, backends: Vec::new() });
    }
    let last = pool.tiers.len().saturating_sub(1);
    let tier = pool.tiers.get_mut(tier.min(last)).ok_or(Why::Gone)?;
    tier.backends.push(Backend { admin, ..backend });
    Ok(())
}

fn of_address(pool: &Pool, endpoint: &Endpoint) -> usize {
    pool.backends().filter(|(_, _, backend)| backend.endpoint == *endpoint).count()
}

fn replace<T: PartialEq>(value: &mut T, given: &T, running: T) -> Result<(), Why> {
    let is_same = *value == *given;
    is_same.then(|| *value = running).ok_or(Why::Changed)
}

/// Operands are written with numbers.
fn no_services(_: &str) -> Option<u16> {
    None
}
