//! Seeded simulation of pools as pen has them, against a plain reading of pen's specification
//! (`pen.md` 5 to 9 and 15, with what 22 says to do better). Sessions are under way at the same
//! time, servers fail and recover, settings change; both must choose alike, remember alike and
//! count alike after every step.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

mod oracle;

use balancing::{
    AccessEntry, AccessList, AdminState, Affinity, Attempt, Backend, BackendState, Client,
    FailoverScope, HealthLimits, Lease, Outcome, Policy, Pool, Subject, Tier, Verdict,
};
use oracle::{Algorithm, Pen, Row, Scan, Server, Who};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, Instant, Limit};
use testing::{Rng, sweep};

/// A session whose connect is under way.
struct Connecting {
    attempt: Attempt,
    scan: Scan,
    lease: Lease,
    who: Who,
}

struct World {
    rng: Rng,
    pool: Pool,
    pen: Pen,
    connecting: Vec<Connecting>,
    open: Vec<(Lease, Who)>,
    down: Vec<Who>,
}

/// Time of the clock at the start: settings may reach back beyond it.
const START: u64 = 1 << 40;

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let lists: Vec<_> = (0..4).map(|list| random_list(&mut rng, list)).collect();
        let servers: Vec<_> = (0..rng.below(6)).map(|_| random_server(&mut rng)).collect();
        let other = |rng: &mut Rng| {
            let list = rng.below(2);
            rng.one_in(2).then(|| Server { list, ..Server::default() })
        };
        let pen = Pen {
            emergency: other(&mut rng),
            abuse: other(&mut rng),
            servers,
            lists,
            clients_max: 1 + rng.below(6),
            now: START,
            blacklist: 5000,
            ..Pen::default()
        };
        let ids = Cell::new(BackendId::default());
        let build = |server: &Server| {
            ids.set(ids.get().next());
            Arc::new(Backend { id: ids.get(), ..backend(server, &pen.lists) })
        };
        let tier =
            |servers| Tier { backends: servers, policy: Policy::Rotation, ..Tier::default() };
        let regular = tier(pen.servers.iter().map(build).collect());
        let emergency = tier(pen.emergency.iter().map(build).collect());
        let pool = Pool {
            tiers: vec![regular, emergency],
            health: HealthLimits {
                quarantine: Duration::from_millis(pen.blacklist),
                last_resort: false,
                ..HealthLimits::default()
            },
            access: access(&pen.lists[0]),
            reject: pen.abuse.as_ref().map(build),
            affinity: Some(Arc::new(Affinity::new(pen.clients_max, None, seed))),
            sticky: true,
            ..Pool::default()
        };
        let mut world = Self { rng, pool, pen, connecting: vec![], open: vec![], down: vec![] };
        (0..3).for_each(|_| world.change_settings());
        world
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.pen.now)
    }

    fn table(&self) -> &Affinity {
        self.pool.affinity.as_ref().expect("pools of pen have one")
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=7 => self.begin(),
            8..=11 if !self.connecting.is_empty() => self.finish_connect(),
            12..=14 if !self.open.is_empty() => {
                let index = self.rng.below(self.open.len());
                let (lease, who) = self.open.swap_remove(index);
                drop(lease);
                self.pen.server(who).connections -= 1;
            }
            15 => self.pen.now += self.rng.below(4000) as u64,
            16 => {
                if let Some(who) = self.any() {
                    match self.down.iter().position(|&it| it == who) {
                        Some(index) => drop(self.down.swap_remove(index)),
                        None => self.down.push(who),
                    }
                }
            }
            17 => self.change_server(),
            18 => self.change_settings(),
            _ => {}
        }
    }

    fn any(&mut self) -> Option<Who> {
        let mut all: Vec<_> = (0..self.pen.servers.len()).map(Who::Server).collect();
        all.extend(self.pen.emergency.is_some().then_some(Who::Emergency));
        all.extend(self.pen.abuse.is_some().then_some(Who::Abuse));
        (!all.is_empty()).then(|| all[self.rng.below(all.len())])
    }

    fn begin(&mut self) {
        let client = random_client(&mut self.rng);
        self.go_on(Attempt::new(client, 0), Scan::new(client));
    }

    fn finish_connect(&mut self) {
        let index = self.rng.below(self.connecting.len());
        let Connecting { mut attempt, scan, lease, who } = self.connecting.swap_remove(index);
        let is_down = self.down.contains(&who);
        let outcome = if is_down { Outcome::Failure } else { Outcome::Success };
        self.pool.report(&mut attempt, &lease, outcome, self.now());
        self.pen.report(who, is_down);
        if is_down {
            drop(lease);
            self.go_on(attempt, scan);
        } else {
            self.open.push((lease, who));
        }
    }

    /// The next backend by both, which must be the same.
    fn go_on(&mut self, mut attempt: Attempt, mut scan: Scan) {
        let lease = self.pool.next_backend(&mut attempt, self.now());
        let who = self.pen.next(&mut scan);
        let chosen = lease.as_ref().map(|lease| lease.backend());
        let expected = who.map(|who| self.backend(who));
        let name = |backend: Option<&Arc<Backend>>| backend.map(|it| it.name.clone());
        assert!(
            chosen.map(Arc::as_ptr) == expected.map(Arc::as_ptr),
            "{:?}: {:?} instead of {who:?} {:?}",
            attempt.client(),
            name(chosen),
            name(expected)
        );
        assert_eq!(attempt.is_denied(), scan.is_denied);
        if let (Some(lease), Some(who)) = (lease, who) {
            self.connecting.push(Connecting { attempt, scan, lease, who });
        }
    }

    fn backend(&self, who: Who) -> &Arc<Backend> {
        match who {
            Who::Server(index) => &self.pool.tiers[0].backends[index],
            Who::Emergency => &self.pool.tiers[1].backends[0],
            Who::Abuse => self.pool.reject.as_ref().expect("there is one"),
        }
    }

    fn change_server(&mut self) {
        let Some(who) = self.any() else { return };
        let (what, number) = (self.rng.below(4), self.rng.below(5));
        let (now, limits) = (self.now(), self.pool.health);
        let state = Arc::clone(&self.backend(who).state);
        let (at, blacklist) = (self.pen.now, self.pen.blacklist);
        let server = self.pen.server(who);
        match what {
            0 => {
                let millis = number as u64 * 2000;
                state.quarantine_for(Duration::from_millis(millis), &limits, now);
                server.failure = Some(at + millis - blacklist);
            }
            1 if matches!(who, Who::Server(_)) => {
                server.is_off = !server.is_off;
                let off = if server.is_off { AdminState::Disabled } else { AdminState::Enabled };
                state.set_admin(off);
                // Enabling says that it is well.
                server.failure = server.failure.filter(|_| server.is_off);
            }
            2 if matches!(who, Who::Server(_)) => {
                server.soft = number as i32;
                state.set_sessions_max(Limit::from_number(server.soft));
            }
            _ if matches!(who, Who::Server(_)) => {
                server.hard = number as i32;
                state.set_sessions_max_affine(server.hard as u32);
            }
            _ => {}
        }
    }

    fn change_settings(&mut self) {
        match self.rng.below(6) {
            0 => {
                self.pen.blacklist = self.rng.below(4) as u64 * 3000;
                self.pool.health.quarantine = Duration::from_millis(self.pen.blacklist);
            }
            1 => {
                self.pen.client_list = self.rng.below(self.pen.lists.len());
                self.pool.access = access(&self.pen.lists[self.pen.client_list]);
            }
            2 => {
                self.pen.is_stubborn = self.rng.one_in(4);
                self.pool.tiers[0].failover = match self.pen.is_stubborn {
                    true => FailoverScope::Nothing,
                    false => FailoverScope::WholeTier,
                };
            }
            3 => {
                let size = 1 + self.rng.below(10);
                self.pen.clients_max = self.pen.clients_max.max(size);
                self.table().grow(size);
            }
            4 => {
                let limit = self.rng.one_in(2).then(|| self.rng.below(9) as u64 * 1000);
                self.pen.tracking = limit;
                let limit = limit.map(Duration::from_millis);
                self.table().set_time_limit(limit);
            }
            _ => {
                use Algorithm::{Hash, Prio, RoundRobin, Weight};
                self.pen.algorithm = [RoundRobin, Hash, Weight, Prio][self.rng.below(4)];
                self.pen.is_roundrobin = self.rng.one_in(3);
                self.pool.sticky = !self.pen.is_roundrobin;
                self.pool.tiers[0].policy = match self.pen.algorithm {
                    RoundRobin => Policy::Rotation,
                    Hash if self.pen.is_roundrobin => Policy::AddressPortHash,
                    Hash => Policy::AddressHash,
                    Weight => Policy::Weighted,
                    Prio => Policy::Priority,
                };
            }
        }
    }

    /// Both count and remember alike.
    fn check(&mut self) {
        let servers = &self.pool.tiers[0].backends;
        let rows = self.table().rows();
        let rows = rows.into_iter().map(|row| Row {
            slot: row.slot,
            client: row.client,
            last_used: row.last_used.as_millis(),
            server: row.backend.and_then(|id| servers.place(id)),
            connects: row.connects,
        });
        assert_eq!(rows.collect::<Vec<_>>(), self.pen.rows());
        let mut all: Vec<_> = (0..self.pen.servers.len()).map(Who::Server).collect();
        all.extend(self.pen.emergency.is_some().then_some(Who::Emergency));
        all.extend(self.pen.abuse.is_some().then_some(Who::Abuse));
        for who in all {
            let state = &self.backend(who).state;
            let left_out = state.health().is_left_out(&self.pool.health, self.now());
            let sessions = i64::from(state.sessions());
            let held = self.open.iter().filter(|it| it.1 == who).count()
                + self.connecting.iter().filter(|it| it.who == who).count();
            assert_eq!(left_out, self.pen.is_blacklisted(who), "{who:?}");
            assert_eq!(sessions, held as i64, "{who:?}");
            assert_eq!(sessions, self.pen.server(who).connections, "{who:?}");
        }
    }
}

