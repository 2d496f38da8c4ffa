//! Backends whose sessions fail are skipped, and what a tier does when too few are left.

use crate::backend::{Backend, Quality};
use crate::health::{Health, HealthLimits};
use crate::model::Policy;
use crate::percent::Percent;
use crate::pool::{Pool, Thin};
use crate::tier::{Stance, Tier};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, Instant};

/// Watches the sessions of backends, and ejects those that serve them badly.
///
/// ~~~text
///            half of 20 sessions failed, or they took three times the others' time
///   in use --------------------------------------------------------------------> ejected
///      ^                                                                            |
///      |            without probes: at once                                         | its time
///      `------------ with probes: when one has passed <----- on trial <------------' has passed
/// ~~~
///
/// Connects alone do not show that: a server that hangs accepts them, and so does one that closes
/// them again. What sessions came to is counted by the workers ([`BackendState::quality`]); whoever
/// owns the pools calls [`Self::turn`] now and then, so that the limits on how much of a tier may be
/// ejected are exact.
///
/// [`BackendState::quality`]: crate::BackendState::quality
#[derive(Debug, Default)]
pub struct Ejector {
    records: BTreeMap<BackendId, Record>,
    was_needed: bool,
}

/// What is known about a backend.
#[derive(Debug)]
struct Record {
    /// What was counted at the beginning of each of the last seconds, the oldest first.
    past: VecDeque<(Instant, Quality)>,
    phase: Phase,
    /// Ejections in a row.
    times: u32,
    /// Since when it has given no cause for another one.
    good_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    InUse,
    Ejected,
    /// A probe is to show whether it can be used again.
    OnTrial,
}

/// Something that the [`Ejector`] has changed.
#[derive(Debug)]
pub enum QualityChange {
    /// A backend is skipped for this time.
    Ejected(Arc<Backend>, Complaint, Duration),
    /// The time of a backend has passed: it is to be probed.
    OnTrial(Arc<Backend>),
    /// A backend is in use again.
    Recovered(Arc<Backend>),
    /// A tier has another stance.
    Stance {
        /// The tier's number.
        tier: usize,
        /// What it does now.
        stance: Stance,
        /// The backends that are available.
        available: usize,
        /// The backends that are enabled.
        enabled: usize,
    },
}

/// Why a backend is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The number of sessions that failed, and of all.
    Failed(u64, u64),
    /// How long sessions waited for their answers, and how long at other backends.
    Slow(Duration, Duration),
}

/// A backend is judged by the sessions of this last period.
const WINDOW: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_secs(1);
/// A backend with fewer sessions in the window is not judged.
const SESSIONS_LEAST: u64 = 20;
/// The same for a backend that was ejected recently.
const SESSIONS_LEAST_AGAIN: u64 = 5;
/// A backend is slow if its sessions wait more than this many times as long as is usual in the tier,
/// and longer than is usual by more than the excess.
const SLOW_FACTOR: u32 = 3;
const SLOW_EXCESS: Duration = Duration::from_millis(50);
const LENGTH_LEAST: Duration = Duration::from_secs(1);
const LENGTH_MOST: Duration = Duration::from_secs(300);
/// One ejection is forgotten after this time without a cause for another.
const FORGIVEN: Duration = Duration::from_secs(60);

/// For how long a backend is skipped: for a quarantine, doubled with each further time.
pub(crate) fn length(limits: &HealthLimits, times: u32) -> Duration {
    let first = limits.quarantine.max(LENGTH_LEAST);
    let doubled = first.checked_mul(1 << times.saturating_sub(1).min(20));
    doubled.map_or(LENGTH_MOST, |it| it.min(LENGTH_MOST.max(first)))
}

impl Ejector {
    /// Whether there was something to do in the last turn, so that something may have to be undone.
    #[must_use]
    pub fn was_needed(&self) -> bool {
        self.was_needed
    }

