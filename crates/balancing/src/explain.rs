//! Why a client would be sent where it would be sent: a dry run of the choice.
//!
//! The choice itself is not described a second time here. A rehearsal is a copy of the pool, with the
//! state that workers share copied too, on which [`Pool::next_backend`] may take places and turns.

use crate::access::Decision;
use crate::attempt::{Attempt, Reach};
use crate::backend::Backend;
use crate::health::{Health, Outcome};
use crate::model::{AdminState, Policy};
use crate::pool::Pool;
use crate::{BackendState, Client, Cursor, FailoverScope, Tier};
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, Instant, Limit};

/// What would become of a client's next session, and why. Made by [`Pool::explain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the pool's access list says about the client.
    pub access: Decision,
    /// The backend of the first tier that the affinity table has for the client.
    pub remembered: Option<BackendId>,
    /// Whether the client is sent there, whatever the policy says.
    pub returns: bool,
    /// Whether backends that are skipped are tried, because nothing else is left.
    pub is_last_resort: bool,
    /// The places that would be tried, as long as connects fail; at most [`Self::TRIES_MAX`].
    pub tries: Vec<Place>,
    /// Why the first of them was chosen, or why the others were not, for every backend of every
    /// tier, in order.
    pub reasons: Vec<Vec<Reason>>,
}

/// The place of a backend in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a tier.
    InTier {
        /// The tier's number.
        tier: usize,
        /// The place in it.
        index: usize,
    },
    /// The reject backend.
    Reject,
}

/// Why a backend would get the session, or would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It would.
    Chosen,
    /// The pool's access list denies the client.
    Denied,
    /// An operator has disabled it, or `auto_disable` has.
    Disabled,
    /// An operator drains it.
    Draining,
    /// Its agent wants no new sessions.
    Declined,
    /// It failed, and is skipped for this time.
    Quarantined(Duration),
    /// Probes have failed since then.
    Down(Instant),
    /// Its sessions failed, and it is skipped for this time.
    Ejected(Duration),
    /// Too few backends of its tier are available, so that none takes a session.
    Refusing,
    /// Nothing is known about it yet, and others are available.
    Unknown,
    /// It has as many sessions as it may have.
    Full(Limit),
    /// Its own access list denies the client.
    NotPermitted(Decision),
    /// It has no weight, which its tier's policy goes by.
    NoWeight,
    /// It is available, but its tier's policy selects another backend, which is not, and no other may
    /// replace that one.
    NoStandIn,
    /// A tier before its own has a backend for the client.
    LaterTier,
    /// A tier before its own has none, and with its failover scope, the search ends there.
    NotReached,
    /// It is available, but the client returns to the backend that it had before.
    ClientReturns,
    /// It is available, but its tier's policy selects another one.
    NotSelected,
}

impl Explanation {
    /// The maximum number of places in [`Self::tries`].
    pub const TRIES_MAX: usize = 16;
}

impl Pool {
    /// Says what [`Self::next_backend`] would do for a new session of this client, and why, without
    /// doing it: no place, turn or entry is taken. `seed` is that of the session's [`Attempt`].
    ///
    /// Takes time and memory in proportion to the number of backends. What other workers do
    /// meanwhile may or may not be seen.
    #[must_use]
    pub fn explain(&self, client: Client, seed: u64, now: Instant) -> Explanation {
        let rehearsal = self.rehearsal(&client);
        let mut attempt = Attempt::new(client, seed);
        let mut lease = rehearsal.next_backend(&mut attempt, now);
        let chosen = lease.as_ref().and_then(|_| rehearsal.place(&attempt));
        let home =
            attempt.remembered.and_then(|index| self.tiers.first()?.backends.get(index as usize));
        let remembered = home.map(|backend| backend.id);
        let returns = self.sticky && remembered.is_some() && !attempt.is_denied;
        let reasons = self.reasons(&attempt, chosen, returns, now);
        let is_last_resort = chosen.is_some() && attempt.reach == Reach::LastResort;
        let mut tries: Vec<_> = chosen.into_iter().collect();
        while let Some(failed) = lease
            && tries.len() < Explanation::TRIES_MAX
        {
            rehearsal.report(&mut attempt, &failed, Outcome::Failure, now);
            drop(failed);
            lease = rehearsal.next_backend(&mut attempt, now);
            tries.extend(lease.as_ref().and_then(|_| rehearsal.place(&attempt)));
        }
        let access = self.access.decide(&client);
        Explanation { access, remembered, returns, is_last_resort, tries, reasons }
    }

    /// A copy that shares nothing with this pool, except what never changes. Its affinity table
    /// holds at most the entry of this client.
    fn rehearsal(&self, client: &Client) -> Self {
        let copy = |backend: &Arc<Backend>| {
            let state = Arc::new(BackendState::copy(&backend.state));
            Arc::new(Backend { state, ..backend.with_addresses(backend.addresses.clone()) })
        };
        let tiers = self.tiers.iter().map(|tier| {
            let backends = tier.backends.iter().map(copy).collect();
            let cursor = Arc::new(Cursor::copy(&tier.cursor));
            Tier { backends, cursor, ..tier.clone() }.counted()
        });
        Self {
            tiers: tiers.collect(),
            access: Arc::clone(&self.access),
            reject: self.reject.as_ref().map(copy),
            affinity: self.affinity.as_ref().map(|table| Arc::new(table.excerpt(client))),
            ..*self
        }
    }

