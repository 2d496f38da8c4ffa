//! What one decision costs: a new session's choice, its way past dead backends, a health report.
//!
//! `cargo bench -p balancing` prints a table. `DESIGN` asks that choosing among 10 000 backends
//! costs less than a microsecond, and native.md less than 100 ns with the policies for many backends.
//! `least-weighted` looks at every backend and is meant for a thousand at most.

use balancing::{
    AdminState, Attempt, Backend, BackendState, Client, FailoverScope, HealthLimits, LoadBound,
    Outcome, Plan, Policy, Pool, Tier,
};
use divan::{Bencher, black_box};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, Instant, Limit};

const SIZES: [usize; 3] = [10, 1000, 10_000];
const NOW: Instant = Instant::from_millis(1_000_000);

fn main() {
    // Otherwise a first choice among cold memory makes each sample a single one.
    divan::Divan::from_args().sample_size(200).main();
}

/// A pool of `tiers` tiers with `backends` backends each.
fn pool(tiers: usize, backends: usize, policy: Policy) -> Pool {
    let backend = |number: usize| {
        let address = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + number as u32), 80));
        let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
        Arc::new(Backend::new(address.to_string(), vec![Address::Ip(address)], state))
    };
    let tier = |first: usize| {
        let backends = (first..first + backends).map(backend).collect();
        Tier { policy, failover: FailoverScope::WholeTier, backends, ..Tier::default() }
            .prepare(None)
    };
    Pool { tiers: (0..tiers).map(|index| tier(index * backends)).collect(), ..Pool::default() }
}

/// A session that takes a place and gives it back at once.
fn choose(bencher: Bencher<'_, '_>, pool: &Pool) {
    let mut number = 0u64;
    bencher.bench_local(|| {
        number += 1;
        let address = IpAddr::V4(Ipv4Addr::from_bits(number as u32));
        let client = Client { address: Some(address), ..Client::default() };
        let mut attempt = Attempt::new(client, number);
        black_box(pool.next_backend(&mut attempt, NOW)).is_some()
    });
}

/// Every backend is well and has room.
mod healthy {
    use super::{Bencher, Duration, LoadBound, NOW, Policy, SIZES, Tier, choose, pool};

    #[divan::bench(args = SIZES)]
    fn round_robin(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::RoundRobin));
    }

    #[divan::bench(args = SIZES)]
    fn hash(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::Hash));
    }

    #[divan::bench(args = SIZES)]
    fn random(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::Random));
    }

    #[divan::bench(args = SIZES)]
    fn least_sessions(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::LeastSessions));
    }

    #[divan::bench(args = SIZES)]
    fn least_weighted(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::LeastWeighted));
    }

    #[divan::bench(args = SIZES)]
    fn weighted_turn(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::WeightedTurn));
    }

    #[divan::bench(args = SIZES)]
    fn two(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::Two));
    }

    #[divan::bench(args = SIZES)]
    fn fastest(bencher: Bencher<'_, '_>, backends: usize) {
        let pool = pool(1, backends, Policy::Fastest);
        for (_, index, backend) in pool.backends() {
            let took = Duration::from_millis(1 + index as u64 % 7);
            backend.state.latency().observe(took, NOW - Duration::from_secs(1));
        }
        choose(bencher, &pool);
    }

    #[divan::bench(args = SIZES)]
    fn maglev(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::Maglev));
    }

    #[divan::bench(args = SIZES)]
    fn maglev_bound(bencher: Bencher<'_, '_>, backends: usize) {
        let mut pool = pool(1, backends, Policy::Maglev);
        let tier = pool.tiers.remove(0);
        let tier = Tier { load_bound: LoadBound::from_hundredths(125), ..tier };
        pool.tiers.push(tier.prepare(None));
        choose(bencher, &pool);
    }

    #[divan::bench(args = [10, 256])]
    fn rendezvous(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &pool(1, backends, Policy::Rendezvous));
    }
}

/// What a change of backends costs before the first session: the tables of consistent hashing, and
/// turns by weight.
mod prepare {
    use super::{Bencher, Plan, Policy, SIZES, Tier, black_box, pool};

    #[divan::bench(args = SIZES)]
    fn maglev(bencher: Bencher<'_, '_>, backends: usize) {
        prepare(bencher, backends, Policy::Maglev);
    }

    #[divan::bench(args = SIZES)]
    fn weighted_turn(bencher: Bencher<'_, '_>, backends: usize) {
        prepare(bencher, backends, Policy::WeightedTurn);
    }

    fn prepare(bencher: Bencher<'_, '_>, backends: usize, policy: Policy) {
        let tier = &pool(1, backends, policy).tiers[0];
        bencher.bench_local(|| {
            black_box(Tier { plan: Plan::default(), ..tier.clone() }.prepare(None))
        });
    }
}

