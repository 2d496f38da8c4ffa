//! Finds the flow of a datagram, and the flow that makes room for another.

use hashbrown::HashTable;
use slab::Slab;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// What a flow's datagrams have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The number of the socket that they arrive at.
    pub door: usize,
    /// The client.
    pub client: SocketAddr,
    /// The proxy that announces the client, if one does.
    pub proxy: Option<SocketAddr>,
    /// Our address that the client writes to, where a socket has several.
    pub local: Option<IpAddr>,
}

impl FlowKey {
    /// Whom the datagrams come from, and answers go to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.proxy.unwrap_or(self.client)
    }
}

/// Flows of several doors.
///
/// A flow has a number that no other flow of the table has at the same time. Of each door, the flows
/// are kept in order of use, those of proven clients apart: a flood of forged addresses pushes out
/// its own flows.
#[derive(Debug)]
pub struct FlowTable<T> {
    flows: Slab<Entry<T>>,
    index: HashTable<u32>,
    /// By door: flows that are not proven, and flows that are.
    orders: Slab<[Order; 2]>,
    seed: u64,
}

#[derive(Debug)]
struct Entry<T> {
    door: u32,
    addresses: Addresses,
    /// Whether the key leads here.
    is_bound: bool,
    is_proven: bool,
    older: u32,
    newer: u32,
    flow: T,
}

/// The addresses of a key. Most clients are of IPv4, also at sockets of IPv6, which see them at
/// addresses like `::ffff:192.0.2.1`. They take up a fifth of the space.
#[derive(Debug)]
enum Addresses {
    V4 { client: SocketAddrV4, local: Option<Ipv4Addr>, is_mapped: bool },
    Other(Box<(SocketAddr, Option<SocketAddr>, Option<IpAddr>)>),
}

const _: () = assert!(size_of::<Addresses>() <= 16);

/// The ends of a list in order of use.
#[derive(Clone, Copy, Debug)]
struct Order {
    oldest: u32,
    newest: u32,
}

/// Room for this many flows is reserved with the first one. It is a mapping of its own, so a page takes
/// up memory once it is used, and the kernel moves the mapping when it has to grow.
const RESERVED: usize = 4096;
const NONE: u32 = u32::MAX;
const EMPTY: Order = Order { oldest: NONE, newest: NONE };

