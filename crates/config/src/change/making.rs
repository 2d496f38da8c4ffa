//! Applies differences to a configuration.

use super::Change;
use crate::{Backend, Config, Tier};
use terms::BackendId;

impl Config {
    /// This configuration with these changes applied. A change to something that does not exist has
    /// no effect.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut config = self.clone();
        for change in changes {
            config.make(change);
        }
        config
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::SetProcess(setting) => self.process.set(setting),
            Change::RemoveListener(id) => self.listeners.retain(|it| it.id != Some(id)),
            Change::AddListener { after, listener } => {
                insert(&mut self.listeners, *listener, after.as_ref(), |it| it.id.as_ref());
            }
            Change::MoveListener { after, listener } => {
                if let Some(listener) = take(&mut self.listeners, |it| it.id == Some(listener)) {
                    insert(&mut self.listeners, listener, after.as_ref(), |it| it.id.as_ref());
                }
            }
            Change::SetListener(id, setting) => {
                if let Some(listener) = self.listeners.iter_mut().find(|it| it.id == Some(id)) {
                    listener.set(setting);
                }
            }
            Change::RemovePool(name) => self.pools.retain(|pool| pool.name != name),
            Change::AddPool { after, pool } => {
                if self.pool(&pool.name).is_none() {
                    insert(&mut self.pools, *pool, after.as_ref(), |it| Some(&it.name));
                }
            }
            Change::MovePool { after, pool } => {
                if let Some(pool) = take(&mut self.pools, |it| it.name == pool) {
                    insert(&mut self.pools, pool, after.as_ref(), |it| Some(&it.name));
                }
            }
            Change::SetPool(name, setting) => {
                if let Some(pool) = self.pools.iter_mut().find(|pool| pool.name == name) {
                    pool.set(setting);
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
                if let Some(tiers) = self.tiers_mut(&pool)
                    && tiers.get(tier).is_some_and(|tier| tier.backends.is_empty())
                {
                    tiers.remove(tier);
                }
            }
            Change::AddTier { pool, tier, policy } => {
                if let Some(tiers) = self.tiers_mut(&pool).filter(|it| it.len() <= tier) {
                    tiers.push(Tier { policy, backends: Vec::new() });
                }
            }
            Change::SetPolicy { pool, tier, policy } => {
                if let Some(tier) = self.tier_mut(&pool, tier) {
                    tier.policy = policy;
                }
            }
            Change::AddBackend { pool, tier, after, backend } => {
                // A command may have added it before.
                drop(backend.id.and_then(|id| self.take_backend(id)));
                if let Some(tier) = self.tier_mut(&pool, tier) {
                    insert(&mut tier.backends, *backend, after.as_ref(), |it| it.id.as_ref());
                }
            }
            Change::MoveBackend { pool, tier, after, backend } => {
                if self.tier_mut(&pool, tier).is_some()
                    && let Some(backend) = self.take_backend(backend)
                    && let Some(tier) = self.tier_mut(&pool, tier)
                {
                    insert(&mut tier.backends, backend, after.as_ref(), |it| it.id.as_ref());
                }
            }
            Change::SetBackend(id, setting) => {
                if let Some(backend) = self.backend_mut(id) {
                    backend.set(setting);
                }
            }
            _ => {}
        }
    }

    fn tiers_mut(&mut self, pool: &str) -> Option<&mut Vec<Tier>> {
        let mut pools = self.pools.iter_mut();
        pools.find(|it| it.name == pool).map(|pool| &mut pool.tiers)
    }

    fn tier_mut(&mut self, pool: &str, tier: usize) -> Option<&mut Tier> {
        self.tiers_mut(pool)?.get_mut(tier)
    }

    fn take_backend(&mut self, id: BackendId) -> Option<Backend> {
        let mut tiers = self.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
        tiers.find_map(|tier| take(&mut tier.backends, |it| it.id == Some(id)))
    }

    /// The backend with this id, unless it is a reject backend.
    pub(crate) fn backend_mut(&mut self, id: BackendId) -> Option<&mut Backend> {
        let tiers = self.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
        tiers.flat_map(|tier| &mut tier.backends).find(|it| it.id == Some(id))
    }
}

fn take<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<T> {
    all.iter().position(is_it).map(|place| all.remove(place))
}

/// Inserts an element directly after the one with the key `after`.
fn insert<T, K: PartialEq + ?Sized>(
    all: &mut Vec<T>,
    element: T,
    after: Option<&K>,
    key: impl Fn(&T) -> Option<&K>,
) {
    let place = match after {
        None => 0,
        Some(after) => {
            let place = all.iter().position(|it| key(it) == Some(after));
            place.map_or(all.len(), |place| place + 1)
        }
    };
    all.insert(place, element);
}
