//! Each policy that has figures to keep, against the plain reading of its definition: shares,
//! bounds, who moves, and what slow or failing backends get.

use balancing::{
    AdminState, Attempt, Backend, BackendState, Client, Lease, LoadBound, Policy, Pool, Tier,
};
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use terms::{Instant, Limit};
use testing::Rng;

/// A pool of one tier, whose backends have these weights and the names `0`, `1`, ...
fn pool(policy: Policy, weights: &[u32]) -> Pool {
    bound_pool(policy, weights, None)
}

fn bound_pool(policy: Policy, weights: &[u32], load_bound: Option<LoadBound>) -> Pool {
    let backend = |(number, &weight): (usize, &u32)| {
        let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
        Arc::new(Backend { weight, ..Backend::new(number.to_string(), vec![], state) })
    };
    let backends = weights.iter().enumerate().map(backend).collect();
    let tier = Tier { policy, backends, load_bound, ..Tier::default() };
    Pool { tiers: vec![tier.prepare(None)], ..Pool::default() }
}

fn place(lease: &Lease) -> usize {
    lease.backend().name.parse().expect("names are numbers")
}

fn from(number: u32) -> Client {
    Client { address: Some(IpAddr::V4(Ipv4Addr::from_bits(number))), ..Client::default() }
}

fn choose(pool: &Pool, client: Client, seed: u64, now: Instant) -> Option<Lease> {
    pool.next_backend(&mut Attempt::new(client, seed), now)
}

/// Workers at once, each of which calls `session` with the numbers below `rounds`.
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn in_parallel(workers: u64, rounds: u64, session: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let session = &session;
            scope.spawn(move || (0..rounds).for_each(|it| session(worker * rounds + it)));
        }
    });
}

#[test]
fn weighted_turns_are_exact_across_workers() {
    for weights in [vec![5, 1, 1], vec![300, 200, 0, 100], vec![1, 2, 3, 4, 5, 6, 7]] {
        let pool = pool(Policy::WeightedTurn, &weights);
        let counts: Vec<_> = weights.iter().map(|_| AtomicUsize::new(0)).collect();
        let common = if weights[0] == 300 { 100 } else { 1 };
        let turns = u64::from(weights.iter().sum::<u32>() / common);
        in_parallel(4, turns * 500, |number| {
            let lease = choose(&pool, from(1), number, Instant::ZERO).unwrap();
            counts[place(&lease)].fetch_add(1, SeqCst);
        });
        let counts: Vec<_> = counts.iter().map(|it| it.load(SeqCst) as u32).collect();
        let expected: Vec<_> = weights.iter().map(|weight| weight / common * 2000).collect();
        assert_eq!(counts, expected);
    }
}

#[test]
fn weighted_turns_of_others_stay_exact_while_one_is_disabled() {
    let pool = pool(Policy::WeightedTurn, &[2, 1, 1]);
    pool.tiers[0].backends[1].state.set_admin(AdminState::Disabled);
    let turns: Vec<_> =
        (0..8).map(|it| place(&choose(&pool, from(1), it, Instant::ZERO).unwrap())).collect();
    assert_eq!(turns, [0, 2, 2, 0, 0, 2, 2, 0], "1 is replaced by the one whose turn follows");
}

/// The plain reading: the smallest `(sessions + 1) / weight`, from the turn on.
#[test]
fn least_weighted_fills_in_proportion() {
    let weights = [5, 3, 2, 0];
    let pool = pool(Policy::LeastWeighted, &weights);
    let (mut sessions, mut turn) = ([0u32; 4], 0);
    let mut open = Vec::new();
    for number in 0..1000 {
        let load = |&it: &usize| f64::from(sessions[it] + 1) / f64::from(weights[it]);
        let circle = (0..4).map(|step| (turn + step) % 4).filter(|&it| weights[it] > 0);
        let expected = circle.min_by(|a, b| load(a).total_cmp(&load(b))).unwrap();
        let lease = choose(&pool, from(1), number, Instant::ZERO).unwrap();
        assert_eq!(place(&lease), expected, "session {number}");
        (sessions[expected], turn) = (sessions[expected] + 1, (expected + 1) % 4);
        open.push(lease);
    }
    assert_eq!(sessions, [500, 300, 200, 0]);
}

