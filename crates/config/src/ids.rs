//! The ids of listeners and backends, which are never reused.

use crate::{Backend, Config, Pool};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use terms::{BackendId, ListenerId};

/// Assigns the ids of one process.
#[derive(Clone, Debug)]
pub struct Ids {
    backend: BackendId,
    listener: ListenerId,
}

impl Default for Ids {
    fn default() -> Self {
        Self { backend: BackendId::new(1), listener: ListenerId::new(0) }
    }
}

impl Ids {
    /// An id for a backend that enters the running configuration.
    pub fn backend(&mut self) -> BackendId {
        let id = self.backend;
        self.backend = id.next();
        id
    }

    /// An id for a listener that enters the running configuration.
    pub fn listener(&mut self) -> ListenerId {
        let id = self.listener;
        self.listener = id.next();
        id
    }
}

impl Config {
    /// Assigns an id to each listener and backend that has none: the id that it has in `before`,
    /// the configuration that this one replaces, or else a new one.
    pub fn identify(&mut self, before: Option<&Self>, ids: &mut Ids) {
        if let Some(before) = before {
            self.recognise(before);
        }
        for listener in &mut self.listeners {
            listener.id.get_or_insert_with(|| ids.listener());
        }
        for backend in self.pools.iter_mut().flat_map(backends_mut) {
            backend.id.get_or_insert_with(|| ids.backend());
        }
    }

    /// Gives each listener and backend that has no id the one that it has in `before`, if it is
    /// there.
    ///
    /// A listener is the one with the same name. A backend is one of the pool with the same name:
    /// the one with the same name or, if only one of the two has a name, with the same address.
    /// Among several with the same address, the order decides. Where places are
    /// [fixed](Pool::fixed_places), the place alone decides.
    pub fn recognise(&mut self, before: &Self) {
        let listeners: BTreeMap<_, _> =
            before.listeners.iter().map(|it| (&*it.name, it.id)).collect();
        for listener in self.listeners.iter_mut().filter(|it| it.id.is_none()) {
            listener.id = listeners.get(&*listener.name).copied().flatten();
        }
        let pools: BTreeMap<_, _> = before.pools.iter().map(|it| (&*it.name, it)).collect();
        for pool in &mut self.pools {
            if let Some(before) = pools.get(&*pool.name) {
                recognise(pool, before);
            }
        }
    }
}

/// Gives backends the ids that they have in `before`.
fn recognise(pool: &mut Pool, before: &Pool) {
    if let (Some(reject), Some(before)) = (&mut pool.reject, &before.reject) {
        reject.id = reject.id.or(before.id);
    }
    if pool.fixed_places {
        for (tier, before) in pool.tiers.iter_mut().zip(&before.tiers) {
            for (backend, before) in tier.backends.iter_mut().zip(&before.backends) {
                backend.id = backend.id.or(before.id);
            }
        }
        return;
    }
    let mut taken: BTreeSet<_> = backends_mut(pool).filter_map(|it| it.id).collect();
    let known = || before.backends().map(|(_, _, backend)| backend);
    let same_words =
        |it: &Backend| (it.name.clone(), it.name.is_none().then(|| it.endpoint.clone()));
    assign(pool, known(), &mut taken, |it| Some(same_words(it)), |it| Some(same_words(it)));
    // A backend that is given a name, or loses it, is still the same.
    let endpoint = |it: &Backend| Some(it.endpoint.clone());
    let unnamed = |it: &Backend| it.name.is_none().then(|| it.endpoint.clone());
    assign(pool, known(), &mut taken, endpoint, unnamed);
    assign(pool, known(), &mut taken, unnamed, endpoint);
}

/// Gives each backend without an id that of the first backend of `before` with the same key that is
/// not `taken` yet.
fn assign<'a, K: Ord>(
    pool: &mut Pool,
    before: impl Iterator<Item = &'a Backend>,
    taken: &mut BTreeSet<BackendId>,
    key: impl Fn(&Backend) -> Option<K>,
    key_before: impl Fn(&Backend) -> Option<K>,
) {
    let mut known: BTreeMap<K, VecDeque<BackendId>> = BTreeMap::new();
    for backend in before {
        if let (Some(id), Some(key)) = (backend.id, key_before(backend))
            && !taken.contains(&id)
        {
            known.entry(key).or_default().push_back(id);
        }
    }
    let tiers = pool.tiers.iter_mut().flat_map(|tier| &mut tier.backends);
    for backend in tiers.filter(|backend| backend.id.is_none()) {
        let key = key(backend);
        backend.id = key.and_then(|key| known.get_mut(&key)?.pop_front());
        taken.extend(backend.id);
    }
}

fn backends_mut(pool: &mut Pool) -> impl Iterator<Item = &mut Backend> {
    pool.tiers.iter_mut().flat_map(|tier| &mut tier.backends).chain(&mut pool.reject)
}
