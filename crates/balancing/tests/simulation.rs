//! Seeded simulation: sessions come and go, backends fail and recover, operators interfere, time
//! passes. After each step everything that must always hold is checked.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

use balancing::{
    AdminState, Affinity, Attempt, Backend, BackendState, Client, FailoverScope, HealthLimits,
    Lease, LoadBound, Outcome, Plan, Policy, Pool, Tier,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use terms::{BackendId, Instant, Limit};
use testing::{Rng, sweep};

const POLICIES: [Policy; 10] = [
    Policy::RoundRobin,
    Policy::Hash,
    Policy::LeastSessions,
    Policy::Random,
    Policy::WeightedTurn,
    Policy::LeastWeighted,
    Policy::Two,
    Policy::Fastest,
    Policy::Maglev,
    Policy::Rendezvous,
];

struct World {
    rng: Rng,
    pool: Pool,
    now: Instant,
    open: Vec<Lease>,
    is_down: BTreeMap<Arc<str>, bool>,
}

fn backend(name: String, limit: i32) -> Arc<Backend> {
    let limit = Limit::from_number(limit);
    let state = Arc::new(BackendState::new(1, AdminState::Enabled, limit));
    Arc::new(Backend::new(name, vec![], state))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let tiers = (0..1 + rng.below(3)).map(|tier| Tier {
            policy: POLICIES[rng.below(POLICIES.len())],
            failover: match rng.below(8) {
                0 => FailoverScope::LaterTiers,
                1 => FailoverScope::Nothing,
                _ => FailoverScope::WholeTier,
            },
            backends: (0..rng.below(5))
                .map(|index| backend(format!("{tier}.{index}"), rng.below(5) as i32 - 1))
                .collect(),
            ..Tier::default()
        });
        let tiers = tiers.collect();
        let health = HealthLimits {
            fall: 1 + rng.below(2) as u32,
            rise: 1 + rng.below(2) as u32,
            quarantine: Duration::from_secs(rng.below(3) as u64 * 5),
            last_resort: true,
        };
        let pool = Pool { tiers, health, auto_disable: rng.one_in(6), ..Pool::default() };
        let open = Vec::new();
        Self { rng, pool, now: Instant::ZERO, open, is_down: BTreeMap::new() }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=9 => self.connect(),
            10..=13 if !self.open.is_empty() => {
                let index = self.rng.below(self.open.len());
                drop(self.open.swap_remove(index));
            }
            14 => self.now = self.now + Duration::from_millis(self.rng.below(8000) as u64),
            15..=16 => {
                if let Some(backend) = self.any_backend() {
                    let down = self.is_down.entry(backend.name.clone()).or_default();
                    *down = !*down;
                }
            }
            17 => {
                if let Some(backend) = self.any_backend() {
                    let limit = Limit::from_number(self.rng.below(6) as i32 - 1);
                    backend.state.set_sessions_max(limit);
                }
            }
            18 => {
                let states = [AdminState::Enabled, AdminState::Disabled, AdminState::Draining];
                if let Some(backend) = self.any_backend() {
                    backend.state.set_admin(states[self.rng.below(3)]);
                }
            }
            _ => {
                let tier = self.rng.below(self.pool.tiers.len());
                let policy = POLICIES[self.rng.below(POLICIES.len())];
                let load_bound = LoadBound::from_hundredths(100 + self.rng.below(50) as u32);
                let running = &self.pool.tiers[tier];
                let next = Tier { policy, load_bound, plan: Plan::default(), ..running.clone() };
                self.pool.tiers[tier] = next.prepare(Some(running));
            }
        }
    }

    fn any_backend(&mut self) -> Option<Arc<Backend>> {
        let all: Vec<_> = self.pool.backends().map(|(_, _, it)| Arc::clone(it)).collect();
        (!all.is_empty()).then(|| Arc::clone(&all[self.rng.below(all.len())]))
    }

    /// Whether a backend is in service and has room.
    fn is_usable(backend: &Backend) -> bool {
        let state = &backend.state;
        state.sessions_max().allows(state.sessions()) && state.admin() == AdminState::Enabled
    }

    fn connect(&mut self) {
        let mut attempt = Attempt::new(client(self.rng.draw() as u32), self.rng.draw());
        let mut tried: Vec<Arc<str>> = Vec::new();
        loop {
            let usable: Vec<Arc<str>> = self.usable_untried(&tried, false);
            let well: Vec<Arc<str>> = self.usable_untried(&tried, true);
            let Some(lease) = self.pool.next_backend(&mut attempt, self.now) else {
                let whole =
                    self.pool.tiers.iter().all(|it| it.failover == FailoverScope::WholeTier);
                assert!(!whole || usable.is_empty(), "passed over {usable:?}");
                return;
            };
            let name = lease.backend().name.clone();
            assert!(usable.contains(&name), "{name} is out of service, full or was tried");
            let whole = self.pool.tiers.iter().all(|it| it.failover == FailoverScope::WholeTier);
            assert!(!whole || well.is_empty() || well.contains(&name), "{name} is left out");
            let outcome = match self.is_down.get(&name) {
                Some(true) => Outcome::Failure,
                _ => Outcome::Success,
            };
            self.pool.report(&mut attempt, &lease, outcome, self.now);
            if outcome == Outcome::Success {
                self.open.push(lease);
                return;
            }
            tried.push(name);
        }
    }

    fn usable_untried(&self, tried: &[Arc<str>], well: bool) -> Vec<Arc<str>> {
        let all = self.pool.backends().map(|(_, _, backend)| backend);
        all.filter(|it| Self::is_usable(it) && !tried.contains(&it.name))
            .filter(|it| !well || !it.state.health().is_left_out(&self.pool.health, self.now))
            .map(|it| it.name.clone())
            .collect()
    }

    /// Counts match, whatever happened.
    fn check(&self) {
        for (_, _, backend) in self.pool.backends() {
            let held = self.open.iter().filter(|it| it.backend().name == backend.name).count();
            assert_eq!(backend.state.sessions() as usize, held, "{} miscounted", backend.name);
        }
    }
}

