//! pen's choosing as its specification reads, with no thought for speed. Uses nothing of the crate
//! but the client's three facts.

use balancing::Client;
use std::net::IpAddr;

/// Settings, servers and the client table.
#[derive(Default)]
pub struct Pen {
    pub servers: Vec<Server>,
    pub emergency: Option<Server>,
    pub abuse: Option<Server>,
    pub lists: Vec<Vec<Entry>>,
    pub client_list: usize,
    pub algorithm: Algorithm,
    /// No client tracking.
    pub is_roundrobin: bool,
    pub is_stubborn: bool,
    pub clients_max: usize,
    /// Milliseconds.
    pub tracking: Option<u64>,
    /// Milliseconds.
    pub blacklist: u64,
    /// Milliseconds.
    pub now: u64,
    pub table: Vec<Option<Row>>,
    pub pointer: usize,
}

#[derive(Clone, Copy, Default)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    Hash,
    Weight,
    Prio,
}

#[derive(Default)]
pub struct Server {
    pub soft: i32,
    pub hard: i32,
    pub weight: u32,
    pub prio: i32,
    pub list: usize,
    pub connections: i64,
    /// Its address is 0.0.0.0.
    pub is_off: bool,
    pub failure: Option<u64>,
}

pub struct Entry {
    pub is_permit: bool,
    pub address: IpAddr,
    /// In the low bits for IPv4.
    pub mask: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Server(usize),
    Emergency,
    Abuse,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub slot: usize,
    pub client: Option<IpAddr>,
    pub last_used: u64,
    pub server: Option<usize>,
    pub connects: u32,
}

/// One session's way.
pub struct Scan {
    client: Client,
    is_begun: bool,
    pub is_denied: bool,
    last: Option<Who>,
    tried: Vec<Who>,
}

impl Scan {
    pub fn new(client: Client) -> Self {
        Self { client, is_begun: false, is_denied: false, last: None, tried: vec![] }
    }
}

impl Pen {
    pub fn server(&mut self, who: Who) -> &mut Server {
        match who {
            Who::Server(index) => &mut self.servers[index],
            Who::Emergency => self.emergency.as_mut().expect("there is one"),
            Who::Abuse => self.abuse.as_mut().expect("there is one"),
        }
    }

    fn see(&self, who: Who) -> &Server {
        match who {
            Who::Server(index) => &self.servers[index],
            Who::Emergency => self.emergency.as_ref().expect("there is one"),
            Who::Abuse => self.abuse.as_ref().expect("there is one"),
        }
    }

    pub fn rows(&self) -> Vec<Row> {
        self.table.iter().flatten().cloned().collect()
    }

    /// Section 6.
    pub fn is_blacklisted(&self, who: Who) -> bool {
        self.see(who).failure.is_some_and(|failure| self.now < failure + self.blacklist)
    }

    /// How a connect ended. Two things differ from pen on purpose: a failure that a success
    /// followed is over for good, and one that blacklisted nobody does not do so later.
    pub fn report(&mut self, who: Who, is_failure: bool) {
        let (now, blacklisted) = (self.now, self.is_blacklisted(who));
        let may_blacklist = self.blacklist > 0;
        let server = self.server(who);
        if is_failure {
            server.connections -= 1;
            if may_blacklist || server.failure.is_some() {
                server.failure = Some(now);
            }
        } else if !blacklisted {
            server.failure = None;
        }
    }

    /// Section 5.1.
    pub fn next(&mut self, scan: &mut Scan) -> Option<Who> {
        if !scan.is_begun {
            scan.is_begun = true;
            self.enter(key(&scan.client));
            scan.is_denied = !self.permits(self.client_list, &scan.client);
        }
        if scan.is_denied {
            // 8.2, 22.13
            self.abuse.as_ref()?;
            return if scan.last.is_none() { self.attempt(scan, Who::Abuse) } else { None };
        }
        let start = match scan.last {
            Some(Who::Server(_)) if self.is_stubborn => return None,
            Some(Who::Server(last)) => Some(last),
            Some(_) => return None,
            None => {
                let choice = self.first_choice(&scan.client);
                if let Some(choice) = choice
                    && let Some(who) = self.attempt(scan, Who::Server(choice))
                {
                    return Some(who);
                }
                if self.is_stubborn {
                    return None;
                }
                choice
            }
        };
        // 7
        if let Some(start) = start {
            let count = self.servers.len();
            for step in 1..=count {
                let candidate = Who::Server((start + step) % count);
                if !scan.tried.contains(&candidate)
                    && let Some(who) = self.attempt(scan, candidate)
                {
                    return Some(who);
                }
            }
        }
        self.emergency.as_ref()?;
        self.attempt(scan, Who::Emergency)
    }

