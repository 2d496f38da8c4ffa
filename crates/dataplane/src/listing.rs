//! Lists of sessions: which ones, in which order, and how many.

use crate::event::SessionInfo;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, Instant, SessionOrder};

/// Which sessions to list. The default is all of them.
#[derive(Clone, Default)]
pub struct SessionFilter {
    /// Only those with these backends.
    pub backends: Option<HashSet<BackendId>>,
    /// Only those of clients for which this is true; `None` stands for a client of a Unix socket.
    pub client: Option<ClientFilter>,
    /// Only those that have come to another age meanwhile.
    pub aged: Option<Aged>,
    /// Which come first.
    pub order: SessionOrder,
    /// The maximum number, if there is one.
    pub limit: Option<usize>,
}

/// Those whose age passed a multiple of `step` after one moment, and not after the other. So each
/// is found once per step, however many lists there are, if one begins where the last one ended.
#[derive(Clone, Copy, Debug)]
pub struct Aged {
    /// The time between two ages. Not zero.
    pub step: Duration,
    /// The moment after which an age is counted.
    pub after: Instant,
    /// The last moment at which it is.
    pub until: Instant,
}

impl Aged {
    fn takes(&self, started: Instant) -> bool {
        let steps =
            |moment: Instant| moment.since(started).as_nanos() / self.step.as_nanos().max(1);
        steps(self.until) > steps(self.after)
    }
}

/// Whether sessions of a client are meant. Workers call it, so it must be fast and never wait.
pub type ClientFilter = Arc<dyn Fn(Option<SocketAddr>) -> bool + Send + Sync>;

/// What decides about a session's place in a list.
pub struct Figures {
    /// Its backend, if it has one.
    pub backend: Option<BackendId>,
    /// Its client; `None` for one of a Unix socket.
    pub client: Option<SocketAddr>,
    /// When it began.
    pub started: Instant,
    /// How long ago that was.
    pub age: Duration,
    /// How long nothing has passed.
    pub idle: Duration,
    /// How many bytes have, both ways.
    pub bytes: u64,
}

impl Figures {
    /// Its rank in a list of this order, if it has no round-trip time: the highest comes first.
    #[must_use]
    pub fn rank(&self, order: SessionOrder) -> u128 {
        order.rank(self, || None)
    }
}

/// The sessions found so far: of all that were offered, the first ones.
pub(crate) struct Found {
    filter: Arc<SessionFilter>,
    /// The last of them on top.
    heap: BinaryHeap<Reverse<Ranked>>,
}

/// A session by its rank.
struct Ranked(SessionInfo);

impl Found {
    pub fn new(filter: Arc<SessionFilter>) -> Self {
        Self { filter, heap: BinaryHeap::new() }
    }

    /// Takes in a session, unless it is not meant or comes after those that were found. `info` is
    /// only made of one that is taken in. `round_trip` asks the kernel, which takes time.
    pub fn offer(
        &mut self,
        figures: &Figures,
        round_trip: impl FnOnce() -> Option<Duration>,
        info: impl FnOnce(u128) -> SessionInfo,
    ) {
        if !self.filter.takes(figures) {
            return;
        }
        let rank = self.filter.order.rank(figures, round_trip);
        let is_full = self.filter.limit.is_some_and(|limit| self.heap.len() >= limit);
        if is_full {
            match self.heap.peek() {
                Some(Reverse(last)) if rank > last.0.rank => drop(self.heap.pop()),
                _ => return,
            }
        }
        self.heap.push(Reverse(Ranked(info(rank))));
    }

    /// Those that were found, in no particular order.
    pub fn into_list(self) -> Vec<SessionInfo> {
        self.heap.into_iter().map(|Reverse(it)| it.0).collect()
    }
}

impl SessionFilter {
    fn takes(&self, figures: &Figures) -> bool {
        let is_among = |id: Option<BackendId>, ids: &HashSet<BackendId>| {
            id.is_some_and(|id| ids.contains(&id))
        };
        self.backends.as_ref().is_none_or(|ids| is_among(figures.backend, ids))
            && self.aged.is_none_or(|aged| aged.takes(figures.started))
            && self.client.as_ref().is_none_or(|is_meant| is_meant(figures.client))
    }

