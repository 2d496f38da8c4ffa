//! Seeded simulation of the flow table beside a plain list: which flow a datagram finds, which one
//! makes room, which one ends and why, and what is left.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use relay::{Flow, FlowKey, FlowTable};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU32;
use std::time::Duration;
use terms::{CloseReason, FlowRules, Instant};
use testing::{Rng, sweep};

/// One flow as the list has it.
#[derive(Clone, Debug)]
struct Known {
    number: usize,
    key: FlowKey,
    /// Whether datagrams of its key belong to it.
    bound: bool,
    proven: bool,
    used: u64,
    active: Instant,
    requests: u32,
    responses: u32,
}

struct World {
    rng: Rng,
    now: Instant,
    /// Counts every use, so that two flows are never equally old.
    uses: u64,
    rules: FlowRules,
    most: usize,
    doors: Vec<usize>,
    table: FlowTable<Flow>,
    known: Vec<Known>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut number = |most: usize| NonZeroU32::new(rng.below(most) as u32);
        let rules = FlowRules {
            requests: number(4),
            responses: number(3),
            timeout: Duration::from_millis(500),
            retry_after: None,
            hash_on: None,
        };
        let most = 1 + rng.below(12);
        let mut table = FlowTable::new(seed);
        let doors = (0..1 + rng.below(3)).map(|_| table.open_door()).collect();
        let now = Instant::from_millis(1);
        Self { rng, now, uses: 0, rules, most, doors, table, known: Vec::new() }
    }

    fn place(&self, number: usize) -> usize {
        self.known.iter().position(|it| it.number == number).expect("a flow that is known")
    }

    fn touch(&mut self, number: usize) {
        self.uses += 1;
        let proven = self.table.get(number).unwrap().is_proven();
        self.table.touch(number, proven);
        let place = self.place(number);
        (self.known[place].used, self.known[place].proven) = (self.uses, proven);
    }

    fn remove(&mut self, number: usize) {
        let place = self.place(number);
        let known = self.known.remove(place);
        let (key, _) = self.table.remove(number).expect("it is there");
        assert_eq!(key, known.key);
        assert!(self.table.remove(number).is_none(), "gone is gone");
    }

    /// The flow that makes room at a door: of the unproven ones if there are any, the least used.
    fn oldest(&self, door: usize) -> Option<usize> {
        let at_door = self.known.iter().filter(|it| it.key.door == door);
        at_door.min_by_key(|it| (it.proven, it.used)).map(|it| it.number)
    }

    fn request(&mut self) {
        let door = self.doors[self.rng.below(self.doors.len())];
        let client = Ipv4Addr::new(192, 0, 2, self.rng.below(20) as u8);
        let scope = self.rng.below(2) as u32;
        let client = match self.rng.below(4) {
            0 => (client, 1000).into(),
            1 => (client.to_ipv6_mapped(), 1000).into(),
            2 => (client.to_ipv6_compatible(), 1000).into(),
            _ => SocketAddrV6::new(client.to_ipv6_mapped(), 1000, 0, scope).into(),
        };
        let local = match self.rng.below(4) {
            0 => Some(Ipv4Addr::LOCALHOST.into()),
            1 => Some(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()),
            2 => Some(Ipv6Addr::LOCALHOST.into()),
            _ => None,
        };
        let proxy = self.rng.one_in(3).then(|| (Ipv4Addr::LOCALHOST, 53).into());
        let key = FlowKey { door, client, proxy, local };
        let expected = self.known.iter().find(|it| it.key == key && it.bound).map(|it| it.number);
        assert_eq!(self.table.find(&key), expected);
        let number = expected.unwrap_or_else(|| {
            if self.known.iter().filter(|it| it.key.door == door).count() >= self.most {
                let oldest = self.table.oldest(door).expect("the door is full");
                self.remove(oldest);
            }
            self.uses += 1;
            let number = self.table.insert(key, Flow::new(self.now));
            assert!(self.known.iter().all(|it| it.number != number), "a number is given twice");
            self.known.push(Known {
                number,
                key,
                bound: true,
                proven: false,
                used: self.uses,
                active: self.now,
                requests: 0,
                responses: 0,
            });
            number
        });
        self.table.get_mut(number).unwrap().on_request(10, self.now);
        let place = self.place(number);
        let known = &mut self.known[place];
        known.requests += 1;
        known.active = self.now;
        let proven = known.proven || known.responses > 0;
        let spent = self.rules.requests.is_some_and(|most| known.requests >= most.get());
        known.bound = !spent;
        assert_eq!(self.table.get(number).unwrap().is_spent(&self.rules), spent);
        self.touch(number);
        assert_eq!(self.known[place].proven, proven);
        if spent {
            self.table.unbind(number);
        }
    }

    fn response(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let place = self.rng.below(self.known.len());
        let known = &mut self.known[place];
        known.responses += 1;
        known.active = self.now;
        let number = known.number;
        let complete =
            self.rules.responses.is_some_and(|each| known.responses >= each.get() * known.requests);
        let flow = self.table.get_mut(number).unwrap();
        flow.on_response(20, self.now);
        let reason = flow.end(&self.rules, self.now);
        assert_eq!(reason, complete.then_some(CloseReason::Complete));
        if complete {
            self.remove(number);
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now + Duration::from_millis(self.rng.below(200) as u64);
        for known in self.known.clone() {
            let silent = self.now.since(known.active) >= self.rules.timeout;
            let reason = self.table.get(known.number).unwrap().end(&self.rules, self.now);
            assert_eq!(reason, silent.then_some(CloseReason::IdleTimeout));
            if silent {
                self.remove(known.number);
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.known.len());
        for known in &self.known {
            let (sent, received) = self.table.get(known.number).unwrap().bytes();
            assert_eq!(sent, u64::from(known.requests) * 10);
            assert_eq!(received, u64::from(known.responses) * 20);
            assert!(known.number < self.table.numbers_end());
        }
        for &door in &self.doors {
            assert_eq!(self.table.oldest(door), self.oldest(door));
        }
    }
}

#[test]
fn the_table_agrees_with_a_list() {
    sweep(400, |seed, step| {
        let mut world = World::new(seed);
        for number in 0..300 {
            step.set(number);
            match world.rng.below(10) {
                0..=4 => world.request(),
                5..=7 => world.response(),
                8 => world.pass_time(),
                _ => {
                    if let Some(known) = world.known.first() {
                        world.remove(known.number);
                    }
                }
            }
            world.check();
        }
        for door in world.doors.clone() {
            let busy = world.oldest(door).is_some();
            assert_eq!(world.table.close_door(door), !busy, "a door closes after its last flow");
        }
    });
}
