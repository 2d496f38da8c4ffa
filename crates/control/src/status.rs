//! The reports of an instance.

use crate::discoveries::Seen;
use crate::instance::{Instance, Listening};
use crate::retired::{BackendCount, ListenerCount};
use crate::shown::{EndOf, called, plain};
use crate::snapshot::Departed;
use balancing::{Backend, HealthLimits, Pool, Totals};
use config::Discovery;
use dataplane::{SessionInfo, TcpPath};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use telemetry::{
    BackendRow, CertificateRow, DepartedRow, EndedRow, Health, InstanceRow, ListenerRow, NameRow,
    PoolRow, ProbeVerdict, RouteRow, SessionRow, Stance, StatesRow, Status, TierRow, TotalsRow,
    WorkerRow,
};
use terms::{CloseReason, Instant, ListenerId};

impl Instance {
    /// The status report.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status_in(&View::default())
    }

    /// As much of a status report as is wanted.
    pub(crate) fn status_in(&self, view: &View) -> Status {
        let now = sys::clock::now();
        let workers = self.plane.sessions_by_worker();
        let is_meant = |pool: &str| view.pool.as_ref().is_none_or(|it| it == pool);
        let listeners = self.config.listeners.iter().zip(&self.listeners);
        let listeners = listeners.filter(|(it, _)| it.pools().any(&is_meant));
        let pools = self.config.pools.iter().zip(&self.pools);
        let pools = pools.filter(|(it, _)| is_meant(&it.name));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started).as_secs(),
            shutting_down: self.shutting_down || self.is_leaving,
            drain_seconds: None,
            predecessor: None,
            file: None,
            revision: 1,
            file_hash: None,
            unconfirmed_seconds: None,
            workers: workers.into_iter().map(|it| WorkerRow { sessions: it as u64 }).collect(),
            forwarded_sessions: self.forwarded as u64,
            listeners: listeners.map(|(config, it)| self.listener_row(config, it, true)).collect(),
            pools: pools.map(|(config, it)| self.pool_row(config, it, view, now)).collect(),
            names: self.name_rows(now),
            departed_listeners: self.departed_listeners(),
            departed_backends: self.departed_backends(now),
            ended_sessions: Vec::new(),
        }
    }

    /// What tells the instance from others.
    pub(crate) fn brief(&self) -> InstanceRow {
        let binds = self.config.listeners.iter().flat_map(|it| &it.binds).map(ToString::to_string);
        let pid = std::process::id();
        let shutting_down = self.shutting_down || self.is_leaving;
        InstanceRow { pid, shutting_down, binds: binds.collect() }
    }

    fn name_rows(&self, now: Instant) -> Vec<NameRow> {
        let row = |name: &Discovery| {
            let name = name.to_string();
            let answer = self.discoveries.answers().get(&name);
            let records = || answer.into_iter().flat_map(|it| &it.records);
            let Seen { answered, error } = self.discoveries.seen(&name);
            NameRow {
                backends: records().count() as u64,
                missing: records().filter(|it| it.is_missing).count() as u64,
                answered_seconds: answered.map(|then| now.since(then).as_secs()),
                error,
                name,
            }
        };
        self.discoveries.names().map(row).collect()
    }

    fn departed_listeners(&self) -> Vec<ListenerRow> {
        let departed = self.departed.iter().filter(|(_, it)| it.listener.sessions() > 0);
        departed.map(|(config, it)| self.listener_row(config, it, false)).collect()
    }

    fn departed_backends(&self, now: Instant) -> Vec<DepartedRow> {
        let departed = self.departed_backends.iter();
        let departed = departed.filter(|it| it.backend.state.all_sessions() > 0);
        let row = |it: &Departed| {
            let limits = HealthLimits::default();
            let mut counted = BackendCount::default();
            counted.add(&it.backend.state);
            let (backend, totals) = (&it.backend, counted.totals);
            let health = health(backend, &limits, now);
            let backend = self.backend_row(&it.config, backend, health, totals, now);
            let addresses = addresses(&it.backend);
            let totals = TotalsRow::new(&totals, Some(&counted.timings));
            DepartedRow {
                pool: it.pool.clone(),
                backend: BackendRow { addresses, totals, ..backend },
            }
        };
        departed.map(row).collect()
    }

    fn pool_row(&self, config: &config::Pool, pool: &Pool, view: &View, now: Instant) -> PoolRow {
        let departed = self.departed_backends.iter().filter(|it| it.pool == config.name);
        let mut departed_by_name: HashMap<&str, Vec<&Backend>> = HashMap::new();
        for it in departed.clone().filter(|_| view.backends) {
            departed_by_name.entry(called(&it.config, &it.backend)).or_default().push(&it.backend);
        }
        let mut sum = self.retired.pool(&config.name);
        let mut sessions = 0;
        let removed = departed.map(|it| &it.backend);
        for backend in removed.chain(&pool.reject) {
            sum.add(&backend.state);
            sessions += u64::from(backend.state.all_sessions());
        }
        let (mut states, mut tier_in_use) = (StatesRow::default(), None);
        let mut tiers = Vec::new();
        for ((config_tier, tier), number) in config.tiers.iter().zip(&pool.tiers).zip(0..) {
            let shown = if view.backends { tier.backends.len() } else { 0 };
            let mut rows = Vec::with_capacity(shown);
            for (config_backend, it) in config_tier.backends.iter().zip(&*tier.backends) {
                let mut totals = it.state.totals();
                sum.totals += totals;
                it.state.add_timings_to(&mut sum.timings);
                sessions += u64::from(it.state.all_sessions());
                let health = health_after(totals.attempts, it, &pool.health, now);
                let is_up = health.is_up();
                let is_enabled = it.state.is_in_service();
                match (is_enabled, is_up) {
                    (false, _) => states.disabled += 1,
                    (true, false) => states.down += 1,
                    (true, true) => states.up += 1,
                }
                let has_room = it.state.sessions_max().allows(it.state.all_sessions());
                if is_enabled && is_up && has_room && tier_in_use.is_none() {
                    tier_in_use = Some(number);
                }
                if !view.backends {
                    continue;
                }
                let row = self.backend_row(config_backend, it, health, totals, now);
                let addresses = if view.addresses { addresses(it) } else { Vec::new() };
                let called = row.called();
                let mut timings = view.timings.then(|| it.state.timings());
                if let Some(count) = self.retired.backend(&config.name, called) {
                    totals += count.totals;
                    timings.iter_mut().for_each(|it| *it += count.timings);
                }
                for it in departed_by_name.get(called).into_iter().flatten() {
                    totals += it.state.totals();
                    timings.iter_mut().for_each(|sum| it.state.add_timings_to(sum));
                }
                let totals = TotalsRow::new(&totals, timings.as_ref());
                rows.push(BackendRow { addresses, totals, ..row });
            }
            tiers.push(TierRow {
                policy: tier.policy,
                stance: match tier.cursor.stance() {
                    balancing::Stance::Normal => Stance::Normal,
                    balancing::Stance::FailOpen => Stance::FailOpen,
                    balancing::Stance::Refuse => Stance::Refusing,
                },
                backends: rows,
            });
        }
        PoolRow {
            name: config.name.clone(),
            tiers,
            tier_in_use,
            states,
            sessions,
            totals: TotalsRow::new(&sum.totals, Some(&sum.timings)),
        }
    }

    /// A backend of this health that has counted `totals`, without its addresses, and without what
    /// has been counted for good.
    fn backend_row(
        &self,
        config: &config::Backend,
        backend: &Backend,
        health: Health,
        totals: Totals,
        now: Instant,
    ) -> BackendRow {
        let state = &backend.state;
        let baseline = self.baselines.get(&backend.id).copied().unwrap_or_default();
        let totals = totals.since(baseline);
        let probe = self.probes.row(backend.id, now);
        let agent = self.probes.agent_row(backend.id, now);
        BackendRow {
            name: config.name.clone(),
            endpoint: backend.name.clone(),
            addresses: Vec::new(),
            admin: state.admin(),
            health: match (health, &probe) {
                // No client has been there, but a probe has.
                (Health::Unknown, Some(probe)) if probe.verdict == ProbeVerdict::Up => {
                    Health::Healthy
                }
                (health, _) => health,
            },
            probe: probe.map(Box::new),
            agent: agent.map(Box::new),
            last_change: self.changes.row(backend.id, now),
            sessions: state.all_sessions().into(),
            sessions_max: state.sessions_max(),
            attempts_total: totals.attempts,
            failures_total: totals.all_failures(),
            sent_bytes_total: totals.sent_bytes,
            received_bytes_total: totals.received_bytes,
            totals: TotalsRow::default(),
        }
    }

    /// A listener. If it is not a removed one, its counters include those of removed ones with the
    /// same name.
    fn listener_row(
        &self,
        config: &config::Listener,
        listening: &Listening,
        is_present: bool,
    ) -> ListenerRow {
        let listener = &listening.listener;
        let mut counted = ListenerCount::default();
        if is_present {
            counted = self.retired.listener(&config.name);
            let departed = self.departed.iter().filter(|(it, _)| it.name == config.name);
            departed.for_each(|(_, it)| counted.add(&it.listener));
        }
        counted.add(listener);
        let ListenerCount { accepted, dropped, refused, totals } = counted;
        let ended = CloseReason::ALL.into_iter().zip(totals.ended);
        let ended = ended.filter(|(_, sessions)| *sessions > 0);
        ListenerRow {
            name: config.name.clone(),
            binds: config.binds.iter().map(ToString::to_string).collect(),
            pool: config.pool.clone(),
            routes: config.routes.iter().map(route_row).collect(),
            sessions: listener.sessions().into(),
            sessions_max: config.sessions_max,
            connecting: listener.connecting().into(),
            paused: listener.is_paused(),
            sessions_total: accepted,
            forwarded_total: totals.forwarded,
            ended_total: ended.map(|(reason, sessions)| EndedRow { reason, sessions }).collect(),
            dropped_datagrams_total: dropped,
            refused_sessions_total: refused[0],
            refused_rate_total: refused[1],
            refused_table_total: refused[2],
            sent_bytes_total: totals.sent_bytes,
            received_bytes_total: totals.received_bytes,
            retransmits_total: totals.retransmits,
            lifetime: (&totals.lifetime).into(),
            rtt: (&totals.round_trip).into(),
            certificates: self.certificate_rows(config),
        }
    }

    fn certificate_rows(&self, config: &config::Listener) -> Vec<CertificateRow> {
        let Some(tls) = &config.tls else { return Vec::new() };
        let Some(acceptor) = self.certificates.find(tls) else { return Vec::new() };
        let row = |path: &PathBuf| {
            let expires = acceptor.first_expiry(path)?;
            Some(CertificateRow { path: path.display().to_string(), expires })
        };
        tls.certificates.iter().filter_map(row).collect()
    }
}

