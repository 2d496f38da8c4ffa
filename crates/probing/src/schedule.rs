//! When which target is probed, and what the results come to.

use crate::track::{Rules, Track, Verdict};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;
use terms::Instant;

/// The schedule of all targets: who is due, who has taken too long, and what the verdicts are.
///
/// The caller performs what [`poll`](Self::poll) returns, and reports results to
/// [`finish`](Self::finish). Whoever it is, it may come late: the machine may be busy, or asleep.
/// An answer is an answer however late it was read, but a time-out is a verdict about the target
/// only if the caller was there to see the answer come. So a probe whose time-out fires late, or
/// whose caller has lost time meanwhile ([`lose`](Self::lose)), gets that time in addition. If it has
/// taken too long even so, it is void.
#[derive(Debug)]
pub struct Schedule {
    targets: BTreeMap<u64, Target>,
    /// Moments at which something is to happen to a target. Those that no longer apply are skipped.
    moments: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Targets that are due while too many probes are in flight.
    queue: VecDeque<u64>,
    in_flight: usize,
    most: usize,
    /// How much time the caller has lost in all.
    lost: Duration,
    voids: u64,
    random: u64,
}

#[derive(Debug)]
struct Target {
    rules: Rules,
    track: Track,
    phase: Phase,
    /// Somebody wants to know the result of the next probe, whatever it is.
    is_asked: bool,
    /// It has not been probed more than once, so that the next probe may come at any time.
    is_first: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting { until: Instant },
    Queued,
    InFlight { since: Instant, until: Instant, lost: Duration, was_asked: bool },
}

/// What is to be done for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin a probe.
    Start(u64),
    /// End the probe: it has taken too long.
    TimedOut(u64, Finding),
    /// End the probe, which says nothing.
    Void(u64),
}

/// What a result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The verdict about the target now.
    pub verdict: Option<Verdict>,
    /// Whether it was another one before.
    pub is_new: bool,
    /// Whether somebody has asked for this probe.
    pub was_asked: bool,
}

/// Part of the time-out that the caller may lose without consequences.
const LATE: u32 = 4;
/// How many time-outs a probe may take if the caller loses time again and again.
const TIMEOUTS_MAX: u32 = 4;
/// Targets that are added are first probed within this time; with few of them, sooner.
pub const SPREAD: Duration = Duration::from_secs(1);
/// The part of that for each target.
const SPREAD_EACH: Duration = Duration::from_micros(50);

impl Schedule {
    /// An empty schedule with at most `most` probes in flight. `seed` spreads them.
    #[must_use]
    pub fn new(seed: u64, most: usize) -> Self {
        Self {
            targets: BTreeMap::new(),
            moments: BinaryHeap::new(),
            queue: VecDeque::new(),
            in_flight: 0,
            most: most.max(1),
            lost: Duration::ZERO,
            voids: 0,
            random: seed,
        }
    }

    /// Adds a target, or replaces the one of this id. `verdict` is what is known already.
    ///
    /// The first probe comes within a second. The second one comes at a random time of the interval,
    /// so that those of targets which are added together are spread.
    pub fn add(&mut self, id: u64, rules: Rules, verdict: Option<Verdict>, now: Instant) {
        self.remove(id);
        let count = u32::try_from(self.targets.len()).unwrap_or(u32::MAX).saturating_add(1);
        let spread = SPREAD.min(SPREAD_EACH.saturating_mul(count)).min(rules.interval);
        let until = now + self.portion(spread);
        let (track, phase) = (Track::new(verdict), Phase::Waiting { until });
        self.targets.insert(id, Target { rules, track, phase, is_asked: false, is_first: true });
        self.moments.push(Reverse((until, id)));
    }

    /// Removes a target. If a probe is in flight, it is over.
    pub fn remove(&mut self, id: u64) {
        if let Some(Target { phase: Phase::InFlight { .. }, .. }) = self.targets.remove(&id) {
            self.in_flight -= 1;
        }
    }

