//! The ids of listeners and backends, which are never reused.

use crate::{Backend, Config, Endpoint, Pool};
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

    /// Gives each backend that commands have removed and then added to its pool again the id that it
    /// has in `running`, which commands have made of this configuration.
    pub fn recognise_added_again(&mut self, running: &Self) {
        let pools: BTreeMap<_, _> = running.pools.iter().map(|it| (&*it.name, it)).collect();
        for pool in &mut self.pools {
            let Some(running) = pools.get(&*pool.name) else { continue };
            let ids: BTreeSet<_> = running.backends().filter_map(|(_, _, it)| it.id).collect();
            let is_gone = |it: &Backend| it.id.is_some_and(|id| !ids.contains(&id));
            // Where places are fixed, commands remove nothing.
            if pool.fixed_places || !pool.backends().any(|(_, _, it)| is_gone(it)) {
                continue;
            }
            let mut found = pool.clone();
            let tiers = found.tiers.iter_mut().flat_map(|tier| &mut tier.backends);
            tiers.filter(|it| is_gone(it)).for_each(|it| it.id = None);
            recognise(&mut found, running);
            for (backend, found) in backends_mut(pool).zip(found.all_backends()) {
                backend.id = found.id.or(backend.id);
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
    let taken: BTreeSet<_> = backends_mut(pool).filter_map(|it| it.id).collect();
    let is_free = |it: &&Backend| it.id.is_some_and(|id| !taken.contains(&id));
    let mut free: Vec<_> = before.backends().map(|(_, _, it)| it).filter(is_free).collect();
    let tiers = pool.tiers.iter_mut().flat_map(|tier| &mut tier.backends);
    let mut new: Vec<_> = tiers.filter(|it| it.id.is_none()).collect();
    assign(&mut new, &mut free, same_words, same_words);
    // A backend that is given a name, or loses it, is still the same.
    assign(&mut new, &mut free, endpoint, unnamed);
    assign(&mut new, &mut free, unnamed, endpoint);
}

/// What a backend is recognised by; `None` if it is by something else.
type KeyOf = for<'a> fn(&'a Backend) -> Option<Key<'a>>;
type Key<'a> = (Option<&'a str>, Option<&'a Endpoint>);

fn same_words(it: &Backend) -> Option<Key<'_>> {
    Some((it.name.as_deref(), it.name.is_none().then_some(&it.endpoint)))
}

fn endpoint(it: &Backend) -> Option<Key<'_>> {
    Some((None, Some(&it.endpoint)))
}

fn unnamed(it: &Backend) -> Option<Key<'_>> {
    it.name.is_none().then_some((None, Some(&it.endpoint)))
}

/// Gives each of the `new` backends the id of the first of the `free` ones with the same key, and
/// takes both off the lists.
fn assign(new: &mut Vec<&mut Backend>, free: &mut Vec<&Backend>, key: KeyOf, key_before: KeyOf) {
    // Mostly, little has changed, and what is alike at the front need not be sorted.
    let is_same = |(new, free): &(&&mut Backend, &&Backend)| {
        key(new).is_some_and(|key| key_before(free) == Some(key))
    };
    let alike = new.iter().zip(free.iter()).take_while(is_same).count();
    for (new, before) in new.drain(..alike).zip(free.drain(..alike)) {
        new.id = before.id;
    }
    if new.is_empty() {
        return;
    }
    let mut known: BTreeMap<Key<'_>, VecDeque<Option<BackendId>>> = BTreeMap::new();
    for before in free.iter() {
        if let Some(key) = key_before(before) {
            known.entry(key).or_default().push_back(before.id);
        }
    }
    let mut ids = VecDeque::new();
    for backend in new.iter() {
        let found = key(backend).and_then(|key| known.get_mut(&key)?.pop_front());
        ids.push_back(found.flatten());
    }
    let taken: BTreeSet<_> = ids.iter().flatten().copied().collect();
    new.retain_mut(|backend| {
        backend.id = ids.pop_front().flatten();
        backend.id.is_none()
    });
    free.retain(|before| before.id.is_none_or(|id| !taken.contains(&id)));
}

fn backends_mut(pool: &mut Pool) -> impl Iterator<Item = &mut Backend> {
    pool.tiers.iter_mut().flat_map(|tier| &mut tier.backends).chain(&mut pool.reject)
}
