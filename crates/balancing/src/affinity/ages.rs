//! When each slot was last used. Finds the lowest slot not used since a given time, and the least
//! recently used slot.
//!
//! A tree of minima, sixteen to one. Unlike a list in order of use, it is exact if several slots
//! were used at the same time, or if workers' clocks differ by a turn. Any number of slots can
//! expire at once, or become valid again because the limit was raised, at no cost.

use super::chunks::Chunks;

/// A stamp per slot; slots are numbered in the order they were pushed.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// The stamps, then the minima of each [`FAN`] of them, and so on up to a single one.
    levels: Vec<Chunks<u64>>,
}

/// How many values one minimum covers: two cache lines.
const FAN: usize = 16;

impl Ages {
    pub fn len(&self) -> usize {
        self.levels.first().map_or(0, Chunks::len)
    }

    pub fn get(&self, slot: usize) -> u64 {
        self.levels[0][slot]
    }

    /// Adds a slot.
    pub fn push(&mut self, stamp: u64) {
        if self.levels.is_empty() {
            self.levels.push(Chunks::default());
        }
        let mut at = self.len();
        self.levels[0].push(stamp);
        for level in &mut self.levels[1..] {
            at /= FAN;
            if at == level.len() {
                level.push(stamp);
            } else {
                level[at] = level[at].min(stamp);
            }
        }
        let top = &self.levels[self.levels.len() - 1];
        if top.len() > 1 {
            let mut root = Chunks::default();
            root.push(top[0].min(top[1]));
            self.levels.push(root);
        }
    }

    /// Changes a slot's stamp.
    pub fn set(&mut self, slot: usize, stamp: u64) {
        let (mut at, mut now) = (slot, stamp);
        let mut before = std::mem::replace(&mut self.levels[0][slot], stamp);
        for level in 1..self.levels.len() {
            let first = at - at % FAN;
            at /= FAN;
            let was = self.levels[level][at];
            if now < was {
                // The new minimum.
            } else if before == was {
                let group = self.levels[level - 1].group(first, FAN);
                now = group.iter().fold(u64::MAX, |least, &stamp| least.min(stamp));
            } else {
                return;
            }
            self.levels[level][at] = now;
            before = was;
        }
    }

    /// The lowest slot with a stamp below `limit`.
    pub fn first_below(&self, limit: u64) -> Option<usize> {
        let root = self.levels.last()?;
        if root[0] >= limit {
            return None;
        }
        let mut at = 0;
        for level in self.levels.iter().rev().skip(1) {
            let group = level.group(at * FAN, FAN);
            // The minimum above promised one.
            at = at * FAN + group.iter().position(|&stamp| stamp < limit)?;
        }
        Some(at)
    }

    /// The slot with the smallest stamp, the lowest among equals.
    pub fn oldest(&self) -> Option<usize> {
        let least = self.levels.last()?[0];
        self.first_below(least.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_search_through_all_finds(
            stamps in proptest::collection::vec(0u64..40, 1..700),
            changes in proptest::collection::vec((0usize..700, 0u64..40), 0..300),
            limit in 0u64..42,
        ) {
            let mut ages = Ages::default();
            stamps.iter().for_each(|&stamp| ages.push(stamp));
            let mut naive = stamps;
            let check = |ages: &Ages, naive: &[u64]| {
                let below = naive.iter().position(|&stamp| stamp < limit);
                let least = naive.iter().min().unwrap();
                let oldest = naive.iter().position(|stamp| stamp == least);
                (ages.first_below(limit), ages.oldest()) == (below, oldest)
            };
            prop_assert!(check(&ages, &naive));
            for (slot, stamp) in changes {
                let slot = slot % naive.len();
                naive[slot] = stamp;
                ages.set(slot, stamp);
                prop_assert!(check(&ages, &naive));
            }
        }
    }
}
