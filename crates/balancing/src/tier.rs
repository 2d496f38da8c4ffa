//! Backends that are tried together, and their turn.

use crate::attempt::Attempt;
use crate::backend::Backend;
use crate::backends::Backends;
use crate::bound::LoadBound;
use crate::crowd::Crowd;
use crate::health::{Health, HealthLimits};
use crate::model::{FailoverScope, Policy};
use crate::plan::{Plan, Planned};
use crate::sync::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;
use terms::Instant;

/// Backends that are tried together before the next tier is considered.
#[derive(Clone, Debug, Default)]
pub struct Tier {
    /// How a backend is chosen.
    pub policy: Policy,
    /// What may be tried after a failure.
    pub failover: FailoverScope,
    /// The backends.
    pub backends: Backends,
    /// The turn. Outlives snapshots.
    pub cursor: Arc<Cursor>,
    /// How much more than its share of the sessions a backend may have, if the policy is a hash.
    pub load_bound: Option<LoadBound>,
    /// How long it takes until a backend that has become available gets its whole share.
    pub warm_up: Option<Duration>,
    /// Whether agents may grant backends only a part of their sessions.
    pub has_agents: bool,
    /// What the policy computes beforehand.
    pub plan: Plan,
}

/// A tier's turn, and the place that it took last. Shared by all workers.
#[derive(Debug, Default)]
pub struct Cursor {
    turn: AtomicU32,
    /// Place of the backend taken last, plus one; zero if there is none yet.
    taken: AtomicU32,
    /// The sessions of the whole tier, if a load bound has them counted.
    crowd: Arc<Crowd>,
    /// A [`Stance`].
    stance: AtomicU32,
}

/// What a tier does about too few backends that are available. Decided by the
/// [`Ejector`](crate::Ejector).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stance {
    /// There are enough.
    #[default]
    Normal,
    /// Health is ignored: all that are enabled take sessions.
    FailOpen,
    /// No backend takes sessions, so that those that are left can serve the ones they have.
    Refuse,
}

impl Tier {
    /// Computes what the policy needs before the first session, which may take a tenth of a second
    /// for thousands of backends. What `running`, the tier before a change, has is used again.
    #[must_use]
    pub fn prepare(mut self, running: Option<&Self>) -> Self {
        self.cursor = running.map_or(self.cursor, |running| Arc::clone(&running.cursor));
        self.plan = Plan::of(self.policy, &self.backends, running.map(|running| &running.plan));
        self.counted()
    }

    /// Has the sessions of its backends counted in its own cursor, if there is a bound, or nowhere.
    pub(crate) fn counted(mut self) -> Self {
        let is_bound = self.load_bound.is_some() && self.policy.has_load_bound();
        let crowd = is_bound.then_some(&self.cursor.crowd);
        if !self.backends.iter().all(|it| it.is_counted_in(crowd)) {
            let counted = |it: &Arc<Backend>| Arc::new(it.counted_in(crowd.map(Arc::clone)));
            self.backends = self.backends.iter().map(counted).collect();
        }
        self
    }

    /// Whether a backend may get only a part of its share.
    pub(crate) fn has_parts(&self) -> bool {
        self.warm_up.is_some() || self.has_agents
    }

    pub(crate) fn planned(&self) -> &Planned {
        self.plan.get(self.policy, &self.backends)
    }

    /// A backend's weight, where the policy minds weights.
    pub(crate) fn weight(&self, place: usize) -> u32 {
        if self.policy.minds_weight() { self.backends[place].weight } else { 1 }
    }

    /// The sessions that count for [`Self::load_bound`].
    pub(crate) fn crowd(&self) -> u32 {
        self.cursor.crowd.sessions()
    }

    /// The place of the backend taken last, by any policy; `None` if there was none, or if the pool
    /// has no affinity table, because then it is not recorded.
    #[must_use]
    pub fn last_taken(&self) -> Option<usize> {
        (self.cursor.taken.load(Relaxed) as usize).checked_sub(1)
    }

    /// Notes in a search which kinds of backends it has skipped here.
    pub(crate) fn note_skipped(&self, attempt: &mut Attempt, limits: &HealthLimits, now: Instant) {
        for health in self.backends.iter().map(|backend| backend.state.health()) {
            match health {
                Health::Unknown => attempt.has_unknown = true,
                _ => attempt.left_out |= health.is_left_out(limits, now),
            }
        }
    }
}

impl Cursor {
    /// A turn of its own that is where another is.
    pub(crate) fn copy(other: &Self) -> Self {
        Self {
            turn: AtomicU32::new(other.turn.load(Relaxed)),
            taken: AtomicU32::new(other.taken.load(Relaxed)),
            crowd: Arc::new(Crowd::copy(&other.crowd)),
            stance: AtomicU32::new(other.stance.load(Relaxed)),
        }
    }

    /// What the tier does about too few available backends.
    #[must_use]
    pub fn stance(&self) -> Stance {
        match self.stance.load(Relaxed) {
            0 => Stance::Normal,
            1 => Stance::FailOpen,
            _ => Stance::Refuse,
        }
    }

    pub(crate) fn set_stance(&self, stance: Stance) {
        self.stance.store(stance as u32, Relaxed);
    }

    /// The turn and the place taken last, for another process.
    #[must_use]
    pub fn state(&self) -> [u32; 2] {
        [self.turn.load(Relaxed), self.taken.load(Relaxed)]
    }

    /// Continues where another process was.
    pub fn restore(&self, [turn, taken]: [u32; 2]) {
        self.turn.store(turn, Relaxed);
        self.taken.store(taken, Relaxed);
    }

    pub(crate) fn turn(&self) -> usize {
        self.turn.load(Relaxed) as usize
    }

    /// Moves on from `turn`; false if another worker did so first.
    pub(crate) fn advance(&self, turn: usize, next: usize) -> bool {
        self.turn.compare_exchange(turn as u32, next as u32, Relaxed, Relaxed).is_ok()
    }

    /// Takes the next turn, which is below `of`.
    pub(crate) fn take_turn(&self, of: usize) -> usize {
        loop {
            let turn = self.turn();
            if self.advance(turn, (turn + 1) % of) {
                return turn % of;
            }
        }
    }

    pub(crate) fn set(&self, next: usize) {
        self.turn.store(next as u32, Relaxed);
    }

    pub(crate) fn restart(&self) {
        self.set(0);
    }

    pub(crate) fn set_taken(&self, index: Option<u32>) {
        let taken = index.map_or(0, |index| index.saturating_add(1));
        self.taken.store(taken, Relaxed);
    }
}