    /// Puts the lists of several workers into order, as one list.
    #[must_use]
    pub fn merge(&self, mut all: Vec<SessionInfo>) -> Vec<SessionInfo> {
        all.sort_by_key(|info| Reverse(info.rank));
        all.truncate(self.limit.unwrap_or(usize::MAX));
        all
    }
}

trait Rank {
    /// The higher, the earlier.
    fn rank(self, figures: &Figures, round_trip: impl FnOnce() -> Option<Duration>) -> u128;
}

impl Rank for SessionOrder {
    fn rank(self, figures: &Figures, round_trip: impl FnOnce() -> Option<Duration>) -> u128 {
        match self {
            // Workers look at the time one after the other.
            Self::Age => (u64::MAX - figures.started.as_nanos()).into(),
            Self::Idle => figures.idle.as_nanos(),
            Self::Bytes => figures.bytes.into(),
            // Bytes per second, with a fraction. A session of less than a millisecond has no rate.
            Self::Rate => (u128::from(figures.bytes) << 30) / figures.age.as_millis().max(1),
            Self::Rtt => round_trip().map_or(0, |it| it.as_nanos()),
        }
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank.cmp(&other.0.rank)
    }
}

/// Which sessions are to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victims {
    /// All of them.
    All,
    /// The one of this number.
    Session(u64),
    /// Those that have a place at one of these backends, whether or not it has answered.
    OfBackends(Arc<HashSet<BackendId>>),
    /// Those that relay, whose turn has come, and that are silent.
    Silent(Turns),
}

/// Sessions whose turn has come, if all get theirs one after the other, in the order of a hash of
/// their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// The last turn that has come, where the largest number is the last of all.
    last: u64,
}

/// What decides whether a session is to be ended.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub number: u64,
    pub backend: Option<BackendId>,
    /// How long nothing has passed.
    pub idle: Duration,
    /// Whether it relays, and all of its bytes have arrived. Asks the kernel.
    pub is_at_rest: &'a dyn Fn() -> bool,
}

/// A client that has waited for nothing for this long notices least that its session ends.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// Spreads numbers that follow one another evenly over all numbers: multiples of the golden ratio,
/// of 2^64, without their whole parts.
pub(crate) fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Turns {
    /// When `passed` of the time has gone in which all get theirs.
    #[must_use]
    pub fn after(passed: Duration, of: Duration) -> Self {
        let part = passed.as_nanos() * u128::from(u64::MAX) / of.as_nanos().max(1);
        Self { last: u64::try_from(part).unwrap_or(u64::MAX) }
    }

    fn include(self, number: u64) -> bool {
        spread(number) <= self.last
    }
}

impl Victims {
    /// Whether a session is one of them.
    pub(crate) fn include(&self, it: Candidate<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Session(only) => it.number == *only,
            Self::OfBackends(them) => it.backend.is_some_and(|it| them.contains(&it)),
            Self::Silent(turns) => {
                turns.include(it.number) && it.idle >= SILENCE && (it.is_at_rest)()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turns_of_sessions_are_spread_over_the_time() {
        let silent =
            |number| Candidate { number, backend: None, idle: SILENCE, is_at_rest: &|| true };
        let hour = Duration::from_secs(3600);
        let come = |passed| {
            let victims = Victims::Silent(Turns::after(passed, hour));
            (1..=1000).filter(|number| victims.include(silent(*number))).count()
        };
        assert_eq!(come(Duration::ZERO), 0);
        for tenth in 1..10 {
            let expected = 100 * tenth as usize;
            let come = come(hour * tenth / 10);
            assert!(come.abs_diff(expected) <= 5, "{come} instead of {expected}");
        }
        assert_eq!((come(hour), come(hour * 2)), (1000, 1000));
        assert_eq!(Turns::after(Duration::ZERO, Duration::ZERO), Turns { last: 0 });
    }

    #[test]
    fn only_silent_sessions_that_relay_get_their_turn() {
        let all = Victims::Silent(Turns::after(SILENCE, SILENCE));
        let with = |idle, is_at_rest: bool| {
            let is_at_rest = &|| is_at_rest;
            all.include(Candidate { number: 7, backend: None, idle, is_at_rest })
        };
        assert!(with(SILENCE, true));
        assert!(!with(SILENCE - Duration::from_millis(1), true));
        assert!(!with(SILENCE, false));
    }
}
