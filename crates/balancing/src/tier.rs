//! Backends that are tried together, and their turn.

use crate::attempt::Attempt;
use crate::backends::Backends;
use crate::health::{Health, HealthLimits};
use crate::model::{FailoverScope, Policy};
use crate::sync::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;
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
}

/// A tier's turn, and the place that it took last. Shared by all workers.
#[derive(Debug, Default)]
pub struct Cursor {
    turn: AtomicU32,
    /// Place of the backend taken last, plus one; zero if there is none yet.
    taken: AtomicU32,
}

impl Tier {
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
        }
    }

    pub(crate) fn turn(&self) -> usize {
        self.turn.load(Relaxed) as usize
    }

    /// Moves on from `turn`; false if another worker did so first.
    pub(crate) fn advance(&self, turn: usize, next: usize) -> bool {
        self.turn.compare_exchange(turn as u32, next as u32, Relaxed, Relaxed).is_ok()
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