#[test]
fn two_keeps_loads_close_and_minds_weights() {
    let mut weights = vec![1; 1000];
    weights[..500].fill(3);
    for (policy, heavy, light) in [(Policy::Two, 15.0, 5.0), (Policy::Fastest, 15.0, 5.0)] {
        let pool = pool(policy, &weights);
        let open: Vec<_> =
            (0..10_000).map(|it| choose(&pool, from(1), it, Instant::ZERO).unwrap()).collect();
        let mut counts = vec![0u32; 1000];
        open.iter().for_each(|lease| counts[place(lease)] += 1);
        let most = |range: &[u32]| f64::from(*range.iter().max().unwrap());
        assert!(most(&counts[..500]) <= heavy + 6.0, "{policy:?}: {}", most(&counts[..500]));
        assert!(most(&counts[500..]) <= light + 3.0, "{policy:?}: {}", most(&counts[500..]));
    }
}

/// Beyond 1,024 backends nobody looks at all of them.
#[test]
fn least_sessions_among_thousands_keeps_loads_close() {
    let pool = pool(Policy::LeastSessions, &vec![0; 2000]);
    let open: Vec<_> =
        (0..20_000).map(|it| choose(&pool, from(1), it, Instant::ZERO).unwrap()).collect();
    let mut counts = vec![0u32; 2000];
    open.iter().for_each(|lease| counts[place(lease)] += 1);
    assert!(*counts.iter().max().unwrap() <= 14 && *counts.iter().min().unwrap() >= 5);
}

/// The place that each client goes to, for the given number of clients.
fn homes(pool: &Pool, clients: u32) -> Vec<usize> {
    let home = |it| place(&choose(pool, from(it * 7919), 0, Instant::ZERO).expect("all are able"));
    (0..clients).map(home).collect()
}

#[test]
fn hashes_share_clients_by_weight() {
    for (policy, tolerance) in [(Policy::Maglev, 0.03), (Policy::Rendezvous, 0.03)] {
        let weights: Vec<_> = (0..20).map(|it| it % 3).collect();
        let pool = pool(policy, &weights);
        let mut counts = [0u32; 20];
        homes(&pool, 200_000).into_iter().for_each(|it| counts[it] += 1);
        let all = f64::from(weights.iter().sum::<u32>());
        for (count, weight) in counts.iter().zip(&weights) {
            let expected = 200_000.0 * f64::from(*weight) / all;
            assert!(
                (f64::from(*count) - expected).abs() <= tolerance * expected,
                "{policy:?}: {count} instead of {expected}"
            );
        }
    }
}

#[test]
fn hashes_look_at_the_network_of_a_client() {
    for policy in [Policy::Maglev, Policy::Rendezvous] {
        let pool = pool(policy, &[1; 50]);
        let v6 = |high: u64, low: u64| Client {
            address: Some(IpAddr::V6(Ipv6Addr::from_bits(
                u128::from(high) << 64 | u128::from(low),
            ))),
            ..Client::default()
        };
        let home = |client| place(&choose(&pool, client, 1, Instant::ZERO).unwrap());
        for network in 0..20 {
            let (one, other) = (v6(network << 40, 1), v6(network << 40, u64::MAX));
            assert_eq!(home(one), home(other), "{policy:?}");
        }
        let mapped = Ipv4Addr::new(192, 0, 2, 9).to_ipv6_mapped();
        let mapped = Client { address: Some(IpAddr::V6(mapped)), ..Client::default() };
        assert_eq!(home(mapped), home(from(0xc000_0209)), "{policy:?}");
    }
}