fn backend(server: &Server, lists: &[Vec<oracle::Entry>]) -> Backend {
    let state = BackendState::new(1, AdminState::Enabled, Limit::from_number(server.soft));
    state.set_sessions_max_affine(server.hard as u32);
    let mut backend = Backend::new("backend", vec![], Arc::new(state));
    backend.weight = server.weight;
    backend.priority = server.prio;
    backend.access = access(&lists[server.list]);
    backend
}

fn access(list: &[oracle::Entry]) -> Arc<AccessList> {
    let entry = |entry: &oracle::Entry| AccessEntry {
        verdict: if entry.is_permit { Verdict::Permit } else { Verdict::Deny },
        subject: match entry.address {
            IpAddr::V4(address) => {
                Subject::V4 { address, mask: Ipv4Addr::from_bits(entry.mask as u32) }
            }
            IpAddr::V6(address) => Subject::V6 { address, prefix: entry.mask.leading_ones() as u8 },
        },
    };
    Arc::new(AccessList::new(list.iter().map(entry).collect()))
}

fn random_server(rng: &mut Rng) -> Server {
    Server {
        soft: if rng.one_in(2) { 0 } else { rng.below(4) as i32 },
        hard: rng.below(5) as i32,
        weight: rng.below(4) as u32,
        prio: rng.below(3) as i32,
        list: if rng.one_in(3) { rng.below(4) } else { 0 },
        ..Server::default()
    }
}

