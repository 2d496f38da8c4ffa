//! `--one-to-one`: every entry of the balancer's log serves one line, best pairs first.
//!
//! A line waits until all entries and lines that could compete for the same pair have been seen.
//! Then the chain "line, its nearest free entry, that entry's nearest waiting line, ..." is
//! followed until two are nearest to each other: they are the best pair of their neighbourhood.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::requests::{Client, Entry, Requests, ServerId};
use crate::lines::Millis;

/// A line that waits for its client, with whatever is needed to write it.
pub struct Waiting<T> {
    /// When it came.
    pub instant: Millis,
    /// Where it came to.
    pub server: ServerId,
    /// The request as pen's log holds it.
    pub key: Box<[u8]>,
    /// Its client, once known, and how far the entry is.
    pub client: Option<(Client, Millis)>,
    /// The line itself.
    pub item: T,
}

/// Lines with the same request that wait for a client: when they came, and their numbers.
type Places = BTreeSet<(Millis, u64)>;

/// The waiting lines.
pub struct Pairing<T> {
    window: Millis,
    queue: VecDeque<Waiting<T>>,
    /// The number of the first line of the queue.
    first: u64,
    free: HashMap<(ServerId, Box<[u8]>), Places>,
    newest: Millis,
}

impl<T> Pairing<T> {
    /// Nothing waits.
    pub fn new(window: Millis) -> Self {
        Self { window, queue: VecDeque::new(), first: 0, free: HashMap::new(), newest: Millis::MIN }
    }

    /// Lets a line wait. An empty request, or one whose client is known, has no competitors.
    pub fn push(&mut self, line: Waiting<T>) {
        self.newest = self.newest.max(line.instant);
        if !line.key.is_empty() && line.client.is_none() {
            let number = self.first + self.queue.len() as u64;
            let key = (line.server, line.key.clone());
            self.free.entry(key).or_default().insert((line.instant, number));
        }
        self.queue.push_back(line);
    }

    /// The next line whose client is decided; with `all`, whatever is left.
    pub fn pop(&mut self, requests: &mut Requests, all: bool) -> Option<Waiting<T>> {
        let front = self.queue.front()?;
        if !all && self.newest - front.instant <= 2 * self.window {
            return None;
        }
        while self.queue[0].client.is_none() && self.pair_from(self.first, requests) {}
        let line = self.queue.pop_front()?;
        if line.client.is_none() {
            self.forget(&line, self.first);
        }
        self.first += 1;
        Some(line)
    }

    /// Makes the best pair of the neighbourhood of a line; `false` when the line has no entry.
    fn pair_from(&mut self, number: u64, requests: &mut Requests) -> bool {
        let mut number = number;
        loop {
            let line = &self.queue[(number - self.first) as usize];
            let found = requests.nearest(line.server, &line.key, line.instant, self.window);
            let Some(entry) = found.cloned() else { return false };
            let nearest = self.nearest_line(line, &entry);
            if nearest != Some(number)
                && let Some(other) = nearest
            {
                number = other;
                continue;
            }
            let line = &mut self.queue[(number - self.first) as usize];
            requests.remove(line.server, &line.key, &entry);
            line.client = Some((entry.client, entry.instant - line.instant));
            let key = (line.server, line.key.clone(), line.instant);
            self.forget_free(key.0, key.1, (key.2, number));
            return true;
        }
    }

    /// Of the waiting lines with the same request that which is nearest to the entry; of two
    /// equally near ones the one that was read first.
    fn nearest_line(&self, line: &Waiting<T>, entry: &Entry) -> Option<u64> {
        let free = self.free.get(&(line.server, line.key.clone()))?;
        let after = free.range((entry.instant, 0)..).next();
        let before = free.range(..(entry.instant, 0)).next_back();
        let before = before.and_then(|(at, _)| free.range((*at, 0)..).next());
        let key = |(at, number): &&(Millis, u64)| ((at - entry.instant).abs(), *number);
        before.into_iter().chain(after).min_by_key(key).map(|(_, number)| *number)
    }

