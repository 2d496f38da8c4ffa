//! The policies by which a tier chooses a backend, one file each.
//!
//! A policy sees a [`View`] and takes a place at the backend that it chooses, so that an exact
//! limit and an exact turn cost one atomic step each.

mod address_hash;
mod hash;
mod least_sessions;
mod priority;
mod random;
mod rotation;
mod round_robin;
mod weighted;

use crate::attempt::{Attempt, Reach};
use crate::backend::Lease;
use crate::health::{Health, HealthLimits};
use crate::tier::Tier;
use crate::{AdminState, FailoverScope, Policy};
use terms::Instant;

/// What a policy can see.
pub(crate) struct View<'a> {
    pub tier: &'a Tier,
    pub attempt: &'a Attempt,
    /// Place in the whole pool of the tier's first backend.
    pub first_ordinal: usize,
    /// The place in this tier that the affinity table has for the client.
    pub remembered: Option<usize>,
    /// Whether the client is sent there first.
    pub is_sticky: bool,
    pub limits: &'a HealthLimits,
    pub now: Instant,
}

/// The place in a tier that was taken.
pub(crate) struct Choice {
    pub index: usize,
    pub lease: Lease,
}

impl View<'_> {
    pub fn choose(&self) -> Option<Choice> {
        if self.tier.backends.is_empty() {
            return None;
        }
        if let Some(home) = self.home() {
            return self.take_from(home);
        }
        match self.tier.policy {
            Policy::RoundRobin => round_robin::choose(self),
            Policy::Hash => hash::choose(self),
            Policy::LeastSessions => least_sessions::choose(self),
            Policy::Random => random::choose(self),
            Policy::Rotation => rotation::choose(self),
            Policy::AddressHash | Policy::AddressPortHash => address_hash::choose(self),
            Policy::Weighted => weighted::choose(self),
            Policy::Priority => priority::choose(self),
        }
    }

    /// The backend that the client is remembered with, which comes before any policy.
    fn home(&self) -> Option<usize> {
        let is_first_choice = self.is_sticky && self.attempt.last_index().is_none();
        self.remembered.filter(|_| is_first_choice)
    }

    fn len(&self) -> usize {
        self.tier.backends.len()
    }

    /// Takes a place at `index`, unless that backend was tried, is out of service, full or skipped,
    /// or does not admit this client.
    fn take(&self, index: usize) -> Option<Choice> {
        if !self.is_offered(index) || !self.is_permitted(index) {
            return None;
        }
        let lease = Lease::take(&self.tier.backends[index], self.is_remembered(index))?;
        Some(Choice { index, lease })
    }

    /// Whether the affinity table has this place for the client.
    fn is_remembered(&self, index: usize) -> bool {
        self.remembered == Some(index)
    }

    /// Whether the backend's own access list permits the client.
    fn is_permitted(&self, index: usize) -> bool {
        self.tier.backends[index].access.permits(self.attempt.client())
    }

    fn is_offered(&self, index: usize) -> bool {
        !self.attempt.has_tried(self.first_ordinal + index)
            && (self.attempt.reach == Reach::LastResort || !self.is_left_out(index))
    }

    /// Whether the backend is skipped, as far as this search has come.
    fn is_left_out(&self, index: usize) -> bool {
        match self.tier.backends[index].state.health() {
            Health::Unknown => self.attempt.reach == Reach::Available,
            health => health.is_left_out(self.limits, self.now),
        }
    }

    /// Takes the first available place at `start` or after it, once round the circle.
    fn take_in_circle(&self, start: usize) -> Option<Choice> {
        let len = self.len();
        (0..len).find_map(|step| self.take((start + step) % len))
    }

    /// Whether a backend is neither disabled nor skipped; it may be full.
    fn is_in_service(&self, index: usize) -> bool {
        let backend = &self.tier.backends[index];
        backend.state.admin() == AdminState::Enabled && !self.is_left_out(index)
    }

    /// Takes a place at `home`, or, if the scope allows, the first available one after it.
    fn take_from(&self, home: usize) -> Option<Choice> {
        if self.may_stand_in() { self.take_in_circle(home) } else { self.take(home) }
    }

    /// Whether other backends of this tier may replace the one that the policy selects.
    fn may_stand_in(&self) -> bool {
        self.tier.failover == FailoverScope::WholeTier
    }
}
