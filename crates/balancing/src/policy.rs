//! The rules by which a tier orders its backends, one file each.
//!
//! A rule sees a [`View`] and takes a place at the backend it chooses, so that an exact limit and
//! an exact turn cost one atomic step each.

mod hash;
mod least_sessions;
mod random;
mod round_robin;

use crate::backend::Lease;
use crate::health::HealthLimits;
use crate::pool::{Attempt, Tier};
use crate::{FailoverScope, Instant, Policy};

/// What a rule may look at.
pub(crate) struct View<'a> {
    pub tier: &'a Tier,
    pub attempt: &'a Attempt,
    /// Place in the whole pool of the tier's first backend.
    pub first_ordinal: usize,
    pub limits: &'a HealthLimits,
    pub now: Instant,
}

/// Where in a tier a place was taken.
pub(crate) struct Choice {
    pub index: usize,
    pub lease: Lease,
}

impl View<'_> {
    pub fn choose(&self) -> Option<Choice> {
        if self.tier.backends.is_empty() {
            return None;
        }
        match self.tier.policy {
            Policy::RoundRobin => round_robin::choose(self),
            Policy::Hash => hash::choose(self),
            Policy::LeastSessions => least_sessions::choose(self),
            Policy::Random => random::choose(self),
        }
    }

    fn len(&self) -> usize {
        self.tier.backends.len()
    }

    /// Takes a place at `index`, unless it was tried, is out of service, full or left out.
    fn take(&self, index: usize) -> Option<Choice> {
        if !self.is_offered(index) {
            return None;
        }
        let lease = Lease::take(&self.tier.backends[index])?;
        Some(Choice { index, lease })
    }

    fn is_offered(&self, index: usize) -> bool {
        let state = &self.tier.backends[index].state;
        !self.attempt.has_tried(self.first_ordinal + index)
            && (self.attempt.is_last_resort() || !state.health().is_left_out(self.limits, self.now))
    }

    /// Takes the first place to be had at `start` or after it, once round the circle.
    fn take_in_circle(&self, start: usize) -> Option<Choice> {
        let len = self.len();
        (0..len).find_map(|step| self.take((start + step) % len))
    }

    /// Whether other backends of this tier may stand in for the one the rule names.
    fn may_stand_in(&self) -> bool {
        self.tier.failover == FailoverScope::WholeTier
    }
}
