//! Ejection and thin tiers, from what sessions came to until a backend takes sessions again.

use balancing::{
    AdminState, Attempt, Backend, BackendState, Client, Complaint, Ejector, Health, HealthLimits,
    Percent, Policy, Pool, QualityChange, Thin, Tier,
};
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, BackendId, FailureKind, Instant, Limit};
use testing::{Rng, sweep};

const START: Instant = Instant::from_millis(1_000_000);

fn pool(policy: Policy, backends: usize) -> Pool {
    let backend = |number: usize| {
        let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
        let addresses = vec![Address::Ip(([10, 0, 0, number as u8], 80).into())];
        let id = BackendId::new(number as u64 + 1);
        Arc::new(Backend { id, ..Backend::new(number.to_string(), addresses, state) })
    };
    let tier = Tier { policy, backends: (0..backends).map(backend).collect(), ..Tier::default() };
    let eject_most = Percent::new(50);
    Pool { tiers: vec![tier.prepare(None)], eject_most, ..Pool::default() }
}

/// Gives a backend sessions that end well, and some that do not.
fn serve(backend: &Backend, good: u64, bad: u64, wait: Duration) {
    let tally = backend.state.tally(0);
    (0..good).for_each(|_| tally.count_answer(wait));
    for nth in 0..bad {
        match nth % 2 {
            0 => tally.count_early_close(),
            _ => tally.count_failure(FailureKind::Refused),
        }
    }
}

/// What a turn changes, as words.
fn turn(ejector: &mut Ejector, pool: &Pool, is_probed: bool, now: Instant) -> Vec<String> {
    let changes = ejector.turn([(pool, is_probed)].into_iter(), now);
    let words = changes.into_iter().map(|(_, change)| match change {
        QualityChange::Ejected(it, complaint, length) => {
            let why = match complaint {
                Complaint::Failed(failed, of) => format!("{failed} of {of}"),
                Complaint::Slow(wait, usual) => format!("{wait:?} instead of {usual:?}"),
            };
            format!("{} ejected for {length:?}: {why}", it.name)
        }
        QualityChange::OnTrial(it) => format!("{} on trial", it.name),
        QualityChange::Recovered(it) => format!("{} recovered", it.name),
        QualityChange::Stance { stance, available, enabled, .. } => {
            format!("{stance:?} with {available} of {enabled}")
        }
    });
    words.collect()
}

fn after(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}

#[test]
fn a_backend_that_closes_half_of_its_sessions_is_ejected_for_longer_each_time() {
    let (pool, mut ejector) = (pool(Policy::RoundRobin, 4), Ejector::default());
    let backends = &pool.tiers[0].backends;
    let wait = Duration::from_millis(1);
    assert!(turn(&mut ejector, &pool, false, START).is_empty());
    serve(&backends[2], 9, 9, wait);
    assert!(turn(&mut ejector, &pool, false, after(1)).is_empty(), "too few to be sure");
    serve(&backends[2], 1, 1, wait);
    serve(&backends[1], 100, 90, wait);
    let ejected = turn(&mut ejector, &pool, false, after(2));
    assert_eq!(ejected, ["2 ejected for 10s: 10 of 20"]);
    let mut now = 2;
    for length in [10, 20, 40, 80, 160, 300, 300] {
        assert!(turn(&mut ejector, &pool, false, after(now + length - 1)).is_empty());
        now += length;
        assert_eq!(turn(&mut ejector, &pool, false, after(now)), ["2 recovered"]);
        serve(&backends[2], 2, 3, wait);
        let next = (length * 2).min(300);
        let ejected = turn(&mut ejector, &pool, false, after(now + 1));
        assert_eq!(ejected, [format!("2 ejected for {next}s: 3 of 5")]);
        now += 1;
    }
}

#[test]
fn what_was_long_ago_does_not_count() {
    let (pool, mut ejector) = (pool(Policy::RoundRobin, 2), Ejector::default());
    let backend = &pool.tiers[0].backends[0];
    for second in 0..60 {
        assert!(turn(&mut ejector, &pool, false, after(second)).is_empty());
        serve(backend, 0, u64::from(second % 2 == 0) + 1, Duration::ZERO);
    } // 15 in ten seconds
}

#[test]
fn an_ejection_is_forgiven_after_a_good_minute() {
    let (pool, mut ejector) = (pool(Policy::RoundRobin, 2), Ejector::default());
    let backend = &pool.tiers[0].backends[0];
    turn(&mut ejector, &pool, false, START);
    serve(backend, 0, 20, Duration::ZERO);
    assert_eq!(turn(&mut ejector, &pool, false, after(1)), ["0 ejected for 10s: 20 of 20"]);
    for second in 2..80 {
        turn(&mut ejector, &pool, false, after(second));
    }
    serve(backend, 0, 19, Duration::ZERO);
    assert!(turn(&mut ejector, &pool, false, after(80)).is_empty(), "too few, as at first");
    serve(backend, 0, 1, Duration::ZERO);
    assert_eq!(turn(&mut ejector, &pool, false, after(81)), ["0 ejected for 10s: 20 of 20"]);
}