impl<T> FlowTable<T> {
    /// A table without doors. The seed makes it impossible to choose addresses that collide.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { flows: Slab::new(), index: HashTable::new(), orders: Slab::new(), seed }
    }

    /// Opens a door, and returns its number.
    pub fn open_door(&mut self) -> usize {
        self.orders.insert([EMPTY; 2])
    }

    /// Closes a door whose flows have all been removed. Returns whether they have.
    pub fn close_door(&mut self, door: usize) -> bool {
        let is_empty = self.oldest(door).is_none();
        if is_empty {
            self.orders.try_remove(door);
        }
        is_empty
    }

    /// The number of flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// A bound that the numbers of all flows are below.
    #[must_use]
    pub fn numbers_end(&self) -> usize {
        self.flows.capacity()
    }

    /// The number of the flow with this key.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<usize> {
        let same = |&number: &u32| self.flows[number as usize].key() == *key;
        self.index.find(hash(key, self.seed), same).map(|&number| number as usize)
    }

    /// The flow of this number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&T> {
        Some(&self.flows.get(number)?.flow)
    }

    /// The flow of this number.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        Some(&mut self.flows.get_mut(number)?.flow)
    }

    /// The key of the flow of this number.
    #[must_use]
    pub fn key(&self, number: usize) -> Option<FlowKey> {
        Some(self.flows.get(number)?.key())
    }

    /// Adds a flow to which its key does not lead, and returns its number. Its door must be open.
    pub fn insert_unbound(&mut self, key: FlowKey, flow: T) -> usize {
        if self.flows.capacity() == 0 {
            self.flows.reserve(RESERVED);
        }
        let (door, addresses) = (key.door as u32, Addresses::of(&key));
        let (is_bound, is_proven, older, newer) = (false, false, NONE, NONE);
        let entry = Entry { door, addresses, is_bound, is_proven, older, newer, flow };
        let number = self.flows.insert(entry);
        self.append(number as u32);
        number
    }

    /// Adds a flow, and returns its number. Its door must be open, and no flow may have its key.
    pub fn insert(&mut self, key: FlowKey, flow: T) -> usize {
        debug_assert!(self.find(&key).is_none(), "two flows with {key:?}");
        let number = self.insert_unbound(key, flow);
        self.flows[number].is_bound = true;
        let Self { flows, index, seed, .. } = self;
        let rehash = |&number: &u32| hash(&flows[number as usize].key(), *seed);
        index.insert_unique(hash(&key, *seed), number as u32, rehash);
        number
    }

    /// Whether the key of a flow leads to it.
    #[must_use]
    pub fn is_bound(&self, number: usize) -> bool {
        self.flows.get(number).is_some_and(|entry| entry.is_bound)
    }

    /// Frees the key of a flow, so that another one can have it. The flow stays.
    pub fn unbind(&mut self, number: usize) {
        let Some(entry) = self.flows.get_mut(number).filter(|entry| entry.is_bound) else { return };
        entry.is_bound = false;
        let hash = hash(&entry.key(), self.seed);
        if let Ok(found) = self.index.find_entry(hash, |&it| it as usize == number) {
            found.remove();
        }
    }

    /// Removes a flow.
    pub fn remove(&mut self, number: usize) -> Option<(FlowKey, T)> {
        self.unbind(number);
        if !self.flows.contains(number) {
            return None;
        }
        self.take_out(number as u32);
        let entry = self.flows.remove(number);
        if self.flows.is_empty() && self.flows.capacity() > RESERVED {
            self.flows = Slab::new();
            self.index = HashTable::new();
        }
        Some((entry.key(), entry.flow))
    }

    /// Makes a flow the one of its door that was used last.
    pub fn touch(&mut self, number: usize, is_proven: bool) {
        let Some(entry) = self.flows.get(number) else { return };
        if entry.newer == NONE && entry.is_proven == is_proven {
            return;
        }
        self.take_out(number as u32);
        self.flows[number].is_proven = is_proven;
        self.append(number as u32);
    }

    /// The flow of a door that makes room for another: the one that has been idle for longest, of
    /// those that are not proven if there are any.
    #[must_use]
    pub fn oldest(&self, door: usize) -> Option<usize> {
        let orders = self.orders.get(door)?;
        let oldest = orders.iter().map(|order| order.oldest).find(|oldest| *oldest != NONE)?;
        Some(oldest as usize)
    }

    fn append(&mut self, number: u32) {
        let entry = &mut self.flows[number as usize];
        let order = &mut self.orders[entry.door as usize][usize::from(entry.is_proven)];
        let before = std::mem::replace(&mut order.newest, number);
        (entry.older, entry.newer) = (before, NONE);
        match before {
            NONE => order.oldest = number,
            before => self.flows[before as usize].newer = number,
        }
    }

    fn take_out(&mut self, number: u32) {
        let Entry { older, newer, is_proven, door, .. } = self.flows[number as usize];
        let order = &mut self.orders[door as usize][usize::from(is_proven)];
        match older {
            NONE => order.oldest = newer,
            older => self.flows[older as usize].newer = newer,
        }
        match newer {
            NONE => order.newest = older,
            newer => self.flows[newer as usize].older = older,
        }
    }
}

impl<T> Entry<T> {
    fn key(&self) -> FlowKey {
        self.addresses.with_door(self.door as usize)
    }
}

impl Addresses {
    /// Those of a key, in little space if they can be read back from there.
    fn of(key: &FlowKey) -> Self {
        let short = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        };
        let packed = short(key.client.ip()).map(|ip| Self::V4 {
            client: SocketAddrV4::new(ip, key.client.port()),
            local: key.local.and_then(short),
            is_mapped: key.client.is_ipv6(),
        });
        let same = packed.filter(|it| it.with_door(key.door) == *key);
        same.unwrap_or_else(|| Self::Other(Box::new((key.client, key.proxy, key.local))))
    }

    fn with_door(&self, door: usize) -> FlowKey {
        match self {
            &Self::V4 { client, local, is_mapped } => {
                let whole = |ip: Ipv4Addr| match is_mapped {
                    true => IpAddr::V6(ip.to_ipv6_mapped()),
                    false => IpAddr::V4(ip),
                };
                let client = SocketAddr::new(whole(*client.ip()), client.port());
                FlowKey { door, client, proxy: None, local: local.map(whole) }
            }
            Self::Other(all) => {
                let (client, proxy, local) = **all;
                FlowKey { door, client, proxy, local }
            }
        }
    }
}

fn hash(key: &FlowKey, seed: u64) -> u64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::new().build_hasher();
    hasher.write_u64(seed);
    std::hash::Hash::hash(key, &mut hasher);
    hasher.finish()
}
