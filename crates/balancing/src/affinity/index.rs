//! Finds a client's slot by the hash of its address.
//!
//! Linear hashing (Litwin, 1980): there are chains of slots, and each new entry splits one bucket.
//! No call rehashes everything, removal leaves nothing behind, and memory is what the entries need.

use super::chunks::Chunks;

/// Chains of slots by hash.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The first slot of each bucket's chain.
    heads: Chunks<u32>,
    /// By slot.
    links: Chunks<Link>,
    entries: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    hash: u32,
    /// The next slot of the chain.
    next: u32,
}

const NONE: u32 = u32::MAX;

impl Index {
    /// The slot with this hash for which `is_it` returns true.
    pub fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.entries == 0 {
            return None;
        }
        let mut slot = self.heads[self.bucket(hash)];
        while slot != NONE {
            let link = self.links[slot as usize];
            if link.hash == hash && is_it(slot) {
                return Some(slot);
            }
            slot = link.next;
        }
        None
    }

    /// Inserts a slot: one that was in the index before, or the next new one.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        self.entries += 1;
        if self.heads.len() < self.entries {
            self.split();
        }
        let bucket = self.bucket(hash);
        let link = Link { hash, next: self.heads[bucket] };
        if slot as usize == self.links.len() {
            self.links.push(link);
        } else {
            self.links[slot as usize] = link;
        }
        self.heads[bucket] = slot;
    }

    /// Removes a slot that is in the index.
    pub fn remove(&mut self, slot: u32) {
        let Link { hash, next } = self.links[slot as usize];
        let bucket = self.bucket(hash);
        if self.heads[bucket] == slot {
            self.heads[bucket] = next;
        } else {
            let mut before = self.heads[bucket] as usize;
            while self.links[before].next != slot {
                before = self.links[before].next as usize;
            }
            self.links[before].next = next;
        }
        self.entries -= 1;
    }

    fn bucket(&self, hash: u32) -> usize {
        let mask = self.heads.len().next_power_of_two() - 1;
        let bucket = hash as usize & mask;
        // A bucket that does not exist yet is still part of the one it will be split from.
        if bucket < self.heads.len() { bucket } else { bucket & (mask >> 1) }
    }

    /// Adds a bucket, and moves the entries that belong there.
    fn split(&mut self) {
        let new = self.heads.len();
        self.heads.push(NONE);
        if new == 0 {
            return;
        }
        let high = 1 << new.ilog2();
        let old = new - high;
        let mut slot = std::mem::replace(&mut self.heads[old], NONE);
        while slot != NONE {
            let link = &mut self.links[slot as usize];
            let bucket = if link.hash as usize & high == 0 { old } else { new };
            let next = std::mem::replace(&mut link.next, self.heads[bucket]);
            self.heads[bucket] = slot;
            slot = next;
        }
    }
}