#[test]
fn limits_hold_and_nothing_usable_is_passed_over() {
    sweep(300, |seed, step| {
        let mut world = World::new(seed);
        for number in 0..400 {
            step.set(number);
            world.step();
            world.check();
        }
    });
}

/// Several workers at once: each serves `rounds` sessions, keeping the last `kept` open.
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn in_parallel(
    pool: &Pool,
    workers: usize,
    rounds: usize,
    kept: usize,
    seen: impl Fn(&Lease) + Sync,
) {
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut open = std::collections::VecDeque::new();
                for round in 0..rounds {
                    let mut attempt = Attempt::new(client(round as u32), round as u64);
                    if let Some(lease) = pool.next_backend(&mut attempt, Instant::ZERO) {
                        seen(&lease);
                        open.push_back(lease);
                    }
                    if open.len() > kept {
                        open.pop_front();
                    }
                }
            });
        }
    });
}

fn one_tier(backends: Vec<Arc<Backend>>, policy: Policy) -> Pool {
    let backends = backends.into_iter().collect();
    let tier = Tier { policy, backends, ..Tier::default() };
    Pool { tiers: vec![tier], ..Pool::default() }
}

#[test]
fn turns_are_exact_across_workers() {
    let backends: Vec<_> = (0..3).map(|index| backend(index.to_string(), 0)).collect();
    let counts = [const { AtomicUsize::new(0) }; 3];
    let pool = one_tier(backends, Policy::RoundRobin);
    in_parallel(&pool, 4, 3000, 5, |lease| {
        let index: usize = lease.backend().name.parse().unwrap();
        counts[index].fetch_add(1, SeqCst);
    });
    assert_eq!(counts.map(AtomicUsize::into_inner), [4000; 3]);
}

