//! The policies by which a tier chooses a backend, one file each.
//!
//! A policy sees a [`View`] and takes a place at the backend that it chooses, so that an exact
//! limit and an exact turn cost one atomic step each.

mod address_hash;
mod consistent;
mod fastest;
mod hash;
mod least_sessions;
mod least_weighted;
mod priority;
mod random;
mod rotation;
mod round_robin;
mod two;
mod weighted;
mod weighted_turn;

use crate::attempt::{Attempt, Reach};
use crate::backend::Lease;
use crate::hash::mix;
use crate::health::{Health, HealthLimits};
#[cfg(doc)]
use crate::tier::Stance;
use crate::tier::Tier;
use crate::{FailoverScope, Policy};
use std::cell::Cell;
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
    /// Whether backends are taken whatever their health: see [`Stance::FailOpen`].
    pub ignores_health: bool,
    pub now: Instant,
    /// Whether backends that get only a part of their share are passed over now and then.
    pub spares: bool,
    /// Whether one was.
    pub has_spared: Cell<bool>,
}

/// The place in a tier that was taken.
pub(crate) struct Choice {
    pub index: usize,
    pub lease: Lease,
}

/// More draws than a policy makes at once.
const DRAWS_MAX: u64 = 32;

impl View<'_> {
    pub fn choose(&mut self) -> Option<Choice> {
        let choice = self.choose_once();
        if choice.is_none() && self.has_spared.get() {
            self.spares = false; // there are no others
            return self.choose_once();
        }
        choice
    }

    fn choose_once(&self) -> Option<Choice> {
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
            Policy::WeightedTurn => weighted_turn::choose(self),
            Policy::LeastWeighted => least_weighted::choose(self),
            Policy::Two => two::choose(self, two::has_more_sessions),
            Policy::Fastest => two::choose(self, fastest::is_slower),
            Policy::Maglev => consistent::maglev(self),
            Policy::Rendezvous => consistent::rendezvous(self),
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
        self.take_below(index, u32::MAX)
    }

    /// Likewise, if the backend has fewer than `most` sessions.
    fn take_below(&self, index: usize, most: u32) -> Option<Choice> {
        if !self.is_offered(index) || !self.is_permitted(index) || self.is_spared(index) {
            return None;
        }
        let backend = &self.tier.backends[index];
        let lease = Lease::take_below(backend, self.is_remembered(index), most)?;
        Some(Choice { index, lease })
    }

    /// Whether [`Self::take`] is likely to succeed, at a backend with a weight.
    fn is_able(&self, index: usize) -> bool {
        self.weight(index) > 0
            && self.tier.backends[index].state.is_usable(self.is_remembered(index))
            && self.is_offered(index)
            && self.is_permitted(index)
            && !self.is_spared(index)
    }

    /// Takes the place with the smallest score, the first one from the turn on among equals. Places
    /// without a score are not taken.
    fn take_best<S: Ord>(&self, score: impl Fn(usize) -> Option<S>) -> Option<Choice> {
        let cursor = &self.tier.cursor;
        // Few backends have an access list: the lists are read only after a backend refused.
        let mut is_refused = false;
        loop {
            let able = self.circle(cursor.turn() % self.len()).filter(|&index| {
                self.is_offered(index)
                    && self.tier.backends[index].state.is_usable(self.is_remembered(index))
                    && (!is_refused || self.is_permitted(index))
            });
            let scored = able.filter_map(|index| Some((score(index)?, index)));
            let (_, best) = scored.min_by(|(a, _), (b, _)| a.cmp(b))?;
            if !self.is_permitted(best) {
                is_refused = true;
            } else if let Some(choice) = self.take(best) {
                cursor.set((best + 1) % self.len());
                return Some(choice);
            }
            // Between looking and taking, another worker may have filled it: look again.
        }
    }

    /// The backend's weight, where the policy minds weights.
    fn weight(&self, index: usize) -> u32 {
        self.tier.weight(index)
    }

    /// The part of its share that a backend gets at present.
    fn part(&self, index: usize) -> f64 {
        let state = &self.tier.backends[index].state;
        let warm = |length| state.warmth().part(length, self.now);
        let granted = match self.tier.has_agents {
            true => f64::from(state.granted_percent()) / 100.0,
            false => 1.0,
        };
        self.tier.warm_up.map_or(1.0, warm) * granted
    }

    /// Whether a backend that gets only a part of its share is passed over this time. Where clients
    /// belong to backends, this depends on the client, so that each returns once.
    fn is_spared(&self, index: usize) -> bool {
        if !self.spares {
            return false;
        }
        let part = self.part(index);
        if part >= 1.0 {
            return false;
        }
        let key = match self.tier.policy.is_hash() {
            true => self.attempt.client_hash().into(),
            false => self.attempt.seed,
        };
        let draw = mix(key ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let is_spared = (draw >> 11) as f64 / (1u64 << 53) as f64 >= part;
        self.has_spared.set(self.has_spared.get() || is_spared);
        is_spared
    }

    /// Sessions, one more included, for the backend's weight.
    fn load(&self, index: usize) -> f64 {
        let sessions = self.tier.backends[index].state.sessions();
        f64::from(sessions.saturating_add(1)) / (f64::from(self.weight(index)) * self.part(index))
    }

    /// How many sessions the backend may have, if those that can take them have this weight together.
    fn bound(&self, index: usize, weight: u64) -> u32 {
        let bound = self.tier.load_bound;
        bound.map_or(u32::MAX, |it| it.limit(self.tier.crowd(), self.weight(index), weight))
    }

    /// The session's random number of this number.
    fn draw(&self, nth: u64) -> u64 {
        let salt = nth + 1 + self.attempt.tried_count() as u64 * DRAWS_MAX;
        mix(self.attempt.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15))
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
            _ if self.ignores_health => false,
            Health::Unknown => self.attempt.reach == Reach::Available,
            health => health.is_left_out(self.limits, self.now),
        }
    }

    /// Takes the first available place at `start` or after it, once round the circle.
    fn take_in_circle(&self, start: usize) -> Option<Choice> {
        self.circle(start).find_map(|index| self.take(index))
    }

    /// All places, from `start` on.
    fn circle(&self, start: usize) -> impl Iterator<Item = usize> + use<> {
        let len = self.len();
        (start..len).chain(0..start)
    }

    /// Whether a backend is neither disabled nor skipped; it may be full.
    fn is_in_service(&self, index: usize) -> bool {
        let backend = &self.tier.backends[index];
        backend.state.is_in_service() && !self.is_left_out(index)
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