    /// Looks at all pools, each with whether its backends are probed, and returns what has changed,
    /// with the place of the pool. Pools that are not among them are forgotten.
    pub fn turn<'a>(
        &mut self,
        pools: impl Iterator<Item = (&'a Pool, bool)>,
        now: Instant,
    ) -> Vec<(usize, QualityChange)> {
        self.was_needed = false;
        let (mut changes, mut before) = (Vec::new(), std::mem::take(&mut self.records));
        for (place, (pool, is_probed)) in pools.enumerate() {
            let mut note = |change| changes.push((place, change));
            self.was_needed |= pool.is_judged();
            for (number, tier) in pool.tiers.iter().enumerate() {
                match pool.eject_most {
                    Some(most) => {
                        for backend in tier.backends.iter() {
                            let record = before.remove(&backend.id);
                            let mut record = record.unwrap_or_else(|| Record::new(backend, now));
                            record.watch(backend, &pool.health, is_probed, &mut note, now);
                            self.records.insert(backend.id, record);
                        }
                        self.eject(pool, tier, most, &mut note, now);
                    }
                    None => tier.backends.iter().for_each(|it| readmit(it, &mut note)),
                }
                take_stance(pool, tier, number, &mut note, now);
            }
        }
        changes
    }

    /// Ejects those that are worst, as many as may be.
    fn eject(
        &mut self,
        pool: &Pool,
        tier: &Tier,
        most: Percent,
        note: &mut impl FnMut(QualityChange),
        now: Instant,
    ) {
        let enabled = || tier.backends.iter().filter(|it| it.state.is_in_service());
        let is_out = |it: &&Arc<Backend>| it.state.health().is_left_out(&pool.health, now);
        let recent = |it: &Arc<Backend>| self.records.get(&it.id).map(|it| it.recent());
        let judged = enabled().filter(|it| !is_out(it)).filter_map(|it| Some((it, recent(it)?)));
        let judged: Vec<_> = judged.map(|(it, recent)| (it, recent.since(it))).collect();
        let usual = match tier.policy {
            Policy::Fastest => usual_wait(judged.iter().map(|(_, quality)| quality)),
            _ => None,
        };
        let complaint = |(it, quality): &(&Arc<Backend>, Quality)| {
            let least = match self.records.get(&it.id).map_or(0, |it| it.times) {
                0 => SESSIONS_LEAST,
                _ => SESSIONS_LEAST_AGAIN,
            };
            let (badness, complaint) = quality.complaint(least, usual)?;
            Some((badness, Arc::clone(it), complaint))
        };
        let mut bad: Vec<_> = judged.iter().filter_map(complaint).collect();
        if bad.is_empty() {
            return;
        }
        bad.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        let room =
            most.of(enabled().count()).max(1).saturating_sub(enabled().filter(is_out).count());
        for (nth, (_, backend, complaint)) in bad.into_iter().enumerate() {
            let Some(record) = self.records.get_mut(&backend.id) else { continue };
            record.good_since = now;
            if nth < room {
                record.times = record.times.saturating_add(1);
                record.phase = Phase::Ejected;
                backend.state.set_health(Health::Ejected { since: now, times: record.times });
                let length = length(&pool.health, record.times);
                note(QualityChange::Ejected(backend, complaint, length));
            }
        }
    }
}

impl Record {
    fn new(backend: &Backend, now: Instant) -> Self {
        // An earlier process may have ejected it.
        let (phase, times) = match backend.state.health() {
            Health::Ejected { times, .. } => (Phase::Ejected, times),
            _ => (Phase::InUse, 0),
        };
        let past = VecDeque::from([(now, backend.state.quality())]);
        Self { past, phase, times, good_since: now }
    }

    /// What was counted before the window.
    fn recent(&self) -> Quality {
        self.past.front().map_or(Quality::default(), |(_, quality)| *quality)
    }

    fn watch(
        &mut self,
        backend: &Arc<Backend>,
        limits: &HealthLimits,
        is_probed: bool,
        note: &mut impl FnMut(QualityChange),
        now: Instant,
    ) {
        match (self.phase, backend.state.health()) {
            (Phase::Ejected, Health::Ejected { since, times }) => {
                if now < since + length(limits, times) {
                    return;
                }
                if is_probed {
                    self.phase = Phase::OnTrial;
                    backend.state.set_health(Health::Unknown);
                    return note(QualityChange::OnTrial(Arc::clone(backend)));
                }
                self.begin_anew(backend, now);
                backend.state.set_health(Health::default());
                return note(QualityChange::Recovered(Arc::clone(backend)));
            }
            // Not every probe says something.
            (Phase::OnTrial, Health::Unknown) if is_probed => {
                return note(QualityChange::OnTrial(Arc::clone(backend)));
            }
            (Phase::Ejected | Phase::OnTrial, health) => {
                self.begin_anew(backend, now);
                if !health.is_left_out(limits, now) {
                    note(QualityChange::Recovered(Arc::clone(backend)));
                }
            }
            (Phase::InUse, Health::Ejected { times, .. }) => {
                (self.phase, self.times) = (Phase::Ejected, times);
                return;
            }
            (Phase::InUse, _) => {}
        }
        if self.times > 0 && now.since(self.good_since) >= FORGIVEN {
            (self.times, self.good_since) = (self.times - 1, self.good_since + FORGIVEN);
        }
        if self.past.back().is_none_or(|(last, _)| now.since(*last) >= STEP) {
            self.past.push_back((now, backend.state.quality()));
        }
        while self.past.get(1).is_some_and(|(second, _)| now.since(*second) >= WINDOW) {
            self.past.pop_front();
        }
    }