#[test]
fn only_so_many_are_ejected_and_the_worst_first() {
    let (pool, mut ejector) = (pool(Policy::RoundRobin, 5), Ejector::default());
    let backends = &pool.tiers[0].backends;
    turn(&mut ejector, &pool, false, START);
    for (backend, bad) in backends.iter().zip([50, 80, 60, 90, 70]) {
        serve(backend, 100 - bad, bad, Duration::ZERO);
    }
    let ejected = turn(&mut ejector, &pool, false, after(1));
    assert_eq!(ejected, ["3 ejected for 10s: 90 of 100", "1 ejected for 10s: 80 of 100"]);
    let out = backends.iter().filter(|it| matches!(it.state.health(), Health::Ejected { .. }));
    assert_eq!(out.count(), 2, "half of five");
    assert!(turn(&mut ejector, &pool, false, after(2)).is_empty());
}

#[test]
fn those_that_are_down_or_quarantined_leave_less_to_eject() {
    let (pool, mut ejector) = (pool(Policy::RoundRobin, 4), Ejector::default());
    let backends = &pool.tiers[0].backends;
    turn(&mut ejector, &pool, true, START);
    backends[0].state.judge(false, START);
    backends[3].state.quarantine_for(Duration::from_secs(5), &pool.health, START);
    serve(&backends[1], 0, 50, Duration::ZERO);
    assert!(turn(&mut ejector, &pool, true, after(1)).is_empty());
    let ejected = turn(&mut ejector, &pool, true, after(6));
    assert_eq!(ejected, ["1 ejected for 10s: 50 of 50"], "the quarantine is over");
}

#[test]
fn slow_ones_are_ejected_where_the_policy_looks_at_latency() {
    for (policy, slow_millis, expected) in [
        (Policy::Fastest, 62, vec!["0 ejected for 10s: 62ms instead of 10ms"]),
        (Policy::Fastest, 59, vec![]),
        (Policy::RoundRobin, 1000, vec![]),
    ] {
        let (pool, mut ejector) = (pool(policy, 2), Ejector::default());
        turn(&mut ejector, &pool, false, START);
        serve(&pool.tiers[0].backends[0], 30, 0, Duration::from_millis(slow_millis));
        serve(&pool.tiers[0].backends[1], 30, 0, Duration::from_millis(10));
        assert_eq!(turn(&mut ejector, &pool, false, after(1)), expected, "{policy:?}");
    }
}

#[test]
fn where_there_are_probes_one_of_them_is_the_trial() {
    let (pool, mut ejector) = (pool(Policy::RoundRobin, 2), Ejector::default());
    let state = &pool.tiers[0].backends[0].state;
    turn(&mut ejector, &pool, true, START);
    serve(&pool.tiers[0].backends[0], 0, 20, Duration::ZERO);
    turn(&mut ejector, &pool, true, after(1));
    state.judge(true, after(5));
    assert!(matches!(state.health(), Health::Ejected { .. }), "its time has not passed");
    assert_eq!(turn(&mut ejector, &pool, true, after(11)), ["0 on trial"]);
    for seed in 0..50 {
        let mut attempt = Attempt::new(Client::default(), seed);
        let lease = pool.next_backend(&mut attempt, after(11)).unwrap();
        assert_eq!(&*lease.backend().name, "1", "no client is the trial");
    }
    assert_eq!(turn(&mut ejector, &pool, true, after(12)), ["0 on trial"], "asks again");
    state.judge(true, after(12));
    assert_eq!(turn(&mut ejector, &pool, true, after(13)), ["0 recovered"]);
    serve(&pool.tiers[0].backends[0], 0, 5, Duration::ZERO);
    assert_eq!(turn(&mut ejector, &pool, true, after(14)), ["0 ejected for 20s: 5 of 5"]);
    turn(&mut ejector, &pool, true, after(34));
    state.judge(false, after(35));
    assert!(turn(&mut ejector, &pool, true, after(36)).is_empty());
    assert!(matches!(state.health(), Health::Down { .. }), "from here on, probes decide");
}

#[test]
fn operators_and_reloads_end_an_ejection() {
    let (mut pool, mut ejector) = (pool(Policy::RoundRobin, 4), Ejector::default());
    turn(&mut ejector, &pool, false, START);
    (0..2).for_each(|it| serve(&pool.tiers[0].backends[it], 0, 20, Duration::ZERO));
    assert_eq!(turn(&mut ejector, &pool, false, after(1)).len(), 2);
    let state = &pool.tiers[0].backends[0].state;
    state.quarantine_for(Duration::ZERO, &pool.health, after(2));
    assert_eq!(turn(&mut ejector, &pool, false, after(2)), ["0 recovered"]);
    pool.eject_most = None;
    assert_eq!(turn(&mut ejector, &pool, false, after(3)), ["1 recovered"]);
}

