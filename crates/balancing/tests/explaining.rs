//! An explanation agrees with what happens, whatever the state, and changes nothing.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed.

use balancing::{
    AccessEntry, AccessList, AdminState, Affinity, Attempt, Backend, BackendState, Client,
    FailoverScope, HealthLimits, Lease, Outcome, Place, Policy, Pool, Reason, Subject, Tier,
    Verdict,
};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, Instant, Limit};
use testing::{Rng, sweep};

/// Few clients, so that access lists and the affinity table have something to say about them.
fn client(rng: &mut Rng) -> Client {
    let address = Ipv4Addr::new(10, 0, 0, rng.below(12) as u8);
    let address = match rng.below(8) {
        0 => None,
        1 => Some(address.to_ipv6_mapped().into()),
        _ => Some(address.into()),
    };
    Client { address, port: rng.draw() as u16, country: None }
}

fn access(rng: &mut Rng) -> Arc<AccessList> {
    let entry = |rng: &mut Rng| {
        let verdict = if rng.one_in(2) { Verdict::Permit } else { Verdict::Deny };
        let mask = Ipv4Addr::from_bits(u32::MAX << rng.below(4));
        let address = Ipv4Addr::new(10, 0, 0, rng.below(12) as u8) & mask;
        AccessEntry { verdict, subject: Subject::V4 { address, mask } }
    };
    let count = if rng.one_in(4) { 1 + rng.below(3) } else { 0 };
    Arc::new(AccessList::new((0..count).map(|_| entry(rng)).collect()))
}

fn backend(rng: &mut Rng, id: u32, health: &HealthLimits, now: Instant) -> Arc<Backend> {
    let admin = [AdminState::Enabled, AdminState::Disabled, AdminState::Draining];
    let admin = admin[if rng.one_in(5) { rng.below(3) } else { 0 }];
    let limit = Limit::from_number(if rng.one_in(2) { rng.below(4) as i32 } else { 0 });
    let state = BackendState::new(1, admin, limit);
    state.set_sessions_max_affine(rng.below(5) as u32);
    match rng.below(8) {
        0 => state.quarantine_for(Duration::from_secs(rng.below(9) as u64), health, now),
        1 => state.doubt(),
        2 => drop(state.judge(false, now)),
        3 => state.grant_percent(rng.below(2) as u32 * 50),
        _ => {}
    }
    Arc::new(Backend {
        id: BackendId::new(id.into()),
        weight: rng.below(4) as u32,
        priority: rng.below(3) as i32,
        access: access(rng),
        ..Backend::new(id.to_string(), vec![], Arc::new(state))
    })
}

fn pool(rng: &mut Rng, now: Instant) -> Pool {
    let health = HealthLimits {
        fall: 1 + rng.below(2) as u32,
        quarantine: Duration::from_secs(rng.below(3) as u64 * 5),
        last_resort: !rng.one_in(3),
        ..HealthLimits::default()
    };
    let mut id = 0;
    let mut next = |rng: &mut Rng| {
        id += 1;
        backend(rng, id, &health, now)
    };
    let tiers = (0..1 + rng.below(3)).map(|_| Tier {
        policy: Policy::ALL[rng.below(Policy::ALL.len())],
        failover: match rng.below(6) {
            0 => FailoverScope::LaterTiers,
            1 => FailoverScope::Nothing,
            _ => FailoverScope::WholeTier,
        },
        backends: (0..rng.below(5)).map(|_| next(rng)).collect(),
        has_agents: rng.one_in(2),
        ..Tier::default()
    });
    let tiers = tiers.collect();
    let time_limit = rng.one_in(3).then_some(Duration::from_secs(3));
    Pool {
        tiers,
        health,
        auto_disable: rng.one_in(6),
        access: access(rng),
        reject: rng.one_in(3).then(|| next(rng)),
        affinity: rng.one_in(2).then(|| Arc::new(Affinity::new(rng.below(8), time_limit, 7))),
        sticky: rng.one_in(2),
        ..Pool::default()
    }
}

/// Places that a session takes if every connect fails, or the first `limit` of them.
fn really_tried(pool: &Pool, client: Client, seed: u64, now: Instant, limit: usize) -> Vec<Place> {
    let mut attempt = Attempt::new(client, seed);
    let mut tried = Vec::new();
    while tried.len() < limit
        && let Some(lease) = pool.next_backend(&mut attempt, now)
    {
        let (tier, index) = attempt.place().expect("a lease has a place");
        tried.push(match tier < pool.tiers.len() {
            true => Place::InTier { tier, index },
            false => Place::Reject,
        });
        pool.report(&mut attempt, &lease, Outcome::Failure, now);
    }
    tried
}

