//! What a session needs while it connects, and no longer.

use crate::event::Trace;
use crate::listener::Connecting;
use balancing::{Attempt, Client, Policy, Pool};
use relay::Search;
use slab::Slab;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A session's search for a backend: where it goes on if a connect fails.
pub(crate) struct Searching {
    /// What to do next.
    pub rules: Search,
    pub pool: Arc<Pool>,
    pub attempt: Attempt,
    /// Held until the backend has answered.
    pub connecting: Option<Connecting>,
}

/// The searches of a worker's sessions, in one block of memory that is freed when the last one is
/// over: thousands may begin at once, and none lasts long.
#[derive(Default)]
pub(crate) struct Searches(Slab<Searching>);

/// Identifies a search; a session has one until its first byte. It cannot be copied, so whoever
/// holds it can rely on the search being there.
#[derive(Debug)]
pub(crate) struct SearchKey(NonZeroU32);

/// Memory for this many searches is kept.
const KEPT: usize = 256;

impl Searches {
    pub fn begin(&mut self, search: Searching) -> SearchKey {
        let index = self.0.insert(search) as u32;
        SearchKey(NonZeroU32::MIN.saturating_add(index))
    }

    pub fn get(&mut self, key: &SearchKey) -> &mut Searching {
        &mut self.0[key.index()]
    }

    pub fn finish(&mut self, key: SearchKey) {
        self.0.remove(key.index());
        if self.0.is_empty() && self.0.capacity() > KEPT {
            self.0 = Slab::new();
        }
    }
}

impl SearchKey {
    fn index(&self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Searching {
    pub fn new(pool: Arc<Pool>, client: Client, seed: u64, connecting: Connecting) -> Self {
        let attempt = Attempt::new(client, seed);
        Self { rules: Search::default(), pool, attempt, connecting: Some(connecting) }
    }

    /// Tier and place of the backend taken last.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.attempt.place()
    }

    /// The trace of a connect that begins.
    pub fn trace(&self) -> Trace {
        let (tier, index) = self.attempt.place().unwrap_or_default();
        // The reject backend comes after all tiers.
        let rules = self.pool.tiers.get(tier);
        let is_hash = rules.is_some_and(|rules| rules.policy == Policy::Hash);
        let hash = is_hash.then(|| self.attempt.client_hash());
        Trace::Trying { tier, index, of: rules.map_or(1, |rules| rules.backends.len()), hash }
    }
}
