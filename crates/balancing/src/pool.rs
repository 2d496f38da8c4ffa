//! Tiers in order, and a session's way through them.

use crate::attempt::Attempt;
use crate::backend::{Backend, BackendChange, Lease};
use crate::health::{HealthLimits, Outcome};
use crate::percent::Percent;
use crate::policy::{Choice, View};
use crate::tier::{Stance, Tier};
use crate::{AccessList, Affinity, FailoverScope};
use std::cell::Cell;
use std::sync::Arc;
use terms::{BackendId, Instant, SendProxy};

/// The backends of a listener, as one snapshot describes them.
///
/// ```
/// use balancing::{Attempt, Client, Pool};
/// use terms::Instant;
/// let pool = Pool::default();
/// let mut attempt = Attempt::new(Client::default(), 0);
/// assert!(pool.next_backend(&mut attempt, Instant::ZERO).is_none()); // serves nobody
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The tiers, in the order in which they are tried. A tier without backends is skipped.
    pub tiers: Vec<Tier>,
    /// When backends are skipped.
    pub health: HealthLimits,
    /// How many backends of a tier may be ejected because their sessions fail, at least one; `None`
    /// for none. See [`Ejector`](crate::Ejector).
    pub eject_most: Option<Percent>,
    /// What is to be done when too few backends of a tier are available. Default: nothing.
    pub thin: Option<Thin>,
    /// Whether a failed connect disables a backend until an operator enables it.
    /// Source: balance(1), `-a`.
    pub auto_disable: bool,
    /// Which clients are served. Others are sent to the reject backend.
    pub access: Arc<AccessList>,
    /// Where denied clients are sent; without it they are refused. No other client is sent here,
    /// and no other backend replaces it. Source: pen(1), `-B`.
    pub reject: Option<Arc<Backend>>,
    /// Whether a header of the PROXY protocol announces clients to backends, and in which form.
    /// [`Backend::send_proxy`] takes precedence.
    pub send_proxy: Option<SendProxy>,
    /// What is remembered about clients: counts, and the backend of the first tier that took their
    /// last session. Outlives snapshots. Source: pen(1), `-c`.
    pub affinity: Option<Arc<Affinity>>,
    /// Whether clients return to the backend they are remembered with. Otherwise the table only
    /// counts, and lets clients fill the backend they are remembered with up to their own limit.
    /// Source: pen(1), `-r`.
    pub sticky: bool,
}

/// What is to be done when too few backends of a tier are available, by their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thin {
    /// Below this share, health is ignored.
    FailOpenBelow(Percent),
    /// Below this share, new sessions are refused.
    RefuseBelow(Percent),
}