    /// What happened until now no longer counts.
    fn begin_anew(&mut self, backend: &Backend, now: Instant) {
        self.phase = Phase::InUse;
        self.past = VecDeque::from([(now, backend.state.quality())]);
        self.good_since = now;
    }
}

impl Quality {
    /// What was counted since this was.
    fn since(self, backend: &Backend) -> Self {
        let now = backend.state.quality();
        Self {
            answers: now.answers.saturating_sub(self.answers),
            answer_micros: now.answer_micros.saturating_sub(self.answer_micros),
            failures: now.failures.saturating_sub(self.failures),
        }
    }

    /// What there is to complain about, and how much, if there are enough sessions. `usual` is how
    /// long others have to wait.
    fn complaint(&self, sessions_least: u64, usual: Option<Duration>) -> Option<(u64, Complaint)> {
        let sessions = self.answers + self.failures;
        if sessions < sessions_least {
            None
        } else if self.failures * 2 >= sessions {
            // Those that fail are worse than those that are slow.
            let badness = u64::MAX / 2 + self.failures * 1000 / sessions;
            Some((badness, Complaint::Failed(self.failures, sessions)))
        } else {
            let (wait, usual) = (self.wait()?, usual?);
            let is_slow = wait > usual * SLOW_FACTOR && wait > usual + SLOW_EXCESS;
            let badness = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / 4;
            is_slow.then_some((badness, Complaint::Slow(wait, usual)))
        }
    }

    /// The mean time that sessions had to wait.
    fn wait(&self) -> Option<Duration> {
        self.answer_micros.checked_div(self.answers).map(Duration::from_micros)
    }
}

/// The median of the waits of backends that have enough sessions; the lower one of two.
fn usual_wait<'a>(all: impl Iterator<Item = &'a Quality>) -> Option<Duration> {
    let judged = all.filter(|it| it.answers >= SESSIONS_LEAST_AGAIN);
    let mut waits: Vec<_> = judged.filter_map(Quality::wait).collect();
    waits.sort_unstable();
    waits.get(waits.len().checked_sub(1)? / 2).copied()
}

/// Ends an ejection that nobody is to end.
fn readmit(backend: &Arc<Backend>, note: &mut impl FnMut(QualityChange)) {
    if matches!(backend.state.health(), Health::Ejected { .. }) {
        backend.state.set_health(Health::default());
        note(QualityChange::Recovered(Arc::clone(backend)));
    }
}

/// Decides what a tier does about the backends that are not available.
fn take_stance(
    pool: &Pool,
    tier: &Tier,
    number: usize,
    note: &mut impl FnMut(QualityChange),
    now: Instant,
) {
    let (mut weights, mut numbers) = ([0u64; 2], [0usize; 2]);
    let has_weights = tier.policy.minds_weight();
    for backend in tier.backends.iter().filter(|it| it.state.is_in_service()) {
        let weight = if has_weights { u64::from(backend.weight) } else { 1 };
        let health = backend.state.health();
        let is_there = health == Health::Unknown || !health.is_left_out(&pool.health, now);
        let is_there = is_there && !backend.addresses.is_empty();
        for (index, counts) in [is_there, true].into_iter().enumerate() {
            weights[index] += if counts { weight } else { 0 };
            numbers[index] += usize::from(counts);
        }
    }
    let ([available_weight, weight], [available, enabled]) = (weights, numbers);
    let stance = match pool.thin {
        Some(Thin::FailOpenBelow(least)) if least.is_above(available_weight, weight) => {
            Stance::FailOpen
        }
        Some(Thin::RefuseBelow(least)) if least.is_above(available_weight, weight) => {
            Stance::Refuse
        }
        Some(_) | None => Stance::Normal,
    };
    if tier.cursor.stance() != stance {
        tier.cursor.set_stance(stance);
        note(QualityChange::Stance { tier: number, stance, available, enabled });
    }
}
