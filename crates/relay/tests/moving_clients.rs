//! Seeded simulation of QUIC clients that move to other addresses, among others who forge addresses
//! and ids: whose connection is found again, and what the table of ids holds.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use balancing::ConnectionIds;
use relay::{FlowIds, IDS_MAX, id_of_server, id_to_server};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use terms::{BackendId, Instant};
use testing::{Rng, sweep};

const BACKENDS: usize = 4;
const CID_BYTES: usize = 8;

/// A connection as its two ends know it.
struct Connection {
    /// The number of the flow that its client has now.
    flow: usize,
    backend: BackendId,
    /// Ids that the server has given it, the one in use last.
    ids: Vec<Vec<u8>>,
    /// Whether an answer came since the id in use was first used, and how often it was used then.
    settled: u32,
    is_answered: bool,
}

struct Flow {
    backend: BackendId,
    ids: FlowIds,
}

struct World {
    rng: Rng,
    now: Instant,
    table: ConnectionIds,
    flows: BTreeMap<usize, Flow>,
    next_flow: usize,
    connections: Vec<Connection>,
    /// Flows whose clients have seen an answer.
    real: BTreeSet<usize>,
}

fn long(to: &[u8], from: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0, 0, 0, 0, 1, to.len() as u8];
    packet.extend(to);
    packet.push(from.len() as u8);
    packet.extend(from);
    packet
}

fn short(to: &[u8]) -> Vec<u8> {
    [&[0x40], to, b"payload"].concat()
}

impl World {
    fn new(seed: u64) -> Self {
        let table = ConnectionIds::with_sets((seed, !seed), 1 << 12);
        let (rng, now) = (Rng::new(seed), Instant::from_millis(1));
        let (flows, real) = (BTreeMap::new(), BTreeSet::new());
        Self { rng, now, table, flows, next_flow: 0, connections: Vec::new(), real }
    }

    fn id(&mut self) -> Vec<u8> {
        [self.rng.draw(), self.rng.draw()].iter().flat_map(|it| it.to_be_bytes()).collect()
    }

    /// A datagram from an address that has no flow yet.
    fn begin(&mut self, datagram: &[u8]) -> usize {
        let to = id_to_server(datagram, CID_BYTES).unwrap();
        let known = self.table.find(self.table.key(to.id), self.now);
        let any = BackendId::new(1 + self.rng.below(BACKENDS) as u64);
        let ids = FlowIds::new(known.is_some());
        self.flows.insert(self.next_flow, Flow { backend: known.unwrap_or(any), ids });
        self.next_flow += 1;
        self.request(self.next_flow - 1, datagram);
        self.next_flow - 1
    }

    /// A datagram from the address of a flow.
    fn request(&mut self, flow: usize, datagram: &[u8]) {
        let flow = self.flows.get_mut(&flow).unwrap();
        let to = id_to_server(datagram, CID_BYTES).unwrap();
        let step = flow.ids.on_request(self.table.key(to.id), to.is_long, self.now);
        step.apply(&self.table, flow.backend, self.now);
    }

    fn answer(&mut self, flow: usize, datagram: &[u8]) {
        let named = id_of_server(datagram, CID_BYTES).map(|id| self.table.key(id));
        self.flows.get_mut(&flow).unwrap().ids.on_answer(named);
    }

    /// A client opens a connection.
    fn open(&mut self) {
        let (first, own, server) = (self.id(), self.id(), self.id());
        let flow = self.begin(&long(&first, &own));
        self.answer(flow, &long(&own, &server));
        self.request(flow, &long(&server, &own));
        self.real.insert(flow);
        let backend = self.flows[&flow].backend;
        let ids = vec![server];
        let connection = Connection { flow, backend, ids, settled: 9, is_answered: true };
        self.connections.push(connection);
    }

    /// A client says something with the id that it uses now, and may have an answer.
    fn talk(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        let datagram = short(connection.ids.last().unwrap());
        let flow = connection.flow;
        connection.settled += u32::from(connection.is_answered);
        self.request(flow, &datagram);
        if !self.rng.one_in(3) {
            self.connections[place].is_answered = true;
            self.answer(flow, b"\x40 an answer that nobody can read");
        }
    }

    /// A client takes another of the ids that its server has given it.
    fn renew(&mut self, place: usize) {
        let id = self.id();
        let connection = &mut self.connections[place];
        connection.ids.push(id);
        (connection.settled, connection.is_answered) = (0, false);
        self.talk(place);
    }

    /// A client has another address: its server is found if its id was settled.
    fn rebind(&mut self, place: usize) {
        let connection = &self.connections[place];
        let (backend, is_settled) = (connection.backend, connection.settled > 0);
        let datagram = short(connection.ids.last().unwrap());
        let flow = self.begin(&datagram);
        let is_there = self.flows[&flow].backend == backend;
        assert!(is_there || !is_settled, "a client has lost its backend");
        if is_settled {
            self.real.insert(flow);
            self.connections[place].flow = flow;
        } else {
            // Even if it is there by chance.
            self.connections.remove(place);
        }
    }

    /// Somebody who sees nothing forges a datagram, from an address without a flow or from that of a
    /// client.
    fn forge(&mut self) {
        let (id, other) = (self.id(), self.id());
        let datagram = if self.rng.one_in(2) { short(&id) } else { long(&id, &other) };
        if self.connections.is_empty() || self.rng.one_in(2) {
            let flow = self.begin(&datagram);
            // Servers answer what begins a connection, and reset what they do not know.
            let server = self.id();
            self.answer(flow, &long(&other, &server));
            for _ in 0..3 {
                self.request(flow, &datagram);
                self.answer(flow, b"\x40 a stateless reset, as it looks");
            }
        } else {
            let place = self.rng.below(self.connections.len());
            self.request(self.connections[place].flow, &datagram);
            self.disturb(place);
        }
    }

    /// What a client has said of an id that is not settled is overtaken by another id.
    fn disturb(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        if connection.settled == 0 {
            connection.is_answered = false;
        }
    }

    /// A client claims the id of another one.
    fn steal(&mut self) {
        let (thief, victim) =
            (self.rng.below(self.connections.len()), self.rng.below(self.connections.len()));
        let backends = [thief, victim].map(|it| self.connections[it].backend);
        if backends[0] == backends[1] || self.connections[victim].settled == 0 {
            return;
        }
        let datagram = short(self.connections[victim].ids.last().unwrap());
        let flow = self.connections[thief].flow;
        for _ in 0..3 {
            self.request(flow, &datagram);
            self.answer(flow, b"\x40 whatever");
        }
        self.disturb(thief);
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.rng.below(3000) as u64);
        let open = self.connections.len();
        let place = self.rng.below(open.max(1));
        match self.rng.below(12) {
            0..=1 => self.open(),
            2 => self.forge(),
            _ if open == 0 => self.open(),
            3 => self.renew(place),
            4..=5 => self.rebind(place),
            6 => self.steal(),
            _ => self.talk(place),
        }
    }

    fn check(&self) {
        assert!(self.table.count() <= self.real.len() * IDS_MAX, "forged ids have a place");
    }
}

#[test]
fn clients_that_move_keep_their_backends() {
    sweep(300, |seed, step| {
        let mut world = World::new(seed);
        for number in 0..400 {
            step.set(number);
            world.step();
            if number % 20 == 0 {
                world.check();
            }
        }
    });
}
