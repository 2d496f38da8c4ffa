//! What pen's answers and reports say of the running instance.

use super::numbers::ConnectionNumbers;
use balancing::{Backend, Pool};
use classics::pen::replies::{self, ClientFacts, ConnectionFacts, ServerFacts, StatusFacts};
use classics::pen::{FactsNeeded, PenSettings, Show};
use control::Operator;
use dataplane::SessionInfo;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use terms::Phase;

/// Everything of one moment.
#[derive(Default)]
pub struct Facts {
    pub servers: Vec<ServerFacts>,
    pub clients: Vec<ClientFacts>,
    /// By number.
    connections: Vec<ConnectionFacts>,
    current: usize,
    last: usize,
}

/// Asks the instance, which may take time where there are many clients.
pub async fn gather(
    operator: &Operator,
    settings: &PenSettings,
    numbers: &mut ConnectionNumbers,
    wanted: FactsNeeded,
) -> Facts {
    let pool = operator.pool().await;
    let sessions = operator.sessions().await;
    numbers.assign(sessions.iter().map(|it| it.session), settings.conn_max.max(1) as usize);
    let connection = |info: &SessionInfo| connection(&pool, numbers, settings.udp, info);
    let mut connections: Vec<_> = sessions.iter().filter_map(connection).collect();
    connections.sort_unstable_by_key(|connection| connection.number);
    let tier = pool.tiers.first();
    let servers = tier.into_iter().flat_map(|tier| &tier.backends);
    Facts {
        servers: servers.map(|backend| server(operator, backend)).collect(),
        clients: clients(operator, &pool, &sessions, wanted),
        connections,
        current: tier.and_then(|tier| tier.last_taken()).unwrap_or(0),
        last: numbers.last(),
    }
}

/// The number by which pen calls a backend: -1 for the emergency server, -2 for the abuse server.
pub fn server_number(pool: &Pool, backend: &Backend) -> i64 {
    let is_it = |other: &Arc<Backend>| Arc::ptr_eq(&other.state, &backend.state);
    if pool.reject.as_ref().is_some_and(is_it) {
        return -2;
    }
    let place = pool.tiers.first().and_then(|tier| tier.backends.iter().position(is_it));
    place.map_or(-1, |place| place as i64)
}

fn server(operator: &Operator, backend: &Backend) -> ServerFacts {
    let totals = backend.state.totals();
    let failed_at = backend.state.last_failure().map_or(0, |when| {
        // It may lie ahead: a command leaves servers out for longer than failures do.
        let (now, wall) = (operator.now(), sys::clock::wall_nanos() / 1_000_000_000);
        wall + when.since(now).as_secs() as i64 - now.since(when).as_secs() as i64
    });
    ServerFacts {
        connections: backend.state.sessions().into(),
        sent: totals.sent_bytes,
        received: totals.received_bytes,
        failed_at,
    }
}

fn connection(
    pool: &Pool,
    numbers: &ConnectionNumbers,
    is_udp: bool,
    info: &SessionInfo,
) -> Option<ConnectionFacts> {
    let client = info.client.map(|client| client.ip().to_canonical());
    let slot = pool.affinity.as_ref().and_then(|table| table.slot(client));
    let state = match info.phase {
        Phase::Connecting if !is_udp => 1,
        Phase::Connecting | Phase::Open | Phase::Ending => {
            2 + 4 * u32::from(info.backend_ended) + 8 * u32::from(info.client_ended)
        }
    };
    Some(ConnectionFacts {
        number: numbers.number(info.session)?,
        state,
        downfd: info.downstream_fd,
        upfd: info.upstream_fd.unwrap_or(-1),
        client: slot.map_or(-1, |slot| slot as i64),
        server: info.backend.as_ref().map_or(-1, |backend| server_number(pool, backend)),
        pending_down: info.held_received_bytes as u64,
        pending_up: info.held_sent_bytes as u64,
    })
}

/// The table of clients, with what open sessions have moved so far.
fn clients(
    operator: &Operator,
    pool: &Pool,
    sessions: &[SessionInfo],
    wanted: FactsNeeded,
) -> Vec<ClientFacts> {
    let Some(table) = &pool.affinity else { return Vec::new() };
    let now = operator.now();
    let rows = match wanted {
        FactsNeeded::Nothing | FactsNeeded::Connections => return Vec::new(),
        // One second more, since ages are compared in whole seconds.
        FactsNeeded::RecentClients(seconds) => {
            table.recent(now - Duration::from_secs(u64::from(seconds) + 1))
        }
        FactsNeeded::AllClients => table.rows(),
    };
    let mut open: HashMap<Option<IpAddr>, (u64, u64)> = HashMap::new();
    for session in sessions {
        let client = session.client.map(|client| client.ip().to_canonical());
        let (sent, received) = open.entry(client).or_default();
        *sent += session.received_bytes;
        *received += session.sent_bytes;
    }
    let facts = rows.into_iter().map(|row| {
        let (sent, received) = open.get(&row.client).copied().unwrap_or_default();
        ClientFacts {
            slot: row.slot,
            address: row.client,
            age: now.since(row.last_used).as_secs(),
            server: row.backend.and_then(|id| pool.tiers.first()?.backends.place(id)),
            connects: row.connects.into(),
            sent: row.sent_bytes + sent,
            received: row.received_bytes + received,
        }
    });
    facts.collect()
}

impl Facts {
    /// One connection; a place without one is in state 0.
    pub fn connection(&self, number: usize) -> ConnectionFacts {
        let found = self.connections.iter().find(|connection| connection.number == number);
        found.copied().unwrap_or(ConnectionFacts {
            number,
            state: 0,
            downfd: -1,
            upfd: -1,
            client: -1,
            server: -1,
            pending_down: 0,
            pending_up: 0,
        })
    }

    /// The place of the connection that a descriptor belongs to.
    pub fn socket(&self, number: i32) -> Option<usize> {
        let connections = self.connections.iter();
        let mut owners =
            connections.filter(|it| number >= 0 && [it.downfd, it.upfd].contains(&number));
        owners.next().map(|connection| connection.number)
    }

    /// An answer.
    pub fn answer(&self, settings: &PenSettings, show: Show, clock: &str) -> String {
        match show {
            Show::Servers => replies::servers(settings, &self.servers),
            Show::Connection(number) => replies::connection(&self.connection(number)),
            Show::Socket(number) => replies::socket(number, self.socket(number)),
            Show::Recent(seconds) => replies::recent(&self.clients, seconds),
            Show::Pid => replies::pid(std::process::id()),
            Show::Status => replies::html_status(settings, &self.status(clock)),
        }
    }

    /// All of it, for a report.
    pub fn status<'a>(&'a self, now: &'a str) -> StatusFacts<'a> {
        StatusFacts {
            now,
            current: self.current,
            servers: &self.servers,
            clients: &self.clients,
            connections: &self.connections,
            last: self.last,
        }
    }
}