impl Pool {
    /// Whether anything is to come of how well its backends serve sessions.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.eject_most.is_some() || self.thin.is_some()
    }

    /// Takes a place at the next backend to try; `None` if none is left.
    ///
    /// Call it for a new session, and again after each reported failure. No backend is offered
    /// twice to one session. Backends about which nothing is known are offered only if no tier has
    /// anything else, and then those that are quarantined or down, if [`HealthLimits::last_resort`]
    /// allows.
    ///
    /// If the pool has an affinity table, the first call counts the session there, and the client
    /// is remembered with the backend that is offered, whether or not that answers. A backend of a
    /// later tier, or the reject backend, makes the table forget the client's backend. All of this
    /// is one step under the table's lock. Source: pen(1).
    ///
    /// A client that has moved ([`Attempt::follow`]) is offered its backend first, even if that takes
    /// no new sessions: open ones go on there, too.
    pub fn next_backend(&self, attempt: &mut Attempt, now: Instant) -> Option<Lease> {
        let is_new = !std::mem::replace(&mut attempt.is_begun, true);
        if is_new {
            attempt.is_denied = !self.access.permits(&attempt.client);
        }
        let Some(affinity) = &self.affinity else { return self.offer(attempt, now) };
        let client = &attempt.client;
        let mut known = if is_new { affinity.enter(client, now) } else { affinity.recall(client) };
        attempt.remembered = known.backend().and_then(|id| self.first_tier_place(id));
        let lease = self.offer(attempt, now)?;
        let is_first_tier = attempt.tier == 0 && !attempt.is_denied;
        known.remember(is_first_tier.then(|| lease.backend().id));
        drop(known);
        if let Some(tier) = self.tiers.get(usize::from(attempt.tier)) {
            tier.cursor.set_taken(attempt.last_index);
        }
        Some(lease)
    }

    /// Reports how the connect to the backend taken last ended.
    pub fn report(
        &self,
        attempt: &mut Attempt,
        lease: &Lease,
        outcome: Outcome,
        now: Instant,
    ) -> Option<BackendChange> {
        if let Some((tier, index)) = attempt.place() {
            match outcome {
                Outcome::Failure => self.pass_over(attempt),
                // After a failure, the turn continues after the backend that answered.
                Outcome::Success if attempt.tried.is_some() => {
                    if let Some(tier) = self.tiers.get(tier).filter(|it| it.policy.turn_follows()) {
                        tier.cursor.set((index + 1) % tier.backends.len());
                    }
                }
                Outcome::Success => {}
            }
        }
        let state = &lease.backend().state;
        state.observe(outcome, &self.health, self.auto_disable, now)
    }

    /// Does not offer the backend taken last again to this session, without holding anything against
    /// it.
    pub fn pass_over(&self, attempt: &mut Attempt) {
        if let Some((tier, index)) = attempt.place() {
            let ordinal = self.first_ordinal(tier) + index;
            attempt.tried.get_or_insert_default().insert(ordinal);
        }
    }

    /// Whether a backend is available but for its limit, and each that is has reached it.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let mut available = self.backends().filter(|(_, _, it)| self.is_available(it, now));
        let is_full = |backend: &Backend| !backend.state.is_usable(false);
        available.next().is_some_and(|(_, _, first)| is_full(first))
            && available.all(|(_, _, backend)| is_full(backend))
    }

    /// Whether a backend takes new sessions, as long as it has not reached its limit.
    #[must_use]
    pub fn is_available(&self, backend: &Backend, now: Instant) -> bool {
        let state = &backend.state;
        state.is_in_service() && !state.health().is_left_out(&self.health, now)
    }

    /// Notes what has become of sessions that others have sent to a backend.
    pub fn note_outcome(
        &self,
        backend: &Backend,
        outcome: Outcome,
        now: Instant,
    ) -> Option<BackendChange> {
        backend.state.observe(outcome, &self.health, self.auto_disable, now)
    }

    /// All backends, with the number of the tier and the place in it.
    pub fn backends(&self) -> impl Iterator<Item = (usize, usize, &Arc<Backend>)> {
        self.tiers.iter().enumerate().flat_map(|(tier_index, tier)| {
            let numbered = tier.backends.iter().enumerate();
            numbered.map(move |(index, backend)| (tier_index, index, backend))
        })
    }

    /// The backends of all tiers, and then the reject backend.
    pub fn all_backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.tiers.iter().flat_map(|tier| &tier.backends).chain(&self.reject)
    }

    /// Whether any access list asks where a client's address is registered, the reject backend's
    /// included.
    #[must_use]
    pub fn needs_country(&self) -> bool {
        self.access.needs_country() || self.all_backends().any(|it| it.access.needs_country())
    }

    fn offer(&self, attempt: &mut Attempt, now: Instant) -> Option<Lease> {
        if attempt.is_denied {
            return self.offer_reject(attempt, now);
        }
        if let Some(wanted) = attempt.wanted.take()
            && let Some(lease) = self.offer_wanted(attempt, wanted)
        {
            return Some(lease);
        }
        if std::mem::take(&mut attempt.is_led) {
            attempt.enter(0); // no policy has chosen yet
        }
        if let Some((tier, _)) = attempt.place() {
            match self.tiers[tier].failover {
                FailoverScope::WholeTier => {}
                FailoverScope::LaterTiers => attempt.enter(tier + 1),
                FailoverScope::Nothing => return None,
            }
        }
        loop {
            if let Some(lease) = self.next_in_order(attempt, now) {
                return Some(lease);
            }
            if !attempt.reach_further(self.health.last_resort) {
                return None;
            }
        }
    }

    /// The place of a client that has moved, at the backend that has its connection: whatever keeps
    /// that backend from getting new ones, except for its limit and its access list.
    fn offer_wanted(&self, attempt: &mut Attempt, wanted: BackendId) -> Option<Lease> {
        let mut tiers = self.tiers.iter().enumerate();
        let (tier, index) =
            tiers.find_map(|(tier, it)| it.backends.place(wanted).map(|index| (tier, index)))?;
        let backend = &self.tiers[tier].backends[index];
        if !backend.access.permits(&attempt.client) {
            return None;
        }
        let lease = Lease::take_moved(backend)?;
        attempt.enter(tier);
        attempt.last_index = Some(index as u32);
        attempt.is_led = true;
        Some(lease)
    }

    /// The only place that a denied client may take.
    fn offer_reject(&self, attempt: &mut Attempt, now: Instant) -> Option<Lease> {
        let backend = self.reject.as_ref().filter(|_| attempt.last_index.is_none())?;
        let left_out = backend.state.health().is_left_out(&self.health, now);
        if left_out && !self.health.last_resort || !backend.access.permits(&attempt.client) {
            return None;
        }
        let lease = Lease::take(backend, false)?;
        attempt.enter(self.tiers.len());
        attempt.last_index = Some(0);
        Some(lease)
    }

    fn next_in_order(&self, attempt: &mut Attempt, now: Instant) -> Option<Lease> {
        while let Some(tier) = self.tiers.get(usize::from(attempt.tier)) {
            let first_ordinal = self.first_ordinal(usize::from(attempt.tier));
            let remembered = attempt.remembered.filter(|_| attempt.tier == 0);
            let stance = self.stance(tier);
            let mut view = View {
                tier,
                attempt,
                first_ordinal,
                remembered: remembered.map(|index| index as usize),
                is_sticky: self.sticky,
                limits: &self.health,
                ignores_health: stance == Stance::FailOpen,
                now,
                has_spared: Cell::new(false),
                spares: tier.has_parts() && !tier.policy.minds_load(),
            };
            let chosen = if stance == Stance::Refuse { None } else { view.choose() };
            if let Some(Choice { index, lease }) = chosen {
                attempt.last_index = Some(index as u32);
                return Some(lease);
            }
            tier.note_skipped(attempt, &self.health, now);
            if tier.failover == FailoverScope::Nothing {
                return None;
            }
            attempt.enter(usize::from(attempt.tier) + 1);
        }
        None
    }

    /// What a tier does about too few backends. Read only where that can be anything.
    #[must_use]
    pub fn stance(&self, tier: &Tier) -> Stance {
        if self.thin.is_some() { tier.cursor.stance() } else { Stance::Normal }
    }

    /// The place in the first tier of a backend, unless it has left that tier.
    fn first_tier_place(&self, id: BackendId) -> Option<u32> {
        let place = self.tiers.first()?.backends.place(id)?;
        Some(place as u32)
    }

    fn first_ordinal(&self, tier: usize) -> usize {
        self.tiers[..tier].iter().map(|tier| tier.backends.len()).sum()
    }
}

#[cfg(test)]
mod pen_tests;
#[cfg(test)]
mod tests;