    /// Where the attempt has taken its last place.
    fn place(&self, attempt: &Attempt) -> Option<Place> {
        let (tier, index) = attempt.place()?;
        Some(match tier < self.tiers.len() {
            true => Place::InTier { tier, index },
            false => Place::Reject,
        })
    }

    /// Why each backend was chosen or not, by a search that has gone as far as this one and has
    /// ended at `chosen`.
    fn reasons(
        &self,
        attempt: &Attempt,
        chosen: Option<Place>,
        returns: bool,
        now: Instant,
    ) -> Vec<Vec<Reason>> {
        let ends = |tier: &Tier| tier.failover == FailoverScope::Nothing;
        let last = self.tiers.iter().position(ends).unwrap_or(self.tiers.len());
        let reason = |tier: &Tier, number: usize, index: usize| {
            let place = Place::InTier { tier: number, index };
            if chosen == Some(place) {
                return Reason::Chosen;
            }
            if attempt.is_denied {
                return Reason::Denied;
            }
            let affine = number == 0 && attempt.remembered == Some(index as u32);
            let own = self.unavailable(tier, &tier.backends[index], affine, attempt, now);
            own.unwrap_or(match chosen {
                Some(Place::InTier { tier, .. }) if tier < number => Reason::LaterTier,
                Some(Place::InTier { tier: 0, .. }) if number == 0 && returns => {
                    Reason::ClientReturns
                }
                Some(Place::InTier { tier, .. }) if tier == number => Reason::NotSelected,
                None if number > last => Reason::NotReached,
                _ => Reason::NoStandIn,
            })
        };
        let of_tier = |(number, tier): (usize, &Tier)| {
            (0..tier.backends.len()).map(|index| reason(tier, number, index)).collect()
        };
        self.tiers.iter().enumerate().map(of_tier).collect()
    }

    /// Why a backend cannot take the session, if it cannot.
    fn unavailable(
        &self,
        tier: &Tier,
        backend: &Backend,
        is_affine: bool,
        attempt: &Attempt,
        now: Instant,
    ) -> Option<Reason> {
        let state = &backend.state;
        match state.admin() {
            AdminState::Enabled if state.granted_percent() == 0 => return Some(Reason::Declined),
            AdminState::Enabled => {}
            AdminState::Disabled => return Some(Reason::Disabled),
            AdminState::Draining => return Some(Reason::Draining),
        }
        // These policies select only among backends in service, even as a last resort.
        let is_strict =
            matches!(tier.policy, Policy::Rotation | Policy::Weighted | Policy::Priority);
        let stance = self.stance(tier);
        let takes_all =
            attempt.reach == Reach::LastResort && !is_strict || stance == crate::Stance::FailOpen;
        match state.health() {
            _ if takes_all => {}
            Health::Healthy { .. } => {}
            Health::Unknown if attempt.reach != Reach::Available => {}
            Health::Unknown => return Some(Reason::Unknown),
            Health::Down { since } => return Some(Reason::Down(since)),
            Health::Ejected { since, times } => {
                let end = since + crate::ejection::length(&self.health, times);
                return Some(Reason::Ejected(end.since(now)));
            }
            health @ Health::Quarantined { since, .. } => {
                if health.is_left_out(&self.health, now) {
                    let rest = (since + self.health.quarantine).since(now);
                    return Some(Reason::Quarantined(rest));
                }
            }
        }
        if stance == crate::Stance::Refuse {
            return Some(Reason::Refusing);
        }
        if !backend.access.permits(attempt.client()) {
            return Some(Reason::NotPermitted(backend.access.decide(attempt.client())));
        }
        if !state.is_usable(is_affine) {
            return Some(Reason::Full(state.sessions_max()));
        }
        let is_home = is_affine && self.sticky;
        let needs_weight = tier.policy.minds_weight() && !is_home;
        (needs_weight && backend.weight == 0).then_some(Reason::NoWeight)
    }
}

impl Reason {
    /// Whether a change at the backend itself is needed before it can get this client's sessions.
    #[must_use]
    pub fn is_of_backend(self) -> bool {
        match self {
            Self::Disabled
            | Self::Draining
            | Self::Declined
            | Self::Quarantined(_)
            | Self::Down(_)
            | Self::Ejected(_)
            | Self::Unknown
            | Self::Full(_)
            | Self::NotPermitted(_)
            | Self::NoWeight => true,
            Self::Chosen
            | Self::Denied
            | Self::Refusing
            | Self::NoStandIn
            | Self::LaterTier
            | Self::NotReached
            | Self::ClientReturns
            | Self::NotSelected => false,
        }
    }
}
