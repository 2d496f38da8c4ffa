//! The affinity table: which backend a client had, and what passed.

use crate::Instant;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A bounded memory of clients, shared by all workers behind one short lock per session begun or
/// ended.
///
/// A known client keeps its slot. A new one takes the free slot with the lowest number, or else
/// the one used longest ago. A slot not used for the time limit counts as free.
/// Source: pen(1), `-c` and `-T`.
#[derive(Debug, Default)]
pub struct Affinity(Mutex<Table>);

/// One client, as a report shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityRow {
    /// The slot's number.
    pub slot: usize,
    /// Who; `None` for all clients of Unix sockets together.
    pub client: Option<IpAddr>,
    /// When it last began a session.
    pub last_used: Instant,
    /// Place in the first tier of the backend it is remembered with.
    pub backend: Option<u32>,
    /// Sessions begun.
    pub connects: u32,
    /// Bytes to the client, of sessions that have ended.
    pub sent_bytes: u64,
    /// Bytes from the client, of sessions that have ended.
    pub received_bytes: u64,
}

#[derive(Debug, Default)]
struct Table {
    clients_max: usize,
    time_limit: Option<Duration>,
    rows: Vec<AffinityRow>,
}

impl Affinity {
    /// An empty table for so many clients. `time_limit`: `None` for ever.
    #[must_use]
    pub fn new(clients_max: usize, time_limit: Option<Duration>) -> Self {
        Self(Mutex::new(Table { clients_max, time_limit, rows: Vec::new() }))
    }

    /// How many clients there is room for.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.table().clients_max
    }

    /// Makes room for more clients; a table never shrinks.
    pub fn grow(&self, clients_max: usize) {
        let mut table = self.table();
        table.clients_max = table.clients_max.max(clients_max);
    }

    /// How long a client is remembered; `None` for ever.
    pub fn set_time_limit(&self, time_limit: Option<Duration>) {
        self.table().time_limit = time_limit;
    }

    /// Adds what an ended session moved, if its client is still known.
    pub fn add_bytes(&self, client: Option<IpAddr>, sent: u64, received: u64) {
        let mut table = self.table();
        if let Some(row) = table.rows.iter_mut().find(|row| row.client == client) {
            row.sent_bytes += sent;
            row.received_bytes += received;
        }
    }

    /// The slot of a client.
    #[must_use]
    pub fn slot(&self, client: Option<IpAddr>) -> Option<usize> {
        self.table().rows.iter().find(|row| row.client == client).map(|row| row.slot)
    }

    /// Every known client by slot.
    #[must_use]
    pub fn rows(&self) -> Vec<AffinityRow> {
        self.table().rows.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
