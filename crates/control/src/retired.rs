//! What removed listeners and backends have counted. Counters of a name that comes back, and the
//! sums of pools, go on from there: counters never go back.

use balancing::{BackendState, Timings, Totals};
use dataplane::{Listener, ListenerTotals};
use std::collections::HashMap;
use std::hash::Hash;

/// What removed listeners and backends have counted, by their names.
#[derive(Default)]
pub(crate) struct Retired {
    listeners: HashMap<String, ListenerCount>,
    backends: HashMap<(String, String), BackendCount>,
    pools: HashMap<String, BackendCount>,
}

/// How many names are remembered of each kind. Beyond that, any one is forgotten.
const NAMES_MAX: usize = 1024;

/// What a listener has counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerCount {
    pub accepted: u64,
    pub dropped: u64,
    /// By [`balancing::Refused`].
    pub refused: [u64; 3],
    pub totals: ListenerTotals,
}

/// What a backend has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackendCount {
    pub totals: Totals,
    pub timings: Timings,
}

impl ListenerCount {
    pub fn add(&mut self, listener: &Listener) {
        self.accepted += listener.sessions_total();
        self.dropped += listener.dropped_total();
        for (sum, count) in self.refused.iter_mut().zip(listener.refused_total()) {
            *sum += count;
        }
        self.totals += &listener.totals();
    }
}

impl BackendCount {
    /// Adds what has been counted and timed.
    pub fn add(&mut self, state: &BackendState) {
        self.totals += state.totals();
        state.add_timings_to(&mut self.timings);
    }
}

impl std::ops::AddAssign for BackendCount {
    fn add_assign(&mut self, other: Self) {
        self.totals += other.totals;
        self.timings += other.timings;
    }
}

impl Retired {
    /// A listener is forgotten.
    pub fn add_listener(&mut self, name: &str, listener: &Listener) {
        entry(&mut self.listeners, name.to_owned()).add(listener);
    }

    /// A backend of this pool is forgotten.
    pub fn add_backend(&mut self, pool: &str, name: &str, state: &BackendState) {
        let mut count = BackendCount::default();
        count.add(state);
        if count.totals.attempts == 0 {
            return; // nothing to remember, as of thousands that were never needed
        }
        *entry(&mut self.backends, (pool.to_owned(), name.to_owned())) += count;
        *entry(&mut self.pools, pool.to_owned()) += count;
    }

    /// What listeners of this name had counted.
    pub fn listener(&self, name: &str) -> ListenerCount {
        self.listeners.get(name).cloned().unwrap_or_default()
    }

    /// What backends of this pool had counted.
    pub fn pool(&self, name: &str) -> BackendCount {
        self.pools.get(name).copied().unwrap_or_default()
    }

    /// What backends of this name had counted.
    pub fn backend(&self, pool: &str, name: &str) -> Option<BackendCount> {
        if self.backends.is_empty() {
            return None;
        }
        self.backends.get(&(pool.to_owned(), name.to_owned())).copied()
    }
}

fn entry<K: Hash + Eq + Clone, V: Default>(map: &mut HashMap<K, V>, key: K) -> &mut V {
    if map.len() >= NAMES_MAX
        && !map.contains_key(&key)
        && let Some(other) = map.keys().next().cloned()
    {
        map.remove(&other);
    }
    map.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use balancing::AdminState;
    use terms::{FailureKind, Limit};

    #[test]
    fn names_add_up_and_there_is_an_end_to_them() {
        let state = BackendState::new(1, AdminState::Enabled, Limit::None);
        state.tally(0).count_attempt();
        state.tally(0).count_failure(FailureKind::Reset);
        let mut retired = Retired::default();
        retired.add_backend("web", "a", &state);
        retired.add_backend("web", "a", &state);
        retired.add_backend("web", "b", &state);
        assert_eq!(retired.backend("web", "a").unwrap().totals.attempts, 2);
        assert_eq!(retired.pool("web").totals.all_failures(), 3);
        assert!(retired.backend("mail", "a").is_none());
        for number in 0..2 * NAMES_MAX {
            retired.add_backend("web", &number.to_string(), &state);
        }
        assert_eq!(retired.backends.len(), NAMES_MAX);
        assert_eq!(retired.pool("web").totals.attempts, 3 + 2 * NAMES_MAX as u64);
    }
}