/// Which backends ten sessions are offered.
fn offered(pool: &Pool) -> Vec<String> {
    let lease = |seed| pool.next_backend(&mut Attempt::new(Client::default(), seed), after(1));
    let mut names: Vec<_> =
        (0..10).filter_map(lease).map(|it| it.backend().name.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn thin_tiers_ignore_health_or_refuse() {
    let least = Percent::new(50).unwrap();
    for (thin, word, taking) in [
        (Thin::FailOpenBelow(least), "FailOpen with 1 of 4", vec!["0", "1", "2", "3"]),
        (Thin::RefuseBelow(least), "Refuse with 1 of 4", vec![]),
    ] {
        let mut pool = pool(Policy::RoundRobin, 5);
        (pool.thin, pool.eject_most) = (Some(thin), None);
        let states: Vec<_> =
            pool.tiers[0].backends.iter().map(|it| Arc::clone(&it.state)).collect();
        states[4].set_admin(AdminState::Disabled);
        let mut ejector = Ejector::default();
        states[..2].iter().for_each(|it| assert!(it.judge(false, START)));
        assert!(turn(&mut ejector, &pool, true, START).is_empty(), "two of four are enough");
        assert_eq!(offered(&pool), ["2", "3"]);
        states[2].judge(false, START);
        assert_eq!(turn(&mut ejector, &pool, true, START), [word]);
        assert_eq!(offered(&pool), taking);
        states[1].judge(true, START);
        assert_eq!(turn(&mut ejector, &pool, true, START), ["Normal with 2 of 4"]);
        assert_eq!(offered(&pool), ["1", "3"]);
    }
}

/// Backends fail more or less, are stopped and started, and their sessions come in bursts. However
/// that goes, nobody good is ejected, the limits hold, and nobody stays out for longer than was said.
#[test]
fn simulation() {
    sweep(300, |seed, _| {
        let mut rng = Rng::new(seed);
        let (count, is_probed) = (1 + rng.below(9), rng.one_in(2));
        let mut pool = pool(Policy::RoundRobin, count);
        let most = 1 + rng.below(100) as u8;
        pool.eject_most = Percent::new(most);
        let allowed = (count * usize::from(most) / 100).max(1);
        let backends = pool.tiers[0].backends.iter().cloned().collect::<Vec<_>>();
        let mut tenths: Vec<_> = (0..count).map(|_| rng.below(11) as u64).collect();
        // Since when each has failed as it does, and until when it is out.
        let mut since = vec![START; count];
        let mut until: Vec<Option<Instant>> = vec![None; count];
        let (mut ejector, mut now) = (Ejector::default(), START);
        turn(&mut ejector, &pool, is_probed, now);
        for _ in 0..400 {
            now = now + Duration::from_millis(50 + rng.below(500) as u64);
            for (it, backend) in backends.iter().enumerate() {
                if rng.one_in(100) {
                    (tenths[it], since[it]) = (rng.below(11) as u64, now);
                }
                let is_out = backend.state.health().is_left_out(&pool.health, now);
                if !is_out {
                    serve(backend, 10 - tenths[it], tenths[it], Duration::ZERO);
                }
                if is_probed && rng.one_in(4) {
                    backend.state.judge(!rng.one_in(50), now);
                }
            }
            for (_, change) in ejector.turn([(&pool, is_probed)].into_iter(), now) {
                match change {
                    QualityChange::Ejected(backend, complaint, length) => {
                        let it: usize = backend.name.parse().unwrap();
                        let Complaint::Failed(failed, of) = complaint else { panic!("not slow") };
                        assert!(failed * 2 >= of && of >= 5);
                        let is_settled = now.since(since[it]) > Duration::from_secs(11);
                        assert!(!is_settled || tenths[it] >= 5, "{it} fails too rarely");
                        assert_eq!(until[it].replace(now + length), None);
                        let is_out =
                            |it: &&Arc<Backend>| it.state.health().is_left_out(&pool.health, now);
                        assert!(backends.iter().filter(is_out).count() <= allowed);
                    }
                    QualityChange::Recovered(backend) | QualityChange::OnTrial(backend) => {
                        let it: usize = backend.name.parse().unwrap();
                        assert!(until[it].take().is_none_or(|until| until <= now));
                    }
                    QualityChange::Stance { .. } => panic!("nobody has asked for that"),
                }
            }
            for (it, backend) in backends.iter().enumerate() {
                let is_ejected = matches!(backend.state.health(), Health::Ejected { .. });
                assert!(!is_ejected || until[it].is_some_and(|until| now < until));
                if !is_ejected {
                    until[it] = None; // found down meanwhile
                }
            }
        }
        assert_eq!(HealthLimits::default(), pool.health);
    });
}
