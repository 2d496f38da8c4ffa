//! What a session needs while it connects, and no longer.

use crate::searching::Searching;
use slab::Slab;
use std::num::NonZeroU32;

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
