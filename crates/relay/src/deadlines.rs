//! The time at which each session is next due: a hashed, hierarchical timing wheel.
//!
//! Setting and clearing a timer cost a few steps, whatever the number of sessions, and nothing is
//! kept for a cleared timer. Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels",
//! 1987.

use terms::Instant;

/// One timer per key. Keys are small integers, such as a slab's.
///
/// Timers fire in order of their ticks, at their deadline or up to one tick (1 ms) after it.
#[derive(Debug)]
pub struct Deadlines {
    /// The tick up to which timers have fired.
    tick: u64,
    /// The first key of each slot's list, by level.
    slots: Vec<u32>,
    /// One bit for each slot of a level, set if its list is not empty.
    occupied: [u64; LEVELS as usize],
    nodes: Vec<Node>,
    armed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    tick: u64,
    next: u32,
    previous: u32,
    /// `NONE` while the timer is not set.
    slot: u32,
}

const NONE: u32 = u32::MAX;
const LEVEL_BITS: u32 = 6;
const SLOTS: u64 = 1 << LEVEL_BITS;
/// 64^5 ms are 12 days. Later deadlines wait in the last level and are sorted when it turns.
const LEVELS: u32 = 5;

impl Default for Deadlines {
    fn default() -> Self {
        let slots = vec![NONE; (LEVELS as usize) << LEVEL_BITS];
        Self { tick: 0, slots, occupied: [0; LEVELS as usize], nodes: vec![], armed: 0 }
    }
}

impl Deadlines {
    /// Sets the timer of `key`, replacing an earlier one.
    pub fn set(&mut self, key: usize, deadline: Instant) {
        self.clear(key);
        if key >= self.nodes.len() {
            let unset = Node { tick: 0, next: NONE, previous: NONE, slot: NONE };
            self.nodes.resize(key + 1, unset);
        }
        let tick = tick_of(deadline).max(self.tick + 1);
        self.nodes[key].tick = tick;
        self.link(key as u32);
        self.armed += 1;
    }

    /// Sets the timer of `key`, unless it already fires by `deadline`.
    pub fn set_by(&mut self, key: usize, deadline: Instant) {
        if !self.is_set(key) || self.nodes[key].tick > tick_of(deadline) {
            self.set(key, deadline);
        }
    }

    /// Clears the timer of `key`, if it is set.
    pub fn clear(&mut self, key: usize) {
        if self.is_set(key) {
            self.unlink(key as u32);
            self.armed -= 1;
        }
    }

    /// Whether `key` has a timer.
    #[must_use]
    pub fn is_set(&self, key: usize) -> bool {
        self.nodes.get(key).is_some_and(|node| node.slot != NONE)
    }

    /// A time before which no timer fires; `None` if none is set.
    ///
    /// Never later than the first deadline, but possibly earlier if that is far away.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        if self.armed == 0 {
            return None;
        }
        (0..LEVELS).filter_map(|level| self.next_turn(level)).min().map(Instant::from_millis)
    }

    /// Removes the timers that are due by `now`, and appends their keys to `fired`.
    pub fn expire(&mut self, now: Instant, fired: &mut Vec<usize>) {
        let target = now.as_millis();
        while self.armed > 0 && self.tick < target {
            // Jump to the next tick at which any slot needs attention.
            let Some(next) = (0..LEVELS).filter_map(|level| self.next_turn(level)).min() else {
                break;
            };
            if next > target {
                break;
            }
            self.tick = next;
            for level in (0..LEVELS).rev() {
                if next & ((1 << (level * LEVEL_BITS)) - 1) == 0 {
                    self.turn(level, fired);
                }
            }
        }
        self.tick = self.tick.max(target);
    }

    /// Moves the timers of the current slot of `level` to lower levels or to `fired`.
    fn turn(&mut self, level: u32, fired: &mut Vec<usize>) {
        let slot = slot_of(level, self.tick);
        let mut key = std::mem::replace(&mut self.slots[slot], NONE);
        self.vacate(slot);
        while key != NONE {
            let node = &mut self.nodes[key as usize];
            let next = node.next;
            node.slot = NONE;
            if node.tick <= self.tick {
                self.armed -= 1;
                fired.push(key as usize);
            } else {
                self.link(key);
            }
            key = next;
        }
    }

    /// The next tick after the current one at which a non-empty slot of `level` turns.
    fn next_turn(&self, level: u32) -> Option<u64> {
        let shift = level * LEVEL_BITS;
        let after = (self.tick >> shift) + 1;
        let ahead = self.occupied[level as usize].rotate_right((after % SLOTS) as u32);
        (ahead != 0).then(|| (after + u64::from(ahead.trailing_zeros())) << shift)
    }

    fn vacate(&mut self, slot: usize) {
        self.occupied[slot >> LEVEL_BITS] &= !(1 << (slot as u64 % SLOTS));
    }

    fn link(&mut self, key: u32) {
        let tick = self.nodes[key as usize].tick;
        let ahead = tick - self.tick;
        let level = (0..LEVELS - 1)
            .find(|level| ahead < SLOTS << (level * LEVEL_BITS))
            .unwrap_or(LEVELS - 1);
        // Beyond the last level's reach: to its farthest slot.
        let reach = (SLOTS - 1) << ((LEVELS - 1) * LEVEL_BITS);
        let slot = slot_of(level, self.tick + ahead.min(reach));
        let head = std::mem::replace(&mut self.slots[slot], key);
        self.occupied[level as usize] |= 1 << (slot as u64 % SLOTS);
        if head != NONE {
            self.nodes[head as usize].previous = key;
        }
        let node = &mut self.nodes[key as usize];
        *node = Node { tick, next: head, previous: NONE, slot: slot as u32 };
    }

    fn unlink(&mut self, key: u32) {
        let Node { next, previous, slot, .. } = self.nodes[key as usize];
        if previous == NONE {
            self.slots[slot as usize] = next;
            if next == NONE {
                self.vacate(slot as usize);
            }
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        self.nodes[key as usize].slot = NONE;
    }
}

