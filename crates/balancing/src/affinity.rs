//! The affinity table: the backend that each client had, and the client's traffic.
//!
//! There is one lock for the whole table, held for one lookup or for one choice of a backend. Two
//! first sessions of one client therefore go to the same backend, whatever workers they are on. No
//! call takes time in proportion to the number of clients; reports hold the lock for a part of the
//! table at a time.

mod ages;
mod chunks;
mod index;

use crate::Client;
use ages::Ages;
use chunks::Chunks;
use index::Index;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use terms::{BackendId, Instant};

/// A bounded memory of clients, shared by all workers. Each session takes its lock for a short
/// time when it begins and when it ends.
///
/// A known client keeps its slot. A new one takes the free slot with the lowest number, or, if none
/// is free, the least recently used one, the lowest among equals. A slot that was not used for the
/// time limit is free, and its client is new. Clients are distinguished by address. All clients of
/// Unix sockets count as one, and so do an IPv4 address and its IPv6-mapped form. An entry takes
/// about 70 bytes, allocated when it is needed. Source: pen(1), `-c` and `-T`.
#[derive(Debug)]
pub struct Affinity(Mutex<Table>);

/// A client, as shown in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityRow {
    /// The slot's number.
    pub slot: usize,
    /// The address; `None` for all clients of Unix sockets together.
    pub client: Option<IpAddr>,
    /// When the client last began a session.
    pub last_used: Instant,
    /// The backend that the client is remembered with.
    pub backend: Option<BackendId>,
    /// Sessions begun.
    pub connects: u32,
    /// Bytes to the client in sessions that have ended.
    pub sent_bytes: u64,
    /// Bytes from the client in sessions that have ended.
    pub received_bytes: u64,
}

/// A client's entry. The table is locked for as long as this lives.
#[derive(Debug)]
pub struct Known<'a> {
    table: MutexGuard<'a, Table>,
    /// `None` if the client has no slot, or no longer has one.
    slot: Option<u32>,
}

#[derive(Debug)]
struct Table {
    clients_max: u32,
    time_limit: Option<Duration>,
    /// Has hashed the seed. A lookup continues with a copy.
    hasher: DefaultHasher,
    index: Index,
    /// Zero if the slot is free; otherwise the time of last use in nanoseconds, plus one.
    ages: Ages,
    entries: Chunks<Entry>,
    moved: Chunks<Moved>,
}

/// What the begin of a session reads and writes. Never in two cache lines, because with a million
/// clients each cache line is a wait for memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Entry {
    client: Option<IpAddr>,
    /// [`NO_BACKEND`] if the client is remembered with none.
    backend: BackendId,
    connects: u32,
}

/// The id of backends that are in no configuration.
const NO_BACKEND: BackendId = BackendId::new(0);

/// What the end of a session writes.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    sent_bytes: u64,
    received_bytes: u64,
}

/// How many slots a report reads before it releases the lock: tens of microseconds.
const REPORT_STEP: usize = 4096;

impl Affinity {
    /// An empty table for this many clients. A `time_limit` of `None` never expires entries. A
    /// `seed` that clients cannot know keeps them from choosing addresses that make the table slow.
    #[must_use]
    pub fn new(clients_max: usize, time_limit: Option<Duration>, seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        Self(Mutex::new(Table {
            clients_max: slots(clients_max),
            time_limit,
            hasher,
            index: Index::default(),
            ages: Ages::default(),
            entries: Chunks::default(),
            moved: Chunks::default(),
        }))
    }