/// List 0 is usually empty, as it is in pen.
fn random_list(rng: &mut Rng, list: usize) -> Vec<oracle::Entry> {
    let count = if list == 0 && !rng.one_in(8) { 0 } else { rng.below(4) };
    (0..count)
        .map(|_| {
            let v4_masks = [!0, 0xffff_fffe, 0xff00_0000, 0xffff_0001];
            let v6_masks = [!0u128, !0 << 1, !0 << 64];
            match random_client(rng).plain_address() {
                Some(IpAddr::V4(address)) => {
                    let mask = v4_masks[rng.below(4)];
                    let address = IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask));
                    oracle::Entry { is_permit: rng.one_in(2), address, mask: mask.into() }
                }
                Some(address) => {
                    let mask = v6_masks[rng.below(3)];
                    oracle::Entry { is_permit: rng.one_in(2), address, mask }
                }
                None => {
                    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                    oracle::Entry { is_permit: rng.one_in(2), address, mask: 0 }
                }
            }
        })
        .collect()
}

fn random_client(rng: &mut Rng) -> Client {
    let v4 = Ipv4Addr::new(10, 0, rng.below(2) as u8, rng.below(5) as u8);
    let address = match rng.below(8) {
        0 => None,
        1 | 2 => Some(std::net::Ipv6Addr::from_bits(0xfd00 << 112 | rng.below(4) as u128).into()),
        3 => Some(v4.to_ipv6_mapped().into()),
        _ => Some(v4.into()),
    };
    let port = if address.is_some() { rng.below(65536) as u16 } else { 0 };
    Client { address, port, country: None }
}

#[test]
fn chooses_as_the_specification_reads() {
    sweep(1000, |seed, step| {
        let mut world = World::new(seed);
        for number in 0..300 {
            step.set(number);
            world.step();
            world.check();
        }
        world.connecting.clear();
        world.open.clear();
        assert!(world.pool.backends().all(|(_, _, it)| it.state.sessions() == 0), "leaked");
    });
}