    /// Probes a target now, and reports the result. If a probe is in flight, another one follows,
    /// because that one may have begun before whatever the caller has seen.
    pub fn hurry(&mut self, id: u64, now: Instant) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        if std::mem::replace(&mut target.is_asked, true) {
            return;
        }
        if let Phase::Waiting { until } = &mut target.phase
            && *until > now
        {
            *until = now;
            self.moments.push(Reverse((now, id)));
        }
    }

    /// The caller has lost this much time at once: nothing was done, although something was due.
    pub fn lose(&mut self, time: Duration) {
        self.lost += time;
    }

    /// When something is to be done next; `None` while only results can change that.
    #[must_use]
    pub fn next_moment(&self) -> Option<Instant> {
        self.moments.peek().map(|Reverse((moment, _))| *moment)
    }

    /// The next thing to be done at `now`.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        loop {
            if self.in_flight < self.most
                && let Some(id) = self.queue.pop_front()
            {
                let is_queued = |it: &Target| matches!(it.phase, Phase::Queued);
                if self.targets.get(&id).is_some_and(is_queued) {
                    return Some(self.start(id, now));
                }
                continue;
            }
            let Reverse((moment, id)) = *self.moments.peek().filter(|it| it.0.0 <= now)?;
            self.moments.pop();
            let Some(target) = self.targets.get_mut(&id) else { continue };
            match target.phase {
                Phase::Waiting { until } if until == moment => {
                    target.phase = Phase::Queued;
                    self.queue.push_back(id);
                }
                Phase::InFlight { since, until, lost, was_asked } if until == moment => {
                    let timeout = target.rules.timeout;
                    let missed = now.since(until).max(self.lost - lost);
                    if missed <= timeout / LATE {
                        let finding = self.finish(id, false, now)?;
                        return Some(Action::TimedOut(id, finding));
                    }
                    let until = now + missed.min(timeout);
                    if until > since + timeout * TIMEOUTS_MAX {
                        self.voids += 1;
                        self.rest(id, now);
                        return Some(Action::Void(id));
                    }
                    target.phase = Phase::InFlight { since, until, lost: self.lost, was_asked };
                    self.moments.push(Reverse((until, id)));
                }
                _ => {}
            }
        }
    }

    /// Folds in the result of the probe in flight; `None` if there is none.
    pub fn finish(&mut self, id: u64, has_passed: bool, now: Instant) -> Option<Finding> {
        let target = self.targets.get_mut(&id)?;
        let Phase::InFlight { was_asked, .. } = target.phase else { return None };
        let is_new = target.track.observe(has_passed, &target.rules);
        let finding = Finding { verdict: target.track.verdict(), is_new, was_asked };
        self.rest(id, now);
        Some(finding)
    }

    /// The probe in flight could not be made, for a reason on this side. It says nothing.
    pub fn give_up(&mut self, id: u64, now: Instant) {
        self.voids += 1;
        self.rest(id, now);
    }

    /// Probes in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many probes were void.
    #[must_use]
    pub fn voids(&self) -> u64 {
        self.voids
    }

    fn start(&mut self, id: u64, now: Instant) -> Action {
        if let Some(target) = self.targets.get_mut(&id) {
            let until = now + target.rules.timeout;
            let was_asked = std::mem::take(&mut target.is_asked);
            target.phase = Phase::InFlight { since: now, until, lost: self.lost, was_asked };
            self.moments.push(Reverse((until, id)));
            self.in_flight += 1;
        }
        Action::Start(id)
    }

    /// Waits for the next probe of a target whose probe is over.
    fn rest(&mut self, id: u64, now: Instant) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        let Phase::InFlight { since, .. } = target.phase else { return };
        self.in_flight -= 1;
        let pause = target.track.pause(&target.rules);
        let is_asked = target.is_asked;
        let pause = match std::mem::take(&mut target.is_first) {
            true => self.portion(pause),
            // Between 0.9 and 1.1 of it, for ever: what has come together drifts apart.
            false => pause - pause / 10 + self.portion(pause / 5),
        };
        let until = if is_asked { now } else { (since + pause).max(now) };
        if let Some(target) = self.targets.get_mut(&id) {
            target.phase = Phase::Waiting { until };
        }
        self.moments.push(Reverse((until, id)));
    }

    /// A random part of `whole`.
    fn portion(&mut self, whole: Duration) -> Duration {
        // SplitMix64 (Steele et al., 2014)
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(z.checked_rem(nanos).unwrap_or(0))
    }
}