/// Nine in ten are disabled, spread evenly: what passing over costs.
mod mostly_disabled {
    use super::{AdminState, Bencher, Policy, Pool, SIZES, choose, pool};

    fn thinned(backends: usize, policy: Policy) -> Pool {
        let pool = pool(1, backends, policy);
        for (_, index, backend) in pool.backends() {
            if index % 10 != 0 {
                backend.state.set_admin(AdminState::Disabled);
            }
        }
        pool
    }

    #[divan::bench(args = SIZES)]
    fn round_robin(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &thinned(backends, Policy::RoundRobin));
    }

    #[divan::bench(args = SIZES)]
    fn random(bencher: Bencher<'_, '_>, backends: usize) {
        choose(bencher, &thinned(backends, Policy::Random));
    }
}

/// What follows when connects fail.
mod failing {
    use super::{
        Attempt, Bencher, Duration, HealthLimits, NOW, Outcome, Policy, Pool, SIZES, black_box,
        pool,
    };

    /// One session whose first `failures` connects fail; none is remembered, as in balance(1).
    fn fail_over(bencher: Bencher<'_, '_>, mut pool: Pool, failures: usize) {
        pool.health = HealthLimits { quarantine: Duration::ZERO, ..HealthLimits::default() };
        bencher.bench_local(|| {
            let mut attempt = Attempt::new(super::Client::default(), 7);
            for _ in 0..failures {
                let lease = pool.next_backend(&mut attempt, NOW);
                if let Some(lease) = lease {
                    pool.report(&mut attempt, &lease, Outcome::Failure, NOW);
                }
            }
            black_box(pool.next_backend(&mut attempt, NOW)).is_some()
        });
    }

    /// Three backends of one tier fail, the fourth is taken.
    #[divan::bench(args = SIZES)]
    fn three_in_a_tier(bencher: Bencher<'_, '_>, backends: usize) {
        fail_over(bencher, pool(1, backends, Policy::RoundRobin), 3);
    }

    /// Three tiers of one backend fail, the fourth is taken: `a ! b ! c ! d`.
    #[divan::bench]
    fn three_tiers(bencher: Bencher<'_, '_>) {
        fail_over(bencher, pool(4, 1, Policy::RoundRobin), 3);
    }

    /// Everything is in quarantine, and the last resort finds one all the same.
    #[divan::bench(args = SIZES)]
    fn last_resort(bencher: Bencher<'_, '_>, backends: usize) {
        let pool = pool(1, backends, Policy::RoundRobin);
        for _ in 0..backends {
            let mut attempt = Attempt::new(super::Client::default(), 0);
            if let Some(lease) = pool.next_backend(&mut attempt, NOW) {
                pool.report(&mut attempt, &lease, Outcome::Failure, NOW);
            }
        }
        bencher.bench_local(|| {
            let mut attempt = Attempt::new(super::Client::default(), 7);
            black_box(pool.next_backend(&mut attempt, NOW)).is_some()
        });
    }
}

/// What one report of a connect costs.
mod health {
    use super::{Attempt, Bencher, NOW, Outcome, Policy, pool};

    /// A success at a backend that is well: the common case, which writes nothing.
    #[divan::bench]
    fn success(bencher: Bencher<'_, '_>) {
        report(bencher, &[Outcome::Success]);
    }

    /// A failure that quarantines, and the success that ends it.
    #[divan::bench]
    fn failure_and_recovery(bencher: Bencher<'_, '_>) {
        report(bencher, &[Outcome::Failure, Outcome::Success]);
    }

    fn report(bencher: Bencher<'_, '_>, outcomes: &[Outcome]) {
        let pool = pool(1, 10, Policy::RoundRobin);
        bencher.bench_local(|| {
            let mut attempt = Attempt::new(super::Client::default(), 7);
            let Some(lease) = pool.next_backend(&mut attempt, NOW) else { return };
            for &outcome in outcomes {
                pool.report(&mut attempt, &lease, outcome, NOW);
            }
        });
    }
}

/// Every backend refuses, and the session asks each of them.
mod refusing {
    use super::{Attempt, Bencher, Client, NOW, Outcome, Policy, black_box, pool};

    #[divan::bench(args = [Policy::RoundRobin, Policy::LeastSessions, Policy::Rendezvous],
                   sample_size = 1, sample_count = 3)]
    fn all_of_1000(bencher: Bencher<'_, '_>, policy: Policy) {
        let pool = pool(1, 1000, policy);
        bencher.bench_local(|| {
            let mut attempt = Attempt::new(Client::default(), 1);
            while let Some(lease) = pool.next_backend(&mut attempt, NOW) {
                pool.report(&mut attempt, &lease, Outcome::Failure, NOW);
            }
            black_box(attempt.tried_count())
        });
    }
}