    /// The maximum number of clients.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.table().clients_max as usize
    }

    /// Raises the maximum number of clients. A table never shrinks.
    pub fn grow(&self, clients_max: usize) {
        let mut table = self.table();
        table.clients_max = table.clients_max.max(slots(clients_max));
    }

    /// How long a client is remembered; `None` means forever. Applies at once to all entries.
    pub fn set_time_limit(&self, time_limit: Option<Duration>) {
        self.table().time_limit = time_limit;
    }

    /// Counts a new session, and gives a new client a slot.
    #[must_use]
    pub fn enter(&self, client: &Client, now: Instant) -> Known<'_> {
        let mut table = self.table();
        let slot = table.enter(client.plain_address(), now);
        Known { table, slot }
    }

    /// Adds a client that an earlier process remembered, with its backend and the time of its last
    /// session. The entry of a client that is known already stays as it is.
    pub fn restore(&self, client: Option<IpAddr>, backend: BackendId, last_used: Instant) {
        let client = client.map(|client| client.to_canonical());
        let mut table = self.table();
        if table.find(client).is_none()
            && let Some(slot) = table.enter(client, last_used)
        {
            let entry = &mut table.entries[slot as usize];
            (entry.backend, entry.connects) = (backend, 0);
        }
    }

    /// Takes over a row of another process's table, whatever this one knows about the client.
    pub fn inherit(&self, row: &AffinityRow) {
        let client = row.client.map(|client| client.to_canonical());
        let mut table = self.table();
        if let Some(slot) = table.enter(client, row.last_used) {
            let entry = &mut table.entries[slot as usize];
            entry.backend = row.backend.unwrap_or(NO_BACKEND);
            entry.connects = row.connects;
            let &AffinityRow { sent_bytes, received_bytes, .. } = row;
            table.moved[slot as usize] = Moved { sent_bytes, received_bytes };
        }
    }

    /// The entry of a client, if it has one.
    #[must_use]
    pub fn recall(&self, client: &Client) -> Known<'_> {
        let table = self.table();
        let slot = table.find(client.plain_address());
        Known { table, slot }
    }

    /// A table of its own, with the same limits and only this client's entry, if it has one.
    pub(crate) fn excerpt(&self, client: &Client) -> Self {
        let (table, client) = (self.table(), client.plain_address());
        let row = table.find(client).and_then(|slot| table.row(slot as usize));
        let excerpt = Self::new(table.clients_max as usize, table.time_limit, 0);
        drop(table);
        if let Some(row) = row {
            excerpt.restore(client, row.backend.unwrap_or(NO_BACKEND), row.last_used);
        }
        excerpt
    }

    /// Adds the traffic of an ended session, if its client is still known.
    pub fn add_bytes(&self, client: Option<IpAddr>, sent: u64, received: u64) {
        let mut table = self.table();
        if let Some(slot) = table.find(client.map(|client| client.to_canonical())) {
            let moved = &mut table.moved[slot as usize];
            moved.sent_bytes = moved.sent_bytes.wrapping_add(sent);
            moved.received_bytes = moved.received_bytes.wrapping_add(received);
        }
    }

    /// The slot of a client.
    #[must_use]
    pub fn slot(&self, client: Option<IpAddr>) -> Option<usize> {
        let slot = self.table().find(client.map(|client| client.to_canonical()));
        slot.map(|slot| slot as usize)
    }

    /// All clients in the table by slot, including expired ones whose slot nobody has taken.
    ///
    /// Takes the lock for a part of the table at a time, so clients that move meanwhile can be
    /// missed.
    #[must_use]
    pub fn rows(&self) -> Vec<AffinityRow> {
        self.recent(Instant::ZERO)
    }

    /// Like [`Self::rows`], but only clients that began a session at `since` or later.
    #[must_use]
    pub fn recent(&self, since: Instant) -> Vec<AffinityRow> {
        let (mut rows, mut next) = (Vec::new(), 0);
        loop {
            rows.reserve(REPORT_STEP); // outside the lock, since it may copy all of them
            let table = self.table();
            let end = table.ages.len().min(next + REPORT_STEP);
            let used = (next..end).filter_map(|slot| table.row(slot));
            rows.extend(used.filter(|row| row.last_used >= since));
            if end == table.ages.len() {
                return rows;
            }
            next = end;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known<'_> {
    /// The backend that the client is remembered with, which may have been removed since.
    #[must_use]
    pub fn backend(&self) -> Option<BackendId> {
        let backend = self.table.entries[self.slot? as usize].backend;
        (backend != NO_BACKEND).then_some(backend)
    }

    /// Remembers the client with this backend, or with none.
    pub fn remember(&mut self, backend: Option<BackendId>) {
        if let Some(slot) = self.slot {
            self.table.entries[slot as usize].backend = backend.unwrap_or(NO_BACKEND);
        }
    }
}

impl Table {
    fn find(&self, client: Option<IpAddr>) -> Option<u32> {
        self.find_hashed(self.hash(client), client)
    }

    fn find_hashed(&self, hash: u32, client: Option<IpAddr>) -> Option<u32> {
        self.index.find(hash, |slot| self.entries[slot as usize].client == client)
    }

    fn enter(&mut self, client: Option<IpAddr>, now: Instant) -> Option<u32> {
        let stamp = now.as_nanos().saturating_add(1);
        let over = self.free_below(now);
        let hash = self.hash(client);
        if let Some(slot) = self.find_hashed(hash, client) {
            let at = slot as usize;
            let last_used = self.ages.get(at);
            if last_used >= over {
                self.ages.set(at, last_used.max(stamp)); // another worker's now may be later
                let entry = &mut self.entries[at];
                entry.connects = entry.connects.saturating_add(1);
                return Some(slot);
            }
            self.index.remove(slot);
            self.ages.set(at, 0);
        }
        let slot = self.vacate(over)?;
        let entry = Entry { client, backend: NO_BACKEND, connects: 1 };
        if slot as usize == self.entries.len() {
            self.entries.push(entry);
            self.moved.push(Moved::default());
            self.ages.push(stamp);
        } else {
            self.entries[slot as usize] = entry;
            self.moved[slot as usize] = Moved::default();
            self.ages.set(slot as usize, stamp);
        }
        self.index.insert(hash, slot);
        Some(slot)
    }

    /// The slot for a new client, which is free now.
    fn vacate(&mut self, over: u64) -> Option<u32> {
        let len = self.ages.len();
        let slot = match self.ages.first_below(over) {
            Some(free) => free,
            None if len < self.clients_max as usize => return Some(len as u32),
            None => self.ages.oldest()?,
        };
        if self.ages.get(slot) != 0 {
            self.index.remove(slot as u32);
        }
        Some(slot as u32)
    }

    /// A slot whose stamp is below this is free.
    fn free_below(&self, now: Instant) -> u64 {
        let over = self.time_limit.map_or(0, |limit| (now - limit).as_nanos());
        over.saturating_add(1)
    }

    fn row(&self, slot: usize) -> Option<AffinityRow> {
        let nanos = self.ages.get(slot).checked_sub(1)?;
        let Entry { client, backend, connects } = self.entries[slot];
        let Moved { sent_bytes, received_bytes } = self.moved[slot];
        let backend = (backend != NO_BACKEND).then_some(backend);
        let last_used = Instant::from_nanos(nanos);
        Some(AffinityRow { slot, client, last_used, backend, connects, sent_bytes, received_bytes })
    }

    fn hash(&self, client: Option<IpAddr>) -> u32 {
        let mut hasher = self.hasher.clone();
        match client {
            None => hasher.write_u8(0),
            Some(IpAddr::V4(address)) => hasher.write_u32(address.to_bits()),
            Some(IpAddr::V6(address)) => hasher.write_u128(address.to_bits()),
        }
        let hash = hasher.finish();
        (hash ^ (hash >> 32)) as u32
    }
}

/// A number of clients, as a number of slots.
fn slots(clients: usize) -> u32 {
    u32::try_from(clients).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

#[cfg(test)]
mod tests;