/// Clients of backends that stay move only as far as the policy says; those of one that is gone are
/// shared by all others; and all return.
#[test]
fn hashes_move_few_clients_of_others() {
    for (policy, allowed) in [(Policy::Maglev, 0.03), (Policy::Rendezvous, 0.0)] {
        let pool = pool(policy, &[1; 100]);
        let before = homes(&pool, 30_000);
        for gone in [0, 57, 99] {
            let state = &pool.tiers[0].backends[gone].state;
            state.set_admin(AdminState::Disabled);
            let after = homes(&pool, 30_000);
            let pairs = || before.iter().zip(&after);
            let moved = pairs().filter(|(a, b)| **a != gone && a != b).count();
            assert!(moved as f64 <= allowed * 30_000.0, "{policy:?}: {moved} of others moved");
            assert_eq!(moved, 0, "{policy:?}: a table stays while a backend is only disabled");
            let takers: BTreeMap<_, usize> =
                pairs().filter(|(a, _)| **a == gone).fold(BTreeMap::new(), |mut takers, (_, b)| {
                    *takers.entry(*b).or_default() += 1;
                    takers
                });
            assert!(takers.len() > 80 && *takers.values().max().unwrap() < 20, "{takers:?}");
            state.set_admin(AdminState::Enabled);
            assert_eq!(homes(&pool, 30_000), before, "{policy:?}");
        }
    }
}

#[test]
fn load_bounds_hold_across_workers() {
    let bound = LoadBound::from_hundredths(125).unwrap();
    for policy in [Policy::Maglev, Policy::Rendezvous] {
        let weights: Vec<_> = (0..40).map(|it| 1 + it % 2).collect();
        let all: u32 = weights.iter().sum();
        let pool = bound_pool(policy, &weights, Some(bound));
        // Most clients are one and the same, who would all go to one backend.
        in_parallel(4, 3000, |number| {
            let client = from(if number % 4 == 0 { number as u32 } else { 7 });
            let lease = choose(&pool, client, number, Instant::ZERO).unwrap();
            std::mem::forget(lease); // open for ever, so that the number only grows
        });
        let sessions: Vec<_> =
            pool.backends().map(|(_, _, backend)| backend.state.sessions()).collect();
        assert_eq!(sessions.iter().sum::<u32>(), 12_000);
        for (sessions, weight) in sessions.iter().zip(&weights) {
            let most = (1.25 * 12_000.0 * f64::from(*weight) / f64::from(all)).ceil();
            assert!(f64::from(*sessions) <= most, "{policy:?}: {sessions} of {most}");
        }
        assert!(sessions.iter().any(|it| *it >= 249), "{policy:?}: the bound was never reached");
    }
}

#[test]
fn a_load_bound_serves_everybody_while_most_backends_are_down() {
    let bound = LoadBound::from_hundredths(101).unwrap();
    for policy in [Policy::Maglev, Policy::Rendezvous] {
        let pool = bound_pool(policy, &[1; 20], Some(bound));
        for (_, index, backend) in pool.backends().filter(|(_, index, _)| *index > 2) {
            assert!(index > 2 && backend.state.set_admin(AdminState::Disabled));
        }
        let open: Vec<_> =
            (0..3000).map(|it| choose(&pool, from(7), it, Instant::ZERO).unwrap()).collect();
        let sessions = |index: usize| pool.tiers[0].backends[index].state.sessions();
        assert!((0..3).all(|index| sessions(index) <= 1010), "{policy:?}");
        drop(open);
        assert!((0..20).all(|index| sessions(index) == 0));
    }
}

/// How a backend of the simulation treats a session.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// It answers after about this many milliseconds, and the session ends.
    Answers(u64),
    /// It closes the connection at once.
    Closes,
}