#[test]
fn limits_are_exact_across_workers() {
    for policy in POLICIES {
        let backends: Vec<_> = (0..3).map(|index| backend(index.to_string(), 2)).collect();
        let pool = one_tier(backends, policy);
        in_parallel(&pool, 4, 3000, 3, |lease| {
            let sessions = lease.backend().state.sessions();
            assert!((1..=2).contains(&sessions), "{policy:?}: {sessions} sessions of 2");
        });
        assert!(pool.backends().all(|(_, _, it)| it.state.sessions() == 0), "leaked");
    }
}

#[test]
fn limits_are_exact_across_workers_with_memory() {
    for policy in [Policy::Rotation, Policy::AddressHash, Policy::Priority] {
        let backends: Vec<_> = (0..3).map(|index| backend(index.to_string(), 1)).collect();
        backends.iter().for_each(|backend| backend.state.set_sessions_max_affine(2));
        let mut pool = one_tier(backends, policy);
        pool.affinity = Some(Arc::new(Affinity::new(100, None, 7)));
        pool.sticky = true;
        in_parallel(&pool, 4, 3000, 3, |lease| {
            let sessions = lease.backend().state.sessions();
            assert!((1..=2).contains(&sessions), "{policy:?}: {sessions} sessions of 2");
        });
        assert!(pool.backends().all(|(_, _, it)| it.state.sessions() == 0), "leaked");
        let rows = pool.affinity.as_ref().map_or(vec![], |table| table.rows());
        assert_eq!(rows.len(), 100, "{policy:?}");
    }
}

#[test]
fn clients_stay_with_the_backends_that_stay() {
    sweep(300, |seed, step| {
        let mut rng = Rng::new(seed);
        let table = Arc::new(Affinity::new(100, None, seed));
        let mut homes: BTreeMap<u32, BackendId> = BTreeMap::new();
        let mut backends: Vec<Arc<Backend>> = Vec::new();
        let mut id = BackendId::default();
        for number in 0..50 {
            step.set(number);
            backends.retain(|_| !rng.one_in(6));
            for _ in 0..rng.below(4) {
                id = id.next();
                let state = BackendState::new(1, AdminState::Enabled, Limit::None);
                let new = Backend::new(id.to_string(), vec![], Arc::new(state));
                let new = Arc::new(Backend { id, ..new });
                backends.insert(rng.below(backends.len() + 1), new);
            }
            let len = backends.len();
            backends.rotate_left(rng.below(len + 1));
            let (first, second) = backends.split_at(rng.below(len + 1));
            let tier = |all: &[Arc<Backend>]| Tier {
                policy: POLICIES[rng.below(POLICIES.len())],
                backends: all.iter().map(Arc::clone).collect(),
                ..Tier::default()
            };
            let tiers = [first, second].map(tier).into();
            let affinity = Some(Arc::clone(&table));
            let pool = Pool { tiers, affinity, sticky: true, ..Pool::default() };
            for _ in 0..20 {
                let who = rng.below(40) as u32;
                let mut attempt = Attempt::new(client(who), rng.draw());
                let lease = pool.next_backend(&mut attempt, Instant::ZERO);
                let chosen = lease.map(|lease| lease.backend().id);
                let is_first = |id: &BackendId| first.iter().any(|it| it.id == *id);
                if let Some(home) = homes.get(&who).filter(|id| is_first(id)) {
                    assert_eq!(chosen, Some(*home), "client {who} was sent elsewhere");
                }
                match chosen {
                    Some(id) if is_first(&id) => drop(homes.insert(who, id)),
                    Some(_) => drop(homes.remove(&who)),
                    None => {}
                }
            }
        }
    });
}

fn client(number: u32) -> Client {
    let address = std::net::Ipv4Addr::from_bits(number).into();
    Client { address: Some(address), ..Client::default() }
}