/// Everything that choosing reads, as far as it can be seen.
fn visible(pool: &Pool) -> String {
    let backends: Vec<_> = pool.all_backends().map(|it| format!("{:?}", it.state)).collect();
    let turns: Vec<_> = pool.tiers.iter().map(|tier| format!("{:?}", tier.cursor)).collect();
    let rows = pool.affinity.as_ref().map(|table| table.rows());
    format!("{backends:?} {turns:?} {rows:?}")
}

/// What a reason claims is so.
fn check_reasons(pool: &Pool, client: &Client, tries: &[Place], reasons: &[Vec<Reason>]) {
    let taken = match tries.first() {
        Some(Place::InTier { tier, .. }) => Some(*tier),
        _ => None,
    };
    for (tier, index, backend) in pool.backends() {
        let (state, reason) = (&backend.state, reasons[tier][index]);
        let is_enabled = state.is_in_service();
        let is_permitted = backend.access.permits(client);
        let is_first = tries.first() == Some(&Place::InTier { tier, index });
        let is_so = match reason {
            Reason::Chosen => is_first && is_enabled && is_permitted,
            Reason::Denied => !pool.access.permits(client),
            Reason::Disabled => state.admin() == AdminState::Disabled,
            Reason::Draining => state.admin() == AdminState::Draining,
            Reason::Declined => state.granted_percent() == 0,
            Reason::Quarantined(rest) => is_enabled && rest <= Duration::from_secs(10),
            Reason::Down(_) => matches!(state.health(), balancing::Health::Down { .. }),
            Reason::Ejected(_) => matches!(state.health(), balancing::Health::Ejected { .. }),
            Reason::Refusing => pool.tiers[tier].cursor.stance() == balancing::Stance::Refuse,
            Reason::Unknown => matches!(state.health(), balancing::Health::Unknown),
            Reason::Full(limit) => !limit.allows(state.sessions()),
            Reason::NotPermitted(_) => !is_permitted,
            Reason::NoWeight => backend.weight == 0,
            Reason::NoStandIn => {
                let is_before = taken.is_none_or(|taken| tier < taken);
                let may_stand_in = pool.tiers[tier].failover == FailoverScope::WholeTier;
                is_before && is_enabled && is_permitted && !may_stand_in
            }
            Reason::NotReached => {
                let ends = |tier: &Tier| tier.failover == FailoverScope::Nothing;
                tries.is_empty() && pool.tiers[..tier].iter().any(ends)
            }
            Reason::LaterTier => taken.is_some_and(|taken| taken < tier),
            Reason::ClientReturns => pool.sticky && taken == Some(0) && tier == 0,
            Reason::NotSelected => taken == Some(tier) && is_enabled && is_permitted,
        };
        assert!(is_so, "{tier}.{index} is {reason:?}");
        assert_eq!(reason == Reason::Chosen, is_first, "{tier}.{index}");
    }
}

#[test]
fn what_is_explained_is_what_happens() {
    sweep(10_000, |seed, _| {
        let mut rng = Rng::new(seed);
        let mut now = Instant::from_millis(1_000_000);
        let pool = pool(&mut rng, now);
        // A past: sessions that are open, turns that have moved, clients that are known.
        let mut open: Vec<Lease> = Vec::new();
        for _ in 0..rng.below(12) {
            let mut attempt = Attempt::new(client(&mut rng), rng.draw());
            while let Some(lease) = pool.next_backend(&mut attempt, now) {
                let outcome = if rng.one_in(5) { Outcome::Failure } else { Outcome::Success };
                pool.report(&mut attempt, &lease, outcome, now);
                if outcome == Outcome::Success {
                    open.push(lease);
                    break;
                }
            }
            now = now + Duration::from_millis(rng.below(1500) as u64);
        }
        let (client, luck) = (client(&mut rng), rng.draw());
        let before = visible(&pool);
        let explained = pool.explain(client, luck, now);
        assert_eq!(explained, pool.explain(client, luck, now));
        assert_eq!(visible(&pool), before, "explaining has changed something");
        check_reasons(&pool, &client, &explained.tries, &explained.reasons);
        assert_eq!(explained.access.verdict == Verdict::Permit, pool.access.permits(&client));
        let limit = balancing::Explanation::TRIES_MAX;
        let tried = really_tried(&pool, client, luck, now, limit);
        assert_eq!(explained.tries, tried);
    });
}
