//! What clients sent, by server and request: finds the entry nearest in time.
//!
//! ~~~text
//!   (server, request) --hash--> slot: entries sorted by instant      found by binary search
//!   expiry: heap of (instant, slot)                                  forgets what is too old
//! ~~~
//!
//! Entries may come in any order of time, since a balancer's clock may be set back. Memory grows
//! with the entries between the two ends of the window, not with the files.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::lines::Millis;

/// Number of a server among the operands.
pub type ServerId = u16;

/// One thing that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// By the balancer's clock, corrected.
    pub instant: Millis,
    /// Where it stood in the balancer's log; the earlier one wins a tie.
    pub order: u64,
    /// Who sent it.
    pub client: Client,
}

/// A client's address as text: most fit here without an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// Up to 22 bytes: the length, and the bytes.
    Short(u8, [u8; 22]),
    /// Anything longer.
    Long(Box<[u8]>),
}

impl Client {
    /// Copies the text.
    pub fn new(text: &[u8]) -> Self {
        let mut bytes = [0; 22];
        match bytes.get_mut(..text.len()) {
            Some(start) => {
                start.copy_from_slice(text);
                Self::Short(text.len() as u8, bytes)
            }
            None => Self::Long(text.into()),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// The index.
#[derive(Default)]
pub struct Requests {
    slots: Vec<Slot>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    expiry: BinaryHeap<Reverse<(Millis, u32)>>,
    added: u64,
}

#[derive(Default)]
struct Slot {
    server: ServerId,
    request: Box<[u8]>,
    entries: Entries,
}

/// Most requests are rare: one entry needs no allocation.
#[derive(Default)]
enum Entries {
    #[default]
    None,
    One(Entry),
    Many(VecDeque<Entry>),
}

impl Requests {
    /// Remembers that `client` sent `request` to `server`.
    pub fn add(&mut self, server: ServerId, request: &[u8], instant: Millis, client: &[u8]) {
        self.added += 1;
        let entry = Entry { instant, order: self.added, client: Client::new(client) };
        let slot = match self.slot(server, request) {
            Some(slot) => slot,
            None => self.new_slot(server, request),
        };
        self.slots[slot as usize].entries.insert(entry);
        self.expiry.push(Reverse((instant, slot)));
    }

    /// The entry nearest to `instant` and at most `window` from it; of two equally near ones that
    /// which came first.
    pub fn nearest(
        &self,
        server: ServerId,
        request: &[u8],
        instant: Millis,
        window: Millis,
    ) -> Option<&Entry> {
        let slot = self.slot(server, request)?;
        let found = self.slots[slot as usize].entries.nearest(instant)?;
        ((found.instant - instant).abs() <= window).then_some(found)
    }

    /// Takes an entry out, so that it serves nobody else.
    pub fn remove(&mut self, server: ServerId, request: &[u8], entry: &Entry) {
        if let Some(slot) = self.slot(server, request) {
            self.slots[slot as usize].entries.remove(entry);
        }
    }

    /// Forgets everything before `horizon`.
    pub fn expire(&mut self, horizon: Millis) {
        while let Some(Reverse((instant, slot))) = self.expiry.peek().copied() {
            if instant >= horizon {
                break;
            }
            self.expiry.pop();
            self.slots[slot as usize].entries.drop_before(horizon);
            self.free_if_empty(slot);
        }
    }

    /// How many entries are remembered.
    pub fn len(&self) -> usize {
        self.expiry.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.expiry.is_empty()
    }

    fn slot(&self, server: ServerId, request: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one((server, request));
        let same = |slot: &u32| {
            let slot = &self.slots[*slot as usize];
            slot.server == server && *slot.request == *request
        };
        self.table.find(hash, same).copied()
    }

    fn new_slot(&mut self, server: ServerId, request: &[u8]) -> u32 {
        let fresh = Slot { server, request: request.into(), entries: Entries::None };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                (self.slots.len() - 1) as u32
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash_of = |slot: &u32| {
            let slot = &slots[*slot as usize];
            hasher.hash_one((slot.server, &*slot.request))
        };
        self.table.insert_unique(hasher.hash_one((server, request)), slot, hash_of);
        slot
    }

    /// A slot may be named in the heap more often than it has entries (when they were removed by
    /// hand), so it is freed when the last of its names leaves: that is, when it is still in the
    /// table, empty, and oldest.
    fn free_if_empty(&mut self, slot: u32) {
        let Slot { server, request, entries: Entries::None } = &self.slots[slot as usize] else {
            return;
        };
        let hash = self.hasher.hash_one((*server, &**request));
        if let Ok(entry) = self.table.find_entry(hash, |found| *found == slot) {
            entry.remove();
            self.slots[slot as usize] = Slot::default();
            self.free.push(slot);
        }
    }
}

impl Entries {
    fn insert(&mut self, entry: Entry) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(entry),
            Self::One(first) => Self::Many(VecDeque::from([first])).with(entry),
            many => many.with(entry),
        };
    }

    fn with(mut self, entry: Entry) -> Self {
        if let Self::Many(entries) = &mut self {
            let at = entries.partition_point(|e| e.instant <= entry.instant);
            entries.insert(at, entry);
        }
        self
    }

    fn nearest(&self, instant: Millis) -> Option<&Entry> {
        let entries = match self {
            Self::None => return None,
            Self::One(entry) => return Some(entry),
            Self::Many(entries) => entries,
        };
        let after = entries.partition_point(|e| e.instant < instant);
        let next = entries.get(after);
        let Some(last) = after.checked_sub(1).map(|i| &entries[i]) else { return next };
        // Of those with the same instant the first stands first.
        let first = entries.partition_point(|e| e.instant < last.instant);
        let previous = &entries[first];
        match next {
            Some(next) => {
                let key = |e: &Entry| ((e.instant - instant).abs(), e.order);
                Some(if key(next) < key(previous) { next } else { previous })
            }
            None => Some(previous),
        }
    }

    fn remove(&mut self, entry: &Entry) {
        match self {
            Self::One(_) => *self = Self::None,
            Self::Many(entries) => {
                entries.retain(|e| e.order != entry.order);
                if entries.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None => {}
        }
    }

    fn drop_before(&mut self, horizon: Millis) {
        match self {
            Self::One(entry) if entry.instant < horizon => *self = Self::None,
            Self::Many(entries) => {
                while entries.front().is_some_and(|e| e.instant < horizon) {
                    entries.pop_front();
                }
                if entries.is_empty() {
                    *self = Self::None;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(entries: &[(Millis, &str)], instant: Millis, window: Millis, client: Option<&str>) {
        let mut index = Requests::default();
        for (instant, client) in entries {
            index.add(1, b"GET /", *instant, client.as_bytes());
        }
        let found = index.nearest(1, b"GET /", instant, window);
        let text = found.map(|e| String::from_utf8_lossy(e.client.as_bytes()).into_owned());
        assert_eq!(text.as_deref(), client);
    }

    #[test]
    fn the_nearest_in_time_wins_and_the_earlier_one_a_tie() {
        check(&[(10, "a"), (20, "b")], 14, 99, Some("a"));
        check(&[(10, "a"), (20, "b")], 15, 99, Some("a"));
        check(&[(20, "b"), (10, "a")], 15, 99, Some("b"));
        check(&[(10, "a"), (10, "b"), (20, "c")], 11, 99, Some("a"));
        check(&[(10, "a"), (20, "b"), (20, "c")], 30, 99, Some("b"));
    }

    #[test]
    fn the_window_is_exact() {
        check(&[(10, "a")], 20, 10, Some("a"));
        check(&[(10, "a")], 21, 10, None);
        check(&[(10, "a")], 0, 10, Some("a"));
        check(&[], 0, 10, None);
    }

    #[test]
    fn servers_and_requests_are_told_apart() {
        let mut index = Requests::default();
        index.add(1, b"GET /", 5, b"2001:db8:1111:2222:3333:4444:5555:6666");
        assert!(index.nearest(2, b"GET /", 5, 9).is_none());
        assert!(index.nearest(1, b"GET /a", 5, 9).is_none());
        let client = &index.nearest(1, b"GET /", 5, 9).unwrap().client;
        assert_eq!(client.as_bytes(), b"2001:db8:1111:2222:3333:4444:5555:6666");
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_through_everything(
            entries in prop::collection::vec((0i64..60, 0u8..3), 0..60),
            looks in prop::collection::vec((0i64..60, 0u8..3, 0i64..20), 1..20),
            horizon in 0i64..60,
        ) {
            let mut index = Requests::default();
            for (i, (instant, request)) in entries.iter().enumerate() {
                index.add(0, &[*request], *instant, i.to_string().as_bytes());
            }
            index.expire(horizon);
            let kept: Vec<_> = entries.iter().enumerate().filter(|(_, e)| e.0 >= horizon).collect();
            prop_assert_eq!(index.len(), kept.len());
            for (instant, request, window) in looks {
                let expected = kept.iter()
                    .filter(|(_, e)| e.1 == request && (e.0 - instant).abs() <= window)
                    .min_by_key(|(i, e)| ((e.0 - instant).abs(), *i))
                    .map(|(i, _)| i.to_string());
                let found = index.nearest(0, &[request], instant, window);
                prop_assert_eq!(found.map(|e| e.client.as_bytes().to_vec()), expected.map(String::into_bytes));
            }
        }
    }
}