/// The first tick at or after a deadline.
fn tick_of(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(1_000_000)
}

fn slot_of(level: u32, tick: u64) -> usize {
    let index = (tick >> (level * LEVEL_BITS)) & (SLOTS - 1);
    ((level as usize) << LEVEL_BITS) + index as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn timers_fire_once_and_not_early() {
        let mut deadlines = Deadlines::default();
        deadlines.set(3, at(50));
        let mut fired = vec![];
        deadlines.expire(at(49), &mut fired);
        assert!(fired.is_empty(), "{fired:?}");
        deadlines.expire(at(50), &mut fired);
        assert_eq!(fired, [3]);
        deadlines.expire(at(5000), &mut fired);
        assert_eq!(fired, [3]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_tick() {
        let mut deadlines = Deadlines::default();
        deadlines.expire(at(1000), &mut vec![]);
        deadlines.set(0, at(5));
        let mut fired = vec![];
        deadlines.expire(at(1001), &mut fired);
        assert_eq!(fired, [0]);
    }

    #[test]
    fn a_nearer_deadline_wins_over_one_already_set() {
        let mut deadlines = Deadlines::default();
        deadlines.set_by(0, at(10_000));
        deadlines.set_by(0, at(1000));
        deadlines.set_by(0, at(5000));
        let mut fired = vec![];
        deadlines.expire(at(1000), &mut fired);
        assert_eq!(fired, [0]);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(usize, u64),
        Clear(usize),
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        let ahead = prop_oneof![0..200u64, 0..100_000u64, 0..3_000_000_000u64];
        let pass = prop_oneof![0..100u64, 0..100_000u64, 0..3_000_000_000u64];
        prop_oneof![
            4 => (0..20usize, ahead).prop_map(|(key, ahead)| Op::Set(key, ahead)),
            1 => (0..20usize).prop_map(Op::Clear),
            2 => pass.prop_map(Op::Pass),
        ]
    }

    proptest! {
        /// The reference is a sorted map.
        #[test]
        fn fires_exactly_what_is_due(ops in prop::collection::vec(op(), 1..200)) {
            let mut deadlines = Deadlines::default();
            let mut oracle = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Set(key, ahead) => {
                        deadlines.set(key, at(now + ahead));
                        oracle.insert(key, (now + ahead).max(now + 1));
                    }
                    Op::Clear(key) => {
                        deadlines.clear(key);
                        oracle.remove(&key);
                    }
                    Op::Pass(millis) => {
                        now += millis;
                        let mut fired = vec![];
                        deadlines.expire(at(now), &mut fired);
                        fired.sort_unstable();
                        let due: Vec<_> = oracle.extract_if(.., |_, tick| *tick <= now).collect();
                        prop_assert_eq!(fired, due.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
                    }
                }
                let first = oracle.values().min().copied();
                prop_assert_eq!(deadlines.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (deadlines.next(), first) {
                    prop_assert!(next <= at(first), "sleeps past a deadline");
                    prop_assert!(next > at(now) - Duration::from_millis(1));
                }
            }
        }
    }
}
