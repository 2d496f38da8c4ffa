//! Sessions that end at a moment of their own: because of their age, or so that their clients connect
//! again and are sent to another backend.
//!
//! A session is preferably ended while it is silent, since a client that waits for nothing notices
//! least. Nothing is kept of sessions that need not end, and the timers of relaying are others.

use crate::listing::{SILENCE, spread};
use relay::Deadlines;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use terms::{BackendId, CloseReason, Instant};

/// Which sessions are to end one after the other. Copies count together.
#[derive(Clone, Debug)]
pub struct Recall {
    backends: Arc<HashMap<BackendId, Part>>,
    over: Duration,
    reason: CloseReason,
}

/// How many sessions of a backend are to end.
#[derive(Debug)]
struct Part {
    /// So many,
    wanted: u64,
    /// of so many.
    of: u64,
    /// How many sessions have been looked at, by all workers.
    seen: AtomicU64,
}

/// A [`Recall`] on its way through the sessions of a worker.
pub(crate) struct Recalling {
    recall: Recall,
    chosen: usize,
}

/// When the sessions of a worker, or its flows, are to end. They are known by their keys.
#[derive(Default)]
pub(crate) struct Retirements {
    deadlines: Deadlines,
    retirements: HashMap<usize, Retirement>,
}

struct Retirement {
    /// The session ends then even if it is not silent.
    latest: Instant,
    reason: CloseReason,
}

/// How long a silence is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// The part of a time that has passed at the moment for this number, if each has its own.
fn moment(number: u64) -> f64 {
    spread(number) as f64 / (u64::MAX as f64)
}

impl Recall {
    /// Of each of these backends, so many of its so many sessions; within `over`, for this reason.
    #[must_use]
    pub fn new(
        backends: impl IntoIterator<Item = (BackendId, u32, u32)>,
        over: Duration,
        reason: CloseReason,
    ) -> Self {
        let part = |(id, wanted, of): (BackendId, u32, u32)| {
            (id, Part { wanted: wanted.into(), of: of.into(), seen: AtomicU64::new(0) })
        };
        Self { backends: Arc::new(backends.into_iter().map(part).collect()), over, reason }
    }
}

impl Recalling {
    pub fn new(recall: Recall) -> Self {
        Self { recall, chosen: 0 }
    }

    /// When and why this session of `backend` is to end, if it is one of them. They are chosen
    /// evenly among those that are looked at.
    pub fn choose(&mut self, backend: BackendId, now: Instant) -> Option<(Instant, CloseReason)> {
        let Part { wanted, of, seen } = self.recall.backends.get(&backend)?;
        let before = seen.fetch_add(1, Relaxed);
        let chosen = before * wanted / of.max(&1);
        if before >= *of || (before + 1) * wanted / of.max(&1) == chosen {
            return None;
        }
        self.chosen += 1;
        Some((now + self.recall.over.mul_f64(moment(chosen)), self.recall.reason))
    }

    /// The number of those chosen so far.
    pub fn chosen(&self) -> usize {
        self.chosen
    }
}

impl Retirements {
    /// Has a session end at `at`, or soon after, unless it is to end earlier.
    pub fn set(&mut self, key: usize, at: Instant, reason: CloseReason) {
        let latest = at + WAIT;
        if self.retirements.get(&key).is_none_or(|it| latest < it.latest) {
            self.retirements.insert(key, Retirement { latest, reason });
            self.deadlines.set(key, at);
        }
    }

    /// Has session `number`, which has begun at `started`, end at this age.
    pub fn set_age(&mut self, key: usize, number: u64, started: Instant, age: Option<Duration>) {
        if let Some(age) = age {
            let at = started + age.mul_f64(1.0 - LAST_PART * moment(number));
            self.set(key, at, CloseReason::MaxAge);
        }
    }

    /// The session is no more.
    pub fn clear(&mut self, key: usize) {
        if !self.retirements.is_empty() && self.retirements.remove(&key).is_some() {
            self.deadlines.clear(key);
        }
    }

