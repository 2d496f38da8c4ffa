//! Applies differences to a configuration.

use super::Change;
use super::chain::Chain;
use crate::{Backend, Config, Listener, Pool, Process, Tier};
use balancing::Policy;
use std::collections::BTreeMap;
use terms::{BackendId, ListenerId};

impl Config {
    /// This configuration with these changes applied. A change to something that does not exist has
    /// no effect.
    ///
    /// What a change takes does not depend on how many listeners, pools and backends there are.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut open = Open::new(self.clone());
        changes.into_iter().for_each(|change| open.make(change));
        open.close()
    }
}

/// A configuration that is being changed.
struct Open {
    process: Process,
    listeners: Chain<ListenerId, Listener>,
    pools: Chain<String, OpenPool>,
    /// The tiers of all pools, removed ones included.
    tiers: Vec<OpenTier>,
    /// The tier of each backend.
    places: BTreeMap<BackendId, usize>,
}

/// A pool, and where its tiers are.
struct OpenPool {
    pool: Pool,
    tiers: Vec<usize>,
}

struct OpenTier {
    policy: Policy,
    backends: Chain<BackendId, Backend>,
}

impl Open {
    fn new(config: Config) -> Self {
        let Config { listeners, pools, process } = config;
        let listeners = Chain::new(listeners.into_iter().map(|it| (it.id, it)));
        let (tiers, places) = (Vec::new(), BTreeMap::new());
        let mut open = Self { process, listeners, pools: Chain::default(), tiers, places };
        let pools: Vec<_> =
            pools.into_iter().map(|it| (Some(it.name.clone()), open.open(it))).collect();
        open.pools = Chain::new(pools);
        open
    }

    fn open(&mut self, mut pool: Pool) -> OpenPool {
        let tiers = std::mem::take(&mut pool.tiers).into_iter().map(|tier| {
            let ids = tier.backends.iter().filter_map(|it| it.id);
            self.places.extend(ids.map(|id| (id, self.tiers.len())));
            let backends = Chain::new(tier.backends.into_iter().map(|it| (it.id, it)));
            self.tiers.push(OpenTier { policy: tier.policy, backends });
            self.tiers.len() - 1
        });
        let tiers = tiers.collect();
        OpenPool { pool, tiers }
    }

    fn close(mut self) -> Config {
        let pools = self.pools.into_elements().map(|OpenPool { pool, tiers }| {
            let tiers = tiers.into_iter().map(|tier| {
                let backends = std::mem::take(&mut self.tiers[tier].backends);
                let backends = backends.into_elements().collect();
                Tier { policy: self.tiers[tier].policy, backends }
            });
            Pool { tiers: tiers.collect(), ..pool }
        });
        let pools = pools.collect();
        let listeners = self.listeners.into_elements().collect();
        Config { listeners, pools, process: self.process }
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::SetProcess(setting) => self.process.set(setting),
            Change::RemoveListener(id) => drop(self.listeners.remove(&id)),
            Change::AddListener { after, listener } => {
                self.listeners.insert(after.as_ref(), listener.id, *listener);
            }
            Change::MoveListener { after, listener: id } => {
                if let Some(listener) = self.listeners.remove(&id) {
                    self.listeners.insert(after.as_ref(), Some(id), listener);
                }
            }
            Change::SetListener(id, setting) => {
                if let Some(listener) = self.listeners.get_mut(&id) {
                    listener.set(setting);
                }
            }
            Change::RemovePool(name) => {
                let tiers = self.pools.remove(&name).map(|it| it.tiers);
                for tier in tiers.into_iter().flatten() {
                    self.tiers[tier].backends = Chain::default();
                }
            }
            Change::AddPool { after, pool } => {
                if !self.pools.contains(&pool.name) {
                    let name = pool.name.clone();
                    let pool = self.open(*pool);
                    self.pools.insert(after.as_ref(), Some(name), pool);
                }
            }
            Change::MovePool { after, pool: name } => {
                if let Some(pool) = self.pools.remove(&name) {
                    self.pools.insert(after.as_ref(), Some(name), pool);
                }
            }
            Change::SetPool(name, setting) => {
                if let Some(it) = self.pools.get_mut(&name) {
                    it.pool.set(setting);
                }
            }
            change => self.make_in_a_tier(change),
        }
    }

    /// Applies a change to tiers or backends.
    fn make_in_a_tier(&mut self, change: Change) {
        match change {
            Change::RemoveBackend(id) => drop(self.take_backend(id)),
            Change::RemoveTier { pool, tier } => {
                if let Some(place) = self.tier(&pool, tier)
                    && self.tiers[place].backends.is_empty()
                    && let Some(pool) = self.pools.get_mut(&pool)
                {
                    pool.tiers.remove(tier);
                }
            }
            Change::AddTier { pool, tier, policy } => {
                if let Some(pool) = self.pools.get_mut(&pool).filter(|it| it.tiers.len() <= tier) {
                    pool.tiers.push(self.tiers.len());
                    self.tiers.push(OpenTier { policy, backends: Chain::default() });
                }
            }
            Change::SetPolicy { pool, tier, policy } => {
                if let Some(place) = self.tier(&pool, tier) {
                    self.tiers[place].policy = policy;
                }
            }
            Change::AddBackend { pool, tier, after, backend } => {
                // A command may have added it before.
                drop(backend.id.and_then(|id| self.take_backend(id)));
                if let Some(place) = self.tier(&pool, tier) {
                    self.put_backend(place, after, *backend);
                }
            }
            Change::MoveBackend { pool, tier, after, backend } => {
                if let Some(place) = self.tier(&pool, tier)
                    && let Some(backend) = self.take_backend(backend)
                {
                    self.put_backend(place, after, backend);
                }
            }
            Change::SetBackend(id, setting) => {
                let place = self.places.get(&id).copied();
                if let Some(backend) = place.and_then(|it| self.tiers[it].backends.get_mut(&id)) {
                    backend.set(setting);
                }
            }
            _ => {}
        }
    }

    /// The place of a tier of a pool.
    fn tier(&mut self, pool: &String, tier: usize) -> Option<usize> {
        self.pools.get_mut(pool)?.tiers.get(tier).copied()
    }

    fn take_backend(&mut self, id: BackendId) -> Option<Backend> {
        let place = self.places.remove(&id)?;
        self.tiers[place].backends.remove(&id)
    }

    fn put_backend(&mut self, place: usize, after: Option<BackendId>, backend: Backend) {
        self.places.extend(backend.id.map(|id| (id, place)));
        self.tiers[place].backends.insert(after.as_ref(), backend.id, backend);
    }
}
