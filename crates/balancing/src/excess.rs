//! Which backends have more sessions than their share.
//!
//! This is for operators who have clients of long sessions connect again, so that backends that came
//! back, or are new, get their share. Nothing here knows how a policy has come to its choices: a
//! share is that of the weight, as far as limits allow.

use crate::Backend;
use crate::pool::Pool;
use crate::tier::Tier;
use terms::{BackendId, Instant, Limit};

/// A backend that has more sessions than its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The backend.
    pub backend: BackendId,
    /// The number of its tier.
    pub tier: usize,
    /// How many of its sessions are too many.
    pub sessions: u32,
    /// All of its sessions.
    pub of: u32,
}

impl Pool {
    /// The backends that have more than their share of the sessions that the pool has now.
    ///
    /// The backends of the first tier that can take sessions share all of them by weight, as far as
    /// their limits allow; what is left goes to the next tier. Those that take no new sessions have
    /// a share of nothing. If no backend takes any, none has too many.
    #[must_use]
    pub fn excess(&self, now: Instant) -> Vec<Excess> {
        let sessions = |it: &Backend| u64::from(it.state.sessions());
        let mut left: u64 = self.backends().map(|(_, _, it)| sessions(it)).sum();
        let mut all = Vec::new();
        let mut takes_any = false;
        for (number, tier) in self.tiers.iter().enumerate() {
            let takes: Vec<_> = tier.backends.iter().map(|it| self.is_available(it, now)).collect();
            takes_any |= takes.contains(&true);
            let shares = shares(tier, &takes, left);
            left = left.saturating_sub(shares.iter().sum());
            for (backend, share) in tier.backends.iter().zip(shares) {
                let of = backend.state.sessions();
                let sessions = u64::from(of).saturating_sub(share) as u32;
                if sessions > 0 {
                    all.push(Excess { backend: backend.id, tier: number, sessions, of });
                }
            }
        }
        if takes_any { all } else { Vec::new() }
    }
}

/// How many of `sessions` each backend of a tier should have, rounded up. None has more than its
/// limit, as long as there are others.
fn shares(tier: &Tier, takes: &[bool], sessions: u64) -> Vec<u64> {
    let room = |it: &Backend| match it.state.sessions_max() {
        Limit::None => u64::MAX,
        Limit::AtMost(most) => most.into(),
    };
    let weight = |it: &Backend| {
        let weight = if tier.policy.minds_weight() { u64::from(it.weight) } else { 1 };
        weight * u64::from(it.state.granted_percent())
    };
    let mut shares = vec![0; tier.backends.len()];
    let mut open: Vec<_> =
        (0..shares.len()).filter(|&it| takes[it] && weight(&tier.backends[it]) > 0).collect();
    let mut left = sessions;
    while !open.is_empty() {
        let weights: u64 = open.iter().map(|&it| weight(&tier.backends[it])).sum();
        let wanted = |it: usize| {
            let share = u128::from(left) * u128::from(weight(&tier.backends[it]));
            share.div_ceil(u128::from(weights)) as u64
        };
        let is_full = |&it: &usize| wanted(it) > room(&tier.backends[it]);
        let (full, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|it| is_full(it));
        if full.is_empty() {
            open.iter().for_each(|&it| shares[it] = wanted(it));
            break;
        }
        full.iter().for_each(|&it| shares[it] = room(&tier.backends[it]));
        left = left.saturating_sub(full.iter().map(|&it| shares[it]).sum());
        open = rest;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdminState, BackendState, Lease, Policy};
    use std::sync::Arc;
    use std::time::Duration;

    struct Given {
        sessions: u32,
        weight: u32,
        limit: Limit,
        is_up: bool,
    }

    fn given(text: &str) -> Given {
        let mut words = text.split(' ');
        let sessions = words.next().unwrap().parse().unwrap();
        let mut given = Given { sessions, weight: 1, limit: Limit::None, is_up: true };
        for word in words {
            match word.split_at(1) {
                ("w", weight) => given.weight = weight.parse().unwrap(),
                ("m", most) => given.limit = Limit::AtMost(most.parse().unwrap()),
                _ => given.is_up = false,
            }
        }
        given
    }

    /// `tiers` have backends: sessions, and then `wWEIGHT`, `mMAX` or `down`.
    #[track_caller]
    fn check(tiers: &[&[&str]], expected: &[(u64, usize, u32)]) {
        let now = Instant::from_millis(1_000_000);
        let (mut ids, mut leases) = (0, Vec::new());
        let mut backend = |text: &&str| {
            let Given { sessions, weight, limit, is_up } = given(text);
            let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
            ids += 1;
            let (id, new) = (BackendId::new(ids), Backend::new(String::new(), vec![], state));
            let backend = Arc::new(Backend { id, weight, ..new });
            leases.extend((0..sessions).filter_map(|_| Lease::take(&backend, false)));
            backend.state.set_sessions_max(limit);
            if !is_up {
                backend.state.judge(false, now);
            }
            backend
        };
        let tiers = tiers.iter().map(|backends| Tier {
            policy: Policy::WeightedTurn,
            backends: backends.iter().map(&mut backend).collect(),
            ..Tier::default()
        });
        let pool = Pool { tiers: tiers.collect(), ..Pool::default() };
        let excess = pool.excess(now + Duration::from_secs(1));
        let found: Vec<_> = excess.iter().map(|it| (it.backend, it.tier, it.sessions)).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|&(id, tier, sessions)| (BackendId::new(id), tier, sessions))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn who_has_more_than_its_share_has_too_many() {
        check(&[&["10", "10"]], &[]);
        check(&[&["10", "9"]], &[]);
        check(&[&["12", "0"]], &[(1, 0, 6)]);
        check(&[&["12", "0", "0"]], &[(1, 0, 8)]);
        check(&[&["30 w2", "0 w1"]], &[(1, 0, 10)]);
        check(&[&["5 w0", "5"]], &[(1, 0, 5)]);
    }

    #[test]
    fn limits_bound_shares() {
        check(&[&["10", "0 m2"]], &[(1, 0, 2)]);
        check(&[&["10 m4", "0 m2"]], &[(1, 0, 6)]);
    }

    #[test]
    fn earlier_tiers_come_first() {
        check(&[&["0"], &["8"]], &[(2, 1, 8)]);
        check(&[&["0 m3"], &["8"]], &[(2, 1, 3)]);
        check(&[&["0 down"], &["8"]], &[]);
        check(&[&["2 down"], &["8"]], &[(1, 0, 2)]);
    }

    #[test]
    fn with_nobody_to_take_them_sessions_stay() {
        check(&[&["5 down", "1 down"]], &[]);
    }
}