    /// A time before which no session is due.
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Appends to `due` the keys of sessions that may be due; [`Self::decide`] knows.
    pub fn expire(&mut self, now: Instant, due: &mut Vec<usize>) {
        self.deadlines.expire(now, due);
    }

    /// Why a session that may be due, and was last active at `active`, is to end now; `None` if it
    /// has more time.
    pub fn decide(&mut self, key: usize, active: Instant, now: Instant) -> Option<CloseReason> {
        let Retirement { latest, reason } = self.retirements.get(&key)?;
        let at = (active + SILENCE).min(*latest);
        if now >= at {
            return Some(*reason);
        }
        self.deadlines.set(key, at);
        None
    }
}

/// The part of its age in which a session ends.
const LAST_PART: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const DB: BackendId = BackendId::new(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn recall(wanted: u32) -> Recall {
        Recall::new([(DB, wanted, 100)], Duration::from_secs(100), CloseReason::Rebalance)
    }

    #[test]
    fn exactly_as_many_as_wanted_are_chosen_on_all_workers_together() {
        for wanted in [0, 1, 5, 33, 50, 100] {
            for (workers, each) in [(1, 100), (4, 25), (10, 10), (2, 60)] {
                let recall = recall(wanted);
                let chosen = (0..workers).map(|_| {
                    let mut recalling = Recalling::new(recall.clone());
                    let chosen = (0..each).filter_map(|_| recalling.choose(DB, at(0))).count();
                    assert_eq!(recalling.chosen(), chosen);
                    chosen
                });
                assert_eq!(chosen.sum::<usize>(), wanted as usize, "{workers}");
            }
        }
    }

    #[test]
    fn their_moments_are_spread_over_the_time() {
        let mut recalling = Recalling::new(recall(100));
        let mut tenths = [0; 10];
        for _ in 0..100 {
            let (moment, _) = recalling.choose(DB, at(1000)).unwrap();
            tenths[(moment.since(at(1000)).as_secs() / 10) as usize] += 1;
        }
        assert!(tenths.iter().all(|it| (8..=12).contains(it)), "{tenths:?}");
        assert_eq!(recalling.choose(BackendId::new(2), at(1000)), None);
    }

    #[test]
    fn an_active_session_is_waited_for_but_not_for_ever() {
        let mut retirements = Retirements::default();
        retirements.set(3, at(100), CloseReason::Rebalance);
        let mut due = Vec::new();
        retirements.expire(at(99), &mut due);
        assert!(due.is_empty());
        retirements.expire(at(101), &mut due);
        assert_eq!(due, [3]);
        assert_eq!(retirements.decide(3, at(101), at(101)), None);
        assert_eq!(retirements.decide(3, at(101), at(102)), Some(CloseReason::Rebalance));
        assert_eq!(retirements.decide(3, at(110), at(110)), Some(CloseReason::Rebalance));
    }

    #[test]
    fn a_session_ends_at_the_earlier_of_two_moments_and_in_the_last_tenth_of_its_age() {
        for number in 0..100 {
            let mut retirements = Retirements::default();
            retirements.set_age(1, number, at(1000), Some(Duration::from_secs(1000)));
            let mut due = Vec::new();
            retirements.expire(at(1899), &mut due);
            assert!(due.is_empty(), "{number}");
            retirements.expire(at(2001), &mut due);
            assert_eq!(due, [1], "{number}");
        }
        let mut retirements = Retirements::default();
        retirements.set(1, at(50), CloseReason::Rebalance);
        retirements.set_age(1, 0, at(0), Some(Duration::from_secs(1000)));
        assert_eq!(retirements.decide(1, at(0), at(51)), Some(CloseReason::Rebalance));
        retirements.clear(1);
        assert_eq!(retirements.decide(1, at(0), at(51)), None);
    }
}