/// How much a status report is to say. The default is everything.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Only what concerns this pool.
    pub pool: Option<String>,
    /// Whether each backend has a row.
    pub backends: bool,
    /// Whether the rows of backends have addresses.
    pub addresses: bool,
    /// Whether the rows of backends have timings.
    pub timings: bool,
}

impl Default for View {
    fn default() -> Self {
        Self { pool: None, backends: true, addresses: true, timings: true }
    }
}

fn addresses(backend: &Backend) -> Vec<String> {
    backend.addresses.iter().map(ToString::to_string).collect()
}

fn route_row(config::Route { rule, pool }: &config::Route) -> RouteRow {
    RouteRow {
        sni: rule.names.iter().map(ToString::to_string).collect(),
        alpn: rule.protocols.clone(),
        pool: pool.clone(),
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
        tls: it.tls.map(Into::into),
        alpn: it.protocol.map(|it| String::from_utf8_lossy(&it).into_owned()),
        backend: it.backend.map(|backend| Arc::clone(&backend.name)),
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
    health_after(backend.state.totals().attempts, backend, limits, now)
}

/// The health of a backend to which this many connects were begun.
fn health_after(attempts: u64, backend: &Backend, limits: &HealthLimits, now: Instant) -> Health {
    let health = backend.state.health();
    match health {
        _ if backend.addresses.is_empty() => Health::Unresolved,
        balancing::Health::Unknown => Health::Unknown,
        balancing::Health::Down { .. } => Health::Down,
        balancing::Health::Ejected { .. } => Health::Ejected,
        balancing::Health::Healthy { failures: 0 } if attempts == 0 => Health::Unknown,
        balancing::Health::Healthy { .. } => Health::Healthy,
        balancing::Health::Quarantined { .. } if health.is_left_out(limits, now) => {
            Health::Quarantined
        }
        balancing::Health::Quarantined { .. } => Health::Probation,
    }
}