    fn forget(&mut self, line: &Waiting<T>, number: u64) {
        self.forget_free(line.server, line.key.clone(), (line.instant, number));
    }

    fn forget_free(&mut self, server: ServerId, key: Box<[u8]>, place: (Millis, u64)) {
        let key = (server, key);
        if let Some(free) = self.free.get_mut(&key) {
            free.remove(&place);
            if free.is_empty() {
                self.free.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lines: &[Millis], entries: &[Millis], expected: &[Option<usize>]) {
        assert_eq!(pair(lines, entries), expected);
    }

    /// Lines and entries as instants; gives the entry's place for each line.
    fn pair(lines: &[Millis], entries: &[Millis]) -> Vec<Option<usize>> {
        let mut requests = Requests::default();
        for (i, at) in entries.iter().enumerate() {
            requests.add(0, b"GET /", *at, i.to_string().as_bytes());
        }
        let mut pairing = Pairing::new(10);
        for at in lines {
            pairing.push(Waiting {
                instant: *at,
                server: 0,
                key: (*b"GET /").into(),
                client: None,
                item: (),
            });
        }
        let mut found = Vec::new();
        while let Some(line) = pairing.pop(&mut requests, true) {
            found.push(line.client.map(|(client, _)| {
                std::str::from_utf8(client.as_bytes()).unwrap().parse::<usize>().unwrap()
            }));
        }
        assert!(pairing.free.is_empty());
        found
    }

    #[test]
    fn two_clients_in_the_same_second_get_a_line_each() {
        check(&[5, 5], &[5, 5], &[Some(0), Some(1)]);
    }

    #[test]
    fn the_best_pair_is_made_first() {
        // The first line is near to the entry, the second nearer.
        check(&[3, 5], &[6], &[None, Some(0)]);
        check(&[3, 5], &[6, 1], &[Some(1), Some(0)]);
        check(&[0, 9], &[9, 9], &[Some(1), Some(0)]);
    }

    #[test]
    fn the_window_holds_and_surplus_entries_stay_unused() {
        check(&[5], &[16], &[None]);
        check(&[5], &[15, 4, 6], &[Some(1)]);
        check(&[], &[15], &[]);
    }

    proptest! {
        #[test]
        fn no_pair_could_be_bettered_by_another_line_or_entry(
            lines in prop::collection::vec(0i64..50, 0..12),
            entries in prop::collection::vec(0i64..50, 0..12),
        ) {
            let found = pair(&lines, &entries);
            let far = |line: usize, entry: usize| (lines[line] - entries[entry]).abs();
            let used: Vec<usize> = found.iter().flatten().copied().collect();
            for line in 0..lines.len() {
                for entry in 0..entries.len() {
                    // Greedy: whoever is not paired so met something at least as near.
                    let mine = found[line].map_or(11, |e| far(line, e));
                    let owner = found.iter().position(|e| *e == Some(entry));
                    let theirs = owner.map_or(11, |l| far(l, entry));
                    prop_assert!(far(line, entry) >= mine.min(theirs).min(11));
                }
            }
            let unique: std::collections::HashSet<_> = used.iter().collect();
            prop_assert_eq!(unique.len(), used.len());
        }
    }

    #[test]
    fn lines_wait_for_their_competitors_and_no_longer() {
        let mut requests = Requests::default();
        let mut pairing = Pairing::new(10);
        for at in [0, 20, 21] {
            let key = (*b"x").into();
            pairing.push(Waiting { instant: at, server: 0, key, client: None, item: at });
        }
        assert_eq!(pairing.pop(&mut requests, false).map(|l| l.item), Some(0));
        assert!(pairing.pop(&mut requests, false).is_none());
        assert_eq!(pairing.pop(&mut requests, true).map(|l| l.item), Some(20));
    }
}
