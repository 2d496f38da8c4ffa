//! What a backend gets of the sessions that is warming up, or whose agent grants it only a part.

use balancing::{AdminState, Attempt, Backend, BackendState, Client, Policy, Pool, Tier};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use terms::{Instant, Limit};

const LENGTH: Duration = Duration::from_secs(100);
const BEGIN: u64 = 1_000_000;

fn pool(policy: Policy, count: usize) -> Pool {
    let backend =
        |number: usize| Arc::new(Backend::new(number.to_string(), vec![], Arc::new(healthy())));
    let backends = (0..count).map(backend).collect();
    let tier = Tier { policy, backends, warm_up: Some(LENGTH), ..Tier::default() };
    Pool { tiers: vec![tier.prepare(None)], ..Pool::default() }
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(BEGIN + seconds * 1000)
}

fn client(number: u32) -> Client {
    Client { address: Some(IpAddr::V4(Ipv4Addr::from_bits(number))), ..Client::default() }
}

/// The part of 4000 sessions, which all stay open, that the first of two backends gets when it has
/// been warming up for `seconds`.
fn part(policy: Policy, seconds: u64) -> f64 {
    let pool = pool(policy, 2);
    pool.tiers[0].backends[0].state.warm_up(at(0));
    first_part(&pool, seconds)
}

/// The part of 4000 sessions that the first backend gets.
fn first_part(pool: &Pool, seconds: u64) -> f64 {
    let (_, _, first) = pool.backends().next().expect("two");
    let mut open = Vec::new();
    for number in 0..4000u32 {
        let seed = u64::from(number).wrapping_mul(0x2545_f491_4f6c_dd1d);
        let mut attempt = Attempt::new(client(number.wrapping_mul(2_654_435_761)), seed);
        open.push(pool.next_backend(&mut attempt, at(seconds)).expect("one is available"));
    }
    f64::from(first.state.sessions()) / open.len() as f64
}

#[test]
fn the_share_grows_under_every_policy() {
    use Policy::{
        Fastest, Hash, LeastSessions, LeastWeighted, Maglev, Random, Rendezvous, RoundRobin, Two,
        WeightedTurn,
    };
    for policy in [WeightedTurn, Random, Hash, Maglev, Rendezvous] {
        for (seconds, expected) in [(0, 0.05), (50, 0.25), (100, 0.5), (1000, 0.5)] {
            let is = part(policy, seconds);
            assert!((is - expected).abs() < 0.03, "{policy:?} after {seconds} s: {is}");
        }
    }
    for policy in [RoundRobin, LeastSessions, LeastWeighted, Two, Fastest] {
        for (seconds, expected) in [(0, 0.1 / 1.1), (50, 0.5 / 1.5), (100, 0.5), (1000, 0.5)] {
            let is = part(policy, seconds);
            assert!((is - expected).abs() < 0.03, "{policy:?} after {seconds} s: {is}");
        }
    }
}

#[test]
fn an_agent_grants_a_part_under_every_policy() {
    let part = |policy: Policy, percent: u32| {
        let mut pool = pool(policy, 2);
        (pool.tiers[0].warm_up, pool.tiers[0].has_agents) = (None, true);
        pool.tiers[0].backends[0].state.grant_percent(percent);
        first_part(&pool, 0)
    };
    for policy in Policy::ALL {
        // pen's policies have exact rules of their own.
        if matches!(policy, Policy::Rotation | Policy::Weighted | Policy::Priority) {
            assert_eq!(part(policy, 0), 0.0, "{policy:?}");
            continue;
        }
        let passes_over = [part(policy, 50), part(policy, 25), part(policy, 0)];
        assert!(passes_over[0] < 0.36 && passes_over[0] > 0.22, "{policy:?}: {passes_over:?}");
        assert!(passes_over[1] < 0.22 && passes_over[1] > 0.09, "{policy:?}: {passes_over:?}");
        assert_eq!(passes_over[2], 0.0, "{policy:?}");
        assert!((part(policy, 100) - 0.5).abs() < 0.03, "{policy:?}");
    }
}

#[test]
fn a_backend_that_its_agent_closes_is_not_even_a_last_resort() {
    let mut pool = pool(Policy::RoundRobin, 2);
    pool.tiers[0].has_agents = true;
    pool.backends().for_each(|(_, _, it)| it.state.grant_percent(0));
    let mut attempt = Attempt::new(client(1), 1);
    assert!(pool.next_backend(&mut attempt, at(0)).is_none());
    pool.tiers[0].backends[0].state.grant_percent(1);
    let mut attempt = Attempt::new(client(1), 1);
    assert!(pool.next_backend(&mut attempt, at(0)).is_some());
}

#[test]
fn a_backend_that_is_the_only_one_gets_everything() {
    for policy in [Policy::RoundRobin, Policy::Maglev, Policy::Two, Policy::WeightedTurn] {
        let pool = pool(policy, 1);
        pool.backends().for_each(|(_, _, it)| it.state.warm_up(at(0)));
        for number in 0..100 {
            let mut attempt = Attempt::new(client(number), number.into());
            assert!(pool.next_backend(&mut attempt, at(0)).is_some(), "{policy:?}");
        }
    }
}

#[test]
fn clients_of_a_hash_return_once() {
    let pool = pool(Policy::Maglev, 4);
    let (_, _, first) = pool.backends().next().expect("four");
    first.state.warm_up(at(0));
    for number in 0..500 {
        let homes = (0..=100).map(|seconds| {
            let mut attempt = Attempt::new(client(number * 7919), seconds);
            let lease = pool.next_backend(&mut attempt, at(seconds)).expect("one is available");
            lease.backend().name.clone()
        });
        let mut homes: Vec<_> = homes.collect();
        homes.dedup();
        assert!(homes.len() <= 2, "{homes:?}");
    }
}

#[test]
fn who_was_down_warms_up_and_who_is_new_from_its_first_probe_on() {
    let share = |state: BackendState, seconds: u64| {
        let other = Arc::new(Backend::new("b", vec![], Arc::new(healthy())));
        let backend = Arc::new(Backend::new("a", vec![], Arc::new(state)));
        let tier = Tier { warm_up: Some(LENGTH), ..Tier::default() };
        let tier = Tier { backends: [backend, other].into_iter().collect(), ..tier };
        let pool = Pool { tiers: vec![tier.prepare(None)], ..Pool::default() };
        let is_first = |seed: &u64| {
            let lease = pool.next_backend(&mut Attempt::new(client(1), *seed), at(seconds));
            lease.is_some_and(|it| &*it.backend().name == "a")
        };
        (0..1000).filter(is_first).count()
    };
    let up = healthy();
    up.judge(false, at(0));
    up.judge(true, at(50));
    assert!(share(up, 50) < 100);
    let at_start = healthy();
    at_start.doubt();
    at_start.judge(true, at(50));
    assert_eq!(share(at_start, 50), 500);
    let new = healthy();
    new.warm_up(at(0));
    new.doubt();
    new.judge(true, at(500));
    assert!(share(new, 500) < 100);
}

fn healthy() -> BackendState {
    BackendState::new(1, AdminState::Enabled, Limit::None)
}
