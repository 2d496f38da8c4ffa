//! Finds the differences between two configurations.

use super::Change;
use crate::{Backend, Config, Listener, Pool, Tier};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use terms::BackendId;

impl Config {
    /// The changes that turn `self` into `wanted`; none if they are equal.
    ///
    /// Both must have been [identified](Config::identify), and neither may use a name twice.
    #[must_use]
    pub fn diff(&self, wanted: &Self) -> Vec<Change> {
        if self == wanted {
            return Vec::new();
        }
        let settings = wanted.process.settings_since(&self.process);
        let mut changes: Vec<_> = settings.into_iter().map(Change::SetProcess).collect();
        listener_changes(&self.listeners, &wanted.listeners, &mut changes);
        pool_changes(&self.pools, &wanted.pools, &mut changes);
        changes
    }
}

fn listener_changes(before: &[Listener], wanted: &[Listener], changes: &mut Vec<Change>) {
    let before: Vec<_> = before.iter().filter_map(|it| Some((it.id?, it))).collect();
    let old: Vec<_> = before.iter().map(|(id, _)| *id).collect();
    let ids: Vec<_> = wanted.iter().filter_map(|it| it.id).collect();
    let staying: BTreeSet<_> = ids.iter().collect();
    let gone = old.iter().filter(|id| !staying.contains(id));
    changes.extend(gone.copied().map(Change::RemoveListener));
    let kept = kept(&old, &ids);
    let before: BTreeMap<_, _> = before.into_iter().collect();
    let mut after = None;
    for listener in wanted {
        match listener.id.and_then(|id| Some((id, before.get(&id)?))) {
            Some((id, before)) => {
                if !kept.contains(&id) {
                    changes.push(Change::MoveListener { after, listener: id });
                }
                let settings = listener.settings_since(before).into_iter();
                changes.extend(settings.map(|it| Change::SetListener(id, it)));
            }
            None => {
                let listener = Box::new(listener.clone());
                changes.push(Change::AddListener { after, listener });
            }
        }
        after = listener.id;
    }
}

/// Pools and their backends. What is removed goes last, because its backends may have moved.
fn pool_changes(before: &[Pool], wanted: &[Pool], changes: &mut Vec<Change>) {
    let known = places(before);
    let staying: BTreeSet<_> = places(wanted).into_keys().collect();
    let (old, new) = (by_name(before), by_name(wanted));
    let kept = kept(&names(before), &names(wanted));
    for pool in before.iter().filter(|pool| new.contains_key(&*pool.name)) {
        let gone = pool.backends().filter_map(|(_, _, backend)| backend.id);
        changes.extend(gone.filter(|id| !staying.contains(id)).map(Change::RemoveBackend));
    }
    let mut after: Option<&String> = None;
    for pool in wanted {
        let begun = match old.get(&*pool.name) {
            Some(before) => {
                if !kept.contains(&*pool.name) {
                    let (after, pool) = (after.cloned(), pool.name.clone());
                    changes.push(Change::MovePool { after, pool });
                }
                let settings = pool.settings_since(before).into_iter();
                changes.extend(settings.map(|it| Change::SetPool(pool.name.clone(), it)));
                Cow::Borrowed(*before)
            }
            None => {
                let mut begun = pool.clone();
                let is_new = |it: &Backend| it.id.is_some_and(|id| !known.contains_key(&id));
                begun.tiers.iter_mut().for_each(|tier| tier.backends.retain(is_new));
                let (after, pool) = (after.cloned(), Box::new(begun.clone()));
                changes.push(Change::AddPool { after, pool });
                Cow::Owned(begun)
            }
        };
        for (number, tier) in pool.tiers.iter().enumerate() {
            tier_changes(&pool.name, number, begun.tiers.get(number), tier, &known, changes);
        }
        after = Some(&pool.name);
    }
    for pool in before {
        match new.get(&*pool.name) {
            None => changes.push(Change::RemovePool(pool.name.clone())),
            // From the end, so that each number is still right at its turn.
            Some(wanted) => changes.extend(
                (wanted.tiers.len()..pool.tiers.len())
                    .rev()
                    .map(|tier| Change::RemoveTier { pool: pool.name.clone(), tier }),
            ),
        }
    }
}

fn names(pools: &[Pool]) -> Vec<&str> {
    pools.iter().map(|pool| &*pool.name).collect()
}

fn by_name(pools: &[Pool]) -> BTreeMap<&str, &Pool> {
    pools.iter().map(|pool| (&*pool.name, pool)).collect()
}

/// The backends that have an id.
fn places(pools: &[Pool]) -> BTreeMap<BackendId, &Backend> {
    let backends = pools.iter().flat_map(Pool::backends);
    backends.filter_map(|(_, _, backend)| Some((backend.id?, backend))).collect()
}

/// A tier that has become another one. `known` has the backends of all pools as they were.
fn tier_changes(
    pool: &str,
    number: usize,
    before: Option<&Tier>,
    wanted: &Tier,
    known: &BTreeMap<BackendId, &Backend>,
    changes: &mut Vec<Change>,
) {
    let (tier, policy) = (number, wanted.policy);
    let pool = || pool.to_owned();
    match before {
        None => changes.push(Change::AddTier { pool: pool(), tier, policy }),
        Some(before) if before.policy != policy => {
            changes.push(Change::SetPolicy { pool: pool(), tier, policy });
        }
        Some(_) => {}
    }
    let ids = |tier: &Tier| tier.backends.iter().filter_map(|it| it.id).collect::<Vec<_>>();
    let kept = kept(&before.map(ids).unwrap_or_default(), &ids(wanted));
    let mut after = None;
    for backend in &wanted.backends {
        let was = backend.id.and_then(|id| known.get(&id));
        match backend.id {
            Some(id) if kept.contains(&id) => {}
            Some(id) if was.is_some() => {
                changes.push(Change::MoveBackend { pool: pool(), tier, after, backend: id });
            }
            _ => {
                let backend = Box::new(backend.clone());
                changes.push(Change::AddBackend { pool: pool(), tier, after, backend });
            }
        }
        if let Some((id, was)) = backend.id.zip(was) {
            let settings = backend.settings_since(was).into_iter();
            changes.extend(settings.map(|it| Change::SetBackend(id, it)));
        }
        after = backend.id;
    }
}

/// As many elements as possible that `before` and `wanted` have in the same order. The others move.
///
/// This is the longest increasing subsequence of their places in `before`, found by patience
/// sorting.
fn kept<T: Clone + Ord>(before: &[T], wanted: &[T]) -> BTreeSet<T> {
    let places: BTreeMap<&T, usize> =
        before.iter().enumerate().map(|(place, id)| (id, place)).collect();
    let common: Vec<(usize, &T)> =
        wanted.iter().filter_map(|id| Some((*places.get(id)?, id))).collect();
    // For each length, the sequence of that length with the lowest last place: that place, and the
    // index of its element in `common`.
    let mut lasts: Vec<(usize, usize)> = Vec::new();
    let mut predecessors = Vec::new();
    for (index, (place, _)) in common.iter().enumerate() {
        let length = lasts.partition_point(|(last, _)| last < place);
        predecessors.push(length.checked_sub(1).map(|shorter| lasts[shorter].1));
        match lasts.get_mut(length) {
            Some(last) => *last = (*place, index),
            None => lasts.push((*place, index)),
        }
    }
    let longest = lasts.last().map(|(_, index)| *index);
    let kept = std::iter::successors(longest, |index| predecessors[*index]);
    kept.map(|index| common[index].1.clone()).collect()
}
