//! Which backend has the connections whose ids clients write to: a bounded memory.
//!
//! What is kept of an id is a keyed hash, so that nobody can choose ids that share a place. The table
//! consists of sets, each of which keeps the ids that were used last. Which ids are worth a place is
//! for `relay::FlowIds` to say.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use terms::{BackendId, Instant};

/// The backends of connections, by their ids, shared by all workers.
///
/// Its lock is taken when a flow begins, when an id is learned, and every few seconds for each flow:
/// not per datagram. It keeps at most [`Self::IDS_MAX`] ids, which take 24 bytes each, allocated
/// when they are needed. Each set of eight keeps those that were used last.
#[derive(Debug)]
pub struct ConnectionIds {
    seeds: (u64, u64),
    sets: Mutex<Vec<Option<Box<Set>>>>,
}

/// What stands for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdKey(NonZeroU64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Option<IdKey>,
    backend: BackendId,
    used: Instant,
}

type Set = [Entry; WAYS];

const EMPTY: Entry = Entry { key: None, backend: BackendId::new(0), used: Instant::ZERO };
const WAYS: usize = 8;
const SETS: usize = 1 << 14;

impl ConnectionIds {
    /// The maximum number of ids.
    pub const IDS_MAX: usize = SETS * WAYS;

    /// An empty table. Clients must not know the seeds.
    #[must_use]
    pub fn new(seeds: (u64, u64)) -> Self {
        Self::with_sets(seeds, SETS)
    }

    /// An empty table of this many sets, as a test needs it.
    #[must_use]
    pub fn with_sets(seeds: (u64, u64), sets: usize) -> Self {
        Self { seeds, sets: Mutex::new(vec![None; sets.max(1)]) }
    }

    /// What stands for these bytes.
    #[must_use]
    pub fn key(&self, id: &[u8]) -> IdKey {
        let mut hasher = SipHasher13::new_with_keys(self.seeds.0, self.seeds.1);
        hasher.write(id);
        IdKey(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }

    /// The backend of the connection with this id, which is in use.
    #[must_use]
    pub fn find(&self, key: IdKey, now: Instant) -> Option<BackendId> {
        let mut sets = self.lock();
        let entry = sets.entry(key)?;
        entry.used = entry.used.max(now);
        Some(entry.backend)
    }

    /// Learns whose connection has this id. An id that is known keeps its backend, unless it
    /// `is_certain` that another one has it: because that has named it itself.
    pub fn learn(&self, key: IdKey, backend: BackendId, is_certain: bool, now: Instant) {
        let mut sets = self.lock();
        if let Some(entry) = sets.entry(key) {
            if entry.backend == backend || is_certain {
                *entry = Entry { key: Some(key), backend, used: entry.used.max(now) };
            }
            return;
        }
        let set = sets.set(key).get_or_insert_with(|| Box::new([EMPTY; WAYS]));
        let idlest = set.iter_mut().min_by_key(|entry| (entry.key.is_some(), entry.used));
        if let Some(entry) = idlest {
            *entry = Entry { key: Some(key), backend, used: now };
        }
    }

    /// Forgets an id, if it belongs to this backend.
    pub fn forget(&self, key: IdKey, backend: BackendId) {
        let mut sets = self.lock();
        if let Some(entry) = sets.entry(key).filter(|entry| entry.backend == backend) {
            *entry = EMPTY;
        }
    }

    /// The number of ids. Takes time in proportion to the size of the table.
    #[must_use]
    pub fn count(&self) -> usize {
        let sets = self.lock();
        let entries = sets.0.iter().flatten().flat_map(|set| set.iter());
        entries.filter(|entry| entry.key.is_some()).count()
    }

    fn lock(&self) -> Sets<'_> {
        Sets(self.sets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Sets<'a>(MutexGuard<'a, Vec<Option<Box<Set>>>>);

impl Sets<'_> {
    fn set(&mut self, key: IdKey) -> &mut Option<Box<Set>> {
        let place = key.0.get() as usize % self.0.len();
        &mut self.0[place]
    }

    fn entry(&mut self, key: IdKey) -> Option<&mut Entry> {
        self.set(key).as_mut()?.iter_mut().find(|entry| entry.key == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn backend(number: u64) -> BackendId {
        BackendId::new(number)
    }

    #[test]
    fn only_a_backend_can_take_over_an_id() {
        let ids = ConnectionIds::new((1, 2));
        let key = ids.key(b"12345678");
        assert_eq!(ids.find(key, at(1)), None);
        ids.learn(key, backend(1), false, at(1));
        ids.learn(key, backend(2), false, at(2));
        assert_eq!(ids.find(key, at(2)), Some(backend(1)), "a client cannot");
        ids.forget(key, backend(2));
        assert_eq!(ids.find(key, at(2)), Some(backend(1)), "nor can it have it forgotten");
        ids.learn(key, backend(2), true, at(2));
        assert_eq!(ids.find(key, at(2)), Some(backend(2)));
        assert_eq!(ids.count(), 1);
        ids.forget(key, backend(2));
        assert_eq!((ids.find(key, at(2)), ids.count()), (None, 0));
    }

    #[test]
    fn ids_in_use_stay() {
        let ids = ConnectionIds::with_sets((1, 2), 1);
        let keys: Vec<_> = (0..1000_u32).map(|it| ids.key(&it.to_be_bytes())).collect();
        for (number, &key) in keys.iter().enumerate() {
            let now = at(number as u64);
            ids.learn(key, backend(1), true, now);
            assert_eq!(ids.find(keys[0], now), Some(backend(1)), "in use at {number}");
            assert!(ids.count() <= WAYS);
        }
        assert_eq!(ids.find(keys[500], at(1000)), None);
        assert_eq!(ids.find(keys[999], at(1000)), Some(backend(1)));
    }
}
