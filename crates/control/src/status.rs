//! The reports of an instance.

use crate::instance::{Instance, Listening};
use crate::snapshot::Departed;
use balancing::{Backend, HealthLimits, Pool};
use dataplane::{SessionInfo, TcpPath};
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;
use telemetry::{
    BackendRow, DepartedRow, Health, InstanceRow, ListenerRow, PoolRow, ProbeVerdict, RouteRow,
    SessionRow, Status, TierRow, WorkerRow,
};
use terms::{Instant, ListenerId};

impl Instance {
    /// The status report.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = sys::clock::now();
        let workers = self.plane.sessions_by_worker();
        let listeners = self.config.listeners.iter().zip(&self.listeners);
        let pools = self.config.pools.iter().zip(&self.pools);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started).as_secs(),
            shutting_down: self.shutting_down || self.is_leaving,
            file: None,
            revision: 1,
            file_hash: None,
            unconfirmed_seconds: None,
            workers: workers.into_iter().map(|it| WorkerRow { sessions: it as u64 }).collect(),
            listeners: listeners.map(|(config, it)| listener_row(config, it)).collect(),
            pools: pools.map(|(config, it)| self.pool_row(config, it, now)).collect(),
            departed_listeners: self.departed_listeners(),
            departed_backends: self.departed_backends(now),
        }
    }

    /// What tells the instance from others.
    pub(crate) fn brief(&self) -> InstanceRow {
        let binds = self.config.listeners.iter().flat_map(|it| &it.binds).map(ToString::to_string);
        let pid = std::process::id();
        let shutting_down = self.shutting_down || self.is_leaving;
        InstanceRow { pid, shutting_down, binds: binds.collect() }
    }

    fn departed_listeners(&self) -> Vec<ListenerRow> {
        let departed = self.departed.iter().filter(|(_, it)| it.listener.sessions() > 0);
        departed.map(|(config, it)| listener_row(config, it)).collect()
    }

    fn departed_backends(&self, now: Instant) -> Vec<DepartedRow> {
        let departed = self.departed_backends.iter();
        let departed = departed.filter(|it| it.backend.state.sessions() > 0);
        let row = |it: &Departed| {
            let limits = HealthLimits::default();
            let backend = self.backend_row(&it.config, &it.backend, &limits, now);
            DepartedRow { pool: it.pool.clone(), backend }
        };
        departed.map(row).collect()
    }

    fn pool_row(&self, config: &config::Pool, pool: &Pool, now: Instant) -> PoolRow {
        let tiers = config.tiers.iter().zip(&pool.tiers).map(|(config, tier)| {
            let backends = config.backends.iter().zip(&tier.backends);
            let row = |(config, it): (&config::Backend, &Arc<Backend>)| {
                self.backend_row(config, it, &pool.health, now)
            };
            TierRow { policy: tier.policy, backends: backends.map(row).collect() }
        });
        PoolRow { name: config.name.clone(), tiers: tiers.collect() }
    }

    fn backend_row(
        &self,
        config: &config::Backend,
        backend: &Backend,
        limits: &HealthLimits,
        now: Instant,
    ) -> BackendRow {
        let state = &backend.state;
        let baseline = self.baselines.get(&backend.id).copied().unwrap_or_default();
        let totals = state.totals().since(baseline);
        let probe = self.probes.row(backend.id, now);
        BackendRow {
            name: config.name.clone(),
            endpoint: backend.name.clone(),
            addresses: backend.addresses.iter().map(ToString::to_string).collect(),
            admin: state.admin(),
            health: match (health(backend, limits, now), &probe) {
                // No client has been there, but a probe has.
                (Health::Unknown, Some(probe)) if probe.verdict == ProbeVerdict::Up => {
                    Health::Healthy
                }
                (health, _) => health,
            },
            probe,
            last_change: self.changes.row(backend.id, now),
            sessions: state.sessions().into(),
            sessions_max: state.sessions_max(),
            attempts_total: totals.attempts,
            failures_total: totals.all_failures(),
            sent_bytes_total: totals.sent_bytes,
            received_bytes_total: totals.received_bytes,
        }
    }
}

fn route_row(config::Route { rule, pool }: &config::Route) -> RouteRow {
    RouteRow {
        sni: rule.names.iter().map(ToString::to_string).collect(),
        alpn: rule.protocols.clone(),
        pool: pool.clone(),
    }
}

fn listener_row(config: &config::Listener, listening: &Listening) -> ListenerRow {
    ListenerRow {
        name: config.name.clone(),
        binds: config.binds.iter().map(ToString::to_string).collect(),
        pool: config.pool.clone(),
        routes: config.routes.iter().map(route_row).collect(),
        sessions: listening.listener.sessions().into(),
        sessions_total: listening.listener.sessions_total(),
    }
}

/// Sessions as the admin API reports them; `listeners` has the names of their listeners.
pub(crate) fn session_rows(
    sessions: Vec<SessionInfo>,
    listeners: &HashMap<ListenerId, String>,
) -> Vec<SessionRow> {
    let rows = sessions.into_iter().map(|it| SessionRow {
        session: it.session,
        worker: it.worker,
        listener: listeners.get(&it.listener).cloned().unwrap_or_default(),
        client: EndOf(it.client).to_string(),
        peer: (it.peer != it.client).then(|| EndOf(it.peer).to_string()),
        server_name: it.server_name.map(Into::into),
        backend: it.backend.map(|backend| backend.name.clone()),
        backend_address: it.backend_address.map(|it| plain(it).to_string()),
        source: it.source.map(|it| plain(it).to_string()),
        phase: it.phase,
        sent_bytes: it.sent_bytes,
        received_bytes: it.received_bytes,
        age_seconds: it.age.as_secs_f64(),
        idle_seconds: it.idle.as_secs_f64(),
        first_byte_seconds: it.first_byte.map(|it| it.as_secs_f64()),
        rtt_seconds: it.client_path.and_then(round_trip),
        retransmits: it.client_path.map(|it| it.retransmits),
        backend_rtt_seconds: it.backend_path.and_then(round_trip),
        backend_retransmits: it.backend_path.map(|it| it.retransmits),
    });
    rows.collect()
}

fn round_trip(path: TcpPath) -> Option<f64> {
    Some(path.round_trip()?.as_secs_f64())
}

pub(crate) fn health(backend: &Backend, limits: &HealthLimits, now: Instant) -> Health {
    let health = backend.state.health();
    match health {
        _ if backend.addresses.is_empty() => Health::Unresolved,
        balancing::Health::Unknown => Health::Unknown,
        balancing::Health::Down { .. } => Health::Down,
        balancing::Health::Healthy { failures: 0 } if backend.state.totals().attempts == 0 => {
            Health::Unknown
        }
        balancing::Health::Healthy { .. } => Health::Healthy,
        balancing::Health::Quarantined { .. } if health.is_left_out(limits, now) => {
            Health::Quarantined
        }
        balancing::Health::Quarantined { .. } => Health::Probation,
    }
}

/// One end of a client's connection, written as people write it; `None` stands for a Unix socket.
pub(crate) struct EndOf(pub Option<SocketAddr>);

impl Display for EndOf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => plain(address).fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// An address as people write it: an IPv4 client of a dual-stack listener is an IPv4 client.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