    fn first_choice(&mut self, client: &Client) -> Option<usize> {
        if !self.is_roundrobin
            && let Some(server) = self.row(client).and_then(|row| row.server)
        {
            return Some(server);
        }
        let count = self.servers.len();
        let available: Vec<usize> = (0..count)
            .filter(|&it| !self.servers[it].is_off && !self.is_blacklisted(Who::Server(it)))
            .collect();
        match self.algorithm {
            Algorithm::Prio => available.into_iter().min_by_key(|&it| (self.servers[it].prio, it)),
            Algorithm::Weight => {
                let load = |it: usize| {
                    256 * self.servers[it].connections / i64::from(self.servers[it].weight)
                };
                let mut weighty: Vec<usize> = available;
                weighty.retain(|&it| self.servers[it].weight != 0);
                weighty.into_iter().min_by_key(|&it| (load(it), it))
            }
            Algorithm::Hash if count == 0 => None,
            Algorithm::Hash => Some(self.hash(client) % count),
            Algorithm::RoundRobin => {
                let next = (1..=count)
                    .map(|step| (self.pointer + step) % count)
                    .find(|it| available.contains(it))?;
                self.pointer = next;
                Some(next)
            }
        }
    }

    /// Section 5.3.
    fn hash(&self, client: &Client) -> usize {
        match key(client) {
            None => 0,
            Some(IpAddr::V6(address)) => usize::from(address.octets()[15]),
            Some(IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets().map(usize::from);
                let value = a + 256 * b + 65536 * c + 16_777_216 * d;
                let (high, low) = (usize::from(client.port / 256), usize::from(client.port % 256));
                if self.is_roundrobin { value ^ (high + 256 * low) } else { value }
            }
        }
    }

    /// Section 5.6, and what follows when the attempt is accepted.
    fn attempt(&mut self, scan: &mut Scan, who: Who) -> Option<Who> {
        let server = self.see(who);
        let own = self.row(&scan.client).and_then(|row| row.server).map(Who::Server) == Some(who);
        let over_soft = server.soft != 0 && server.connections >= i64::from(server.soft);
        let refused = server.is_off
            || self.is_blacklisted(who)
            || over_soft && (!own || server.connections >= i64::from(server.hard))
            || !self.permits(server.list, &scan.client);
        if refused {
            return None;
        }
        self.server(who).connections += 1;
        scan.last = Some(who);
        scan.tried.push(who);
        let client = key(&scan.client);
        if let Some(row) = self.table.iter_mut().flatten().find(|row| row.client == client) {
            row.server = match who {
                Who::Server(index) => Some(index),
                Who::Emergency | Who::Abuse => None,
            };
        }
        Some(who)
    }

    fn row(&self, client: &Client) -> Option<&Row> {
        self.table.iter().flatten().find(|row| row.client == key(client))
    }

    /// Section 9.
    fn enter(&mut self, client: Option<IpAddr>) {
        let (now, tracking) = (self.now, self.tracking);
        let is_over = |row: &Row| tracking.is_some_and(|limit| now - row.last_used > limit);
        self.table.resize(self.clients_max, None);
        if let Some(known) =
            self.table.iter_mut().find(|slot| slot.as_ref().is_some_and(|row| row.client == client))
        {
            if known.as_ref().is_some_and(is_over) {
                *known = None; // 22.5
            } else if let Some(row) = known {
                row.last_used = now;
                row.connects += 1;
                return;
            }
        }
        let free = self.table.iter().position(|slot| slot.as_ref().is_none_or(is_over));
        let slot = free.unwrap_or_else(|| {
            let last_used = |slot: &usize| self.table[*slot].as_ref().map(|row| row.last_used);
            (0..self.table.len()).min_by_key(last_used).expect("the table has slots")
        });
        self.table[slot] = Some(Row { slot, client, last_used: now, server: None, connects: 1 });
    }

    /// Section 15.
    fn permits(&self, list: usize, client: &Client) -> bool {
        let list = &self.lists[list];
        let Some(address) = key(client) else { return true };
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let matches = |entry: &&Entry| {
            entry.address.is_ipv4() == address.is_ipv4()
                && bits(address) & entry.mask == bits(entry.address)
        };
        match list.iter().find(matches) {
            Some(entry) => entry.is_permit,
            None => list.last().is_none_or(|last| !last.is_permit),
        }
    }
}

/// 22.11: `::ffff:a.b.c.d` is IPv4.
fn key(client: &Client) -> Option<IpAddr> {
    client.address.map(|address| address.to_canonical())
}