/// Plays a thousand sessions a second at these backends. Returns how many each had from second
/// `from_second` on, and the 99th percentile of the time to answer in milliseconds.
fn play(policy: Policy, kinds: &[Kind], from_second: u64, seconds: u64) -> (Vec<f64>, u64) {
    let pool = pool(policy, &vec![1; kinds.len()]);
    let mut rng = Rng::new(7);
    let start = Instant::from_millis(1_000_000);
    let mut open: BinaryHeap<(std::cmp::Reverse<u64>, usize)> = BinaryHeap::new();
    let mut leases: BTreeMap<usize, (Lease, Option<Duration>)> = BTreeMap::new();
    let (mut counts, mut times) = (vec![0.0; kinds.len()], Vec::new());
    for number in 0..seconds as usize * 1000 {
        let micros = number as u64 * 1000 + rng.below(1000) as u64;
        while let Some(&(std::cmp::Reverse(end), ended)) = open.peek()
            && end <= micros
        {
            open.pop();
            let (lease, answered) = leases.remove(&ended).expect("each ends once");
            let latency = lease.backend().state.latency();
            let now = start + Duration::from_micros(end);
            match answered {
                Some(took) => latency.observe(took, now),
                None => latency.punish(now),
            }
        }
        let now = start + Duration::from_micros(micros);
        let lease = choose(&pool, from(number as u32), rng.draw(), now).expect("all are able");
        let index = place(&lease);
        let took = match kinds[index] {
            Kind::Answers(millis) => {
                Some(Duration::from_micros(millis * 800 + rng.below(millis as usize * 400) as u64))
            }
            Kind::Closes => None,
        };
        if number as u64 >= from_second * 1000 {
            counts[index] += 1.0;
            times.extend(took.map(|it| it.as_millis() as u64));
        }
        let end = micros + took.map_or(200, |it| it.as_micros() as u64);
        open.push((std::cmp::Reverse(end), number));
        leases.insert(number, (lease, took));
    }
    times.sort_unstable();
    let percentile = times[times.len() * 99 / 100];
    (counts, percentile)
}

#[test]
fn fastest_avoids_a_slow_backend() {
    for (count, slow) in [(2, 100), (4, 100), (10, 100), (30, 200)] {
        let mut kinds = vec![Kind::Answers(10); count];
        let (_, without) = play(Policy::Fastest, &kinds, 1, 20);
        kinds[1] = Kind::Answers(slow);
        let (counts, with) = play(Policy::Fastest, &kinds, 1, 20);
        let others = (counts.iter().sum::<f64>() - counts[1]) / (count - 1) as f64;
        assert!(counts[1] <= 0.15 * others, "{count}: {} instead of {others}", counts[1]);
        assert!(counts[1] > 0.0, "{count}: it is tried now and then");
        // With few backends, one that is fast but has ten sessions looks as slow as the slow one.
        let few = count < 10;
        assert!(few || with as f64 <= 1.2 * without as f64, "{count}: {with}, not {without} ms");
    }
}

#[test]
fn fastest_is_not_attracted_by_a_backend_that_closes_at_once() {
    for count in [3, 10] {
        let mut kinds = vec![Kind::Answers(10); count];
        kinds[1] = Kind::Closes;
        let (counts, _) = play(Policy::Fastest, &kinds, 0, 2);
        let all = counts.iter().sum::<f64>();
        assert!(counts[1] <= 0.05 * all, "{} of {all} within two seconds", counts[1]);
        // What the number of sessions alone would do.
        let (counts, _) = play(Policy::LeastSessions, &kinds, 0, 2);
        assert!(counts[1] > 0.2 * counts.iter().sum::<f64>(), "{counts:?}");
    }
}

#[test]
fn fastest_returns_to_a_backend_that_has_recovered() {
    let pool = pool(Policy::Fastest, &[1, 1]);
    let start = Instant::from_millis(1_000_000);
    let latency = |index: usize| pool.tiers[0].backends[index].state.latency();
    latency(0).observe(Duration::from_secs(5), start);
    latency(1).observe(Duration::from_millis(5), start);
    let (mut first, mut late) = (None, 0);
    for millis in 0..120_000 {
        let now = start + Duration::from_millis(millis);
        let lease = choose(&pool, from(1), millis, now).expect("all are able");
        if place(&lease) == 0 {
            first.get_or_insert(millis / 1000);
            late += u64::from(millis >= 90_000);
        }
        latency(place(&lease)).observe(Duration::from_millis(5), now);
    }
    let first = first.expect("it is tried again");
    assert!((60..80).contains(&first), "after {first} s"); // 10 s * ln(1000)
    assert!((9_000..21_000).contains(&late), "{late} of 30,000 sessions");
}
