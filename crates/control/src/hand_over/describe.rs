//! An instance as another process takes it over: what it says about itself, and what it makes of
//! what another one has said.

use super::record::{
    BackendCounts, BindRecord, ClientRecord, Counts, Described, ListenerRecord,
    ListenerTotalsRecord, PoolCounts, Standing, TimesRecord, TotalsRecord,
};
use crate::instance::Instance;
use crate::state::Noted;
use balancing::{AffinityRow, Backend, Distribution, Lease, Timings, Totals};
use config::state::addresses;
use config::{Config, Pool};
use dataplane::{DoorId, ListenerTotals};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, CloseReason, Instant};

/// The maximum number of clients of a pool that are handed over: those seen last.
const CLIENTS_MAX: usize = 200_000;

/// The backends of a pool, each with the address by which another process knows it.
pub(crate) fn keyed<'a>(
    config: &Pool,
    pool: &'a balancing::Pool,
) -> Vec<(String, &'a Arc<Backend>)> {
    let keys = addresses(config).into_iter();
    let backends = keys.zip(pool.backends().map(|(_, _, backend)| backend));
    let reject = pool.reject.as_ref().map(|backend| (REJECT.to_owned(), backend));
    backends.chain(reject).collect()
}

/// The key of the backend for clients that an access list denies.
const REJECT: &str = "reject";

impl Instance {
    /// What this instance is, with copies of its listening sockets.
    pub(crate) fn describe(
        &mut self,
        admin: PathBuf,
        revision: Option<(u64, String)>,
    ) -> (Described, Vec<OwnedFd>) {
        let mut copies: HashMap<DoorId, Vec<OwnedFd>> = HashMap::new();
        for (door, copy) in self.plane.copy_doors() {
            copies.entry(door).or_default().push(copy);
        }
        let mut sockets = Vec::new();
        let listeners = self.config.listeners.iter().zip(&self.listeners);
        let listeners = listeners.map(|(config, listening)| {
            let binds = listening.doors.iter().map(|door| {
                let copies = copies.remove(&door.id).unwrap_or_default();
                let count = copies.len();
                sockets.extend(copies);
                let (bind, has_file) = (door.bind.to_string(), door.file.is_some());
                BindRecord { bind, sockets: count, has_file }
            });
            ListenerRecord { name: config.name.clone(), binds: binds.collect() }
        });
        let listeners = listeners.collect();
        let (passed, copies) = self.passed.copies();
        sockets.extend(copies);
        let described = Described {
            program: super::PROGRAM.to_owned(),
            pid: std::process::id(),
            uid: sys::process::user_id(),
            admin,
            has_admin_socket: false,
            hears_progress: true,
            hears_beats: true,
            hears_release: true,
            hears_stop: true,
            ready_interface: None,
            listeners,
            passed,
            started: self.started.as_nanos(),
            revision,
            sessions: self.plane.sessions(),
            companion: None,
            ticket_keys: self.certificates.ticket_keys(),
            standing: Standing {
                kept: self.note_state(&Noted::for_another_process()),
                counts: self.counts(0),
                clients: self.client_records(Instant::ZERO),
                flows_follow: false,
            },
        };
        (described, sockets)
    }

    /// The state with the clients that have come since, after the last session was accepted.
    pub(crate) fn standing_since(&mut self, since: Instant, next_number: u64) -> Standing {
        Standing {
            kept: self.note_state(&Noted::for_another_process()),
            counts: self.counts(next_number),
            clients: self.client_records(since),
            flows_follow: false,
        }
    }

    /// What has been counted so far.
    pub(crate) fn counts(&self, next_number: u64) -> Counts {
        let pools = self.config.pools.iter().zip(&self.pools).map(|(config, pool)| {
            let count = |backend: &Arc<Backend>| {
                let baseline = self.baselines.get(&backend.id).copied().unwrap_or_default();
                let timings = backend.state.timings();
                BackendCounts {
                    totals: to_record(backend.state.totals()),
                    baseline: to_record(baseline),
                    last_failure: backend.state.last_failure().map(Instant::as_nanos),
                    last_change: self.changes.last(backend.id),
                    sessions: backend.state.sessions(),
                    timings: [timings.connect, timings.first_byte, timings.round_trip]
                        .map(times_record),
                }
            };
            let backends = keyed(config, pool).into_iter().map(|(key, it)| (key, count(it)));
            let turns = pool.tiers.iter().map(|tier| tier.cursor.state()).collect();
            (config.name.clone(), PoolCounts { turns, backends: backends.collect() })
        });
        let listeners = self.config.listeners.iter().zip(&self.listeners).map(|(config, it)| {
            let it = &it.listener;
            (config.name.clone(), (it.sessions_total(), it.dropped_total()))
        });
        let totals = self.config.listeners.iter().zip(&self.listeners);
        let totals =
            totals.map(|(config, it)| (config.name.clone(), totals_record(&it.listener.totals())));
        Counts {
            next_number,
            pools: pools.collect(),
            listeners: listeners.collect(),
            listener_totals: totals.collect(),
        }
    }

    fn client_records(&self, since: Instant) -> BTreeMap<String, Vec<ClientRecord>> {
        let pools = self.config.pools.iter().zip(&self.pools);
        let tables =
            pools.filter_map(|(config, pool)| Some((config, pool, pool.affinity.as_ref()?)));
        let records = tables.map(|(config, pool, affinity)| {
            let keys: HashMap<BackendId, String> =
                keyed(config, pool).into_iter().map(|(key, it)| (it.id, key)).collect();
            let mut rows = affinity.recent(since);
            if rows.len() > CLIENTS_MAX {
                rows.sort_by_key(|row| std::cmp::Reverse(row.last_used));
                rows.truncate(CLIENTS_MAX);
            }
            let record = |row: AffinityRow| ClientRecord {
                client: row.client,
                backend: row.backend.and_then(|id| keys.get(&id).cloned()),
                last_used: row.last_used.as_nanos(),
                connects: row.connects,
                sent: row.sent_bytes,
                received: row.received_bytes,
            };
            (config.name.clone(), rows.into_iter().map(record).collect())
        });
        records.collect()
    }

    /// Continues to count where the old process was.
    pub(crate) fn count_listeners(&self, counts: &Counts) {
        for (config, listening) in self.config.listeners.iter().zip(&self.listeners) {
            if let Some(&(sessions, dropped)) = counts.listeners.get(&config.name) {
                listening.listener.count_from(sessions, dropped);
            }
        }
    }

    /// Takes over what the old process has counted of backends and of listeners' sessions, and takes
    /// the places at backends that its sessions still have.
    pub(crate) fn inherit_counts(&mut self, counts: &Counts, places: &mut Places) {
        for (config, listening) in self.config.listeners.iter().zip(&self.listeners) {
            if let Some(totals) = counts.listener_totals.get(&config.name) {
                listening.listener.inherit(&to_listener_totals(totals));
            }
        }
        for (config, pool) in self.config.pools.iter().zip(&self.pools) {
            let Some(counted) = counts.pools.get(&config.name) else { continue };
            for (key, backend) in keyed(config, pool) {
                let Some(it) = counted.backends.get(&key) else { continue };
                let last_failure = it.last_failure.map(Instant::from_nanos);
                let [connect, first_byte, round_trip] = it.timings.each_ref().map(to_times);
                let timings = Timings { connect, first_byte, round_trip };
                backend.state.inherit(to_totals(&it.totals), &timings, last_failure);
                if it.baseline != TotalsRecord::default() {
                    self.baselines.entry(backend.id).or_insert(to_totals(&it.baseline));
                }
                places.set(backend, it.sessions);
                if let Some(change) = &it.last_change {
                    self.changes.inherit(backend.id, change);
                }
            }
        }
    }
}

/// Gives the pools of a new process the turns and clients of the old one.
pub(crate) fn restore<'a>(
    config: &Config,
    pools: impl Iterator<Item = &'a balancing::Pool>,
    standing: &Standing,
) {
    for (config, pool) in config.pools.iter().zip(pools) {
        if let Some(counted) = standing.counts.pools.get(&config.name) {
            let turns = pool.tiers.iter().zip(&counted.turns);
            turns.for_each(|(tier, turn)| tier.cursor.restore(*turn));
        }
        let (Some(records), Some(affinity)) = (standing.clients.get(&config.name), &pool.affinity)
        else {
            continue;
        };
        let ids: HashMap<String, BackendId> =
            keyed(config, pool).into_iter().map(|(key, it)| (key, it.id)).collect();
        for it in records {
            affinity.inherit(&AffinityRow {
                slot: 0,
                client: it.client,
                last_used: Instant::from_nanos(it.last_used),
                backend: it.backend.as_ref().and_then(|key| ids.get(key).copied()),
                connects: it.connects,
                sent_bytes: it.sent,
                received_bytes: it.received,
            });
        }
    }
}

/// Places at backends that sessions of the old process still have, so that limits stay exact while
/// sessions move.
#[derive(Default)]
pub(crate) struct Places(HashMap<BackendId, Vec<Lease>>);

impl Places {
    fn set(&mut self, backend: &Arc<Backend>, count: u32) {
        let held = self.0.entry(backend.id).or_default();
        held.resize_with(count as usize, || Lease::adopt(backend));
    }

    /// The place of a session that has arrived.
    pub fn take(&mut self, backend: &Arc<Backend>) -> Lease {
        let held = self.0.get_mut(&backend.id).and_then(Vec::pop);
        held.unwrap_or_else(|| Lease::adopt(backend))
    }
}

fn to_record(totals: Totals) -> TotalsRecord {
    TotalsRecord {
        attempts: totals.attempts,
        failures: totals.failures.to_vec(),
        sent: totals.sent_bytes,
        received: totals.received_bytes,
        retransmits: totals.retransmits,
    }
}

fn totals_record(totals: &ListenerTotals) -> ListenerTotalsRecord {
    let ended = CloseReason::ALL.into_iter().zip(totals.ended).filter(|(_, count)| *count > 0);
    ListenerTotalsRecord {
        sent: totals.sent_bytes,
        received: totals.received_bytes,
        retransmits: totals.retransmits,
        forwarded: totals.forwarded,
        ended: ended.map(|(reason, count)| (reason.to_string(), count)).collect(),
        lifetime: times_record(totals.lifetime),
        round_trip: times_record(totals.round_trip),
    }
}

fn to_listener_totals(record: &ListenerTotalsRecord) -> ListenerTotals {
    let ended = CloseReason::ALL.map(|it| record.ended.get(&it.to_string()).copied());
    ListenerTotals {
        sent_bytes: record.sent,
        received_bytes: record.received,
        retransmits: record.retransmits,
        forwarded: record.forwarded,
        ended: ended.map(Option::unwrap_or_default),
        lifetime: to_times(&record.lifetime),
        round_trip: to_times(&record.round_trip),
    }
}

fn times_record(times: Distribution) -> TimesRecord {
    let sum_nanos = u64::try_from(times.sum.as_nanos()).unwrap_or(u64::MAX);
    TimesRecord { counts: times.counts.to_vec(), sum_nanos }
}

fn to_times(record: &TimesRecord) -> Distribution {
    let mut times =
        Distribution { sum: Duration::from_nanos(record.sum_nanos), ..Distribution::default() };
    // Buckets that this process has not count as its last one.
    let last = times.counts.len() - 1;
    for (place, count) in record.counts.iter().enumerate() {
        times.counts[place.min(last)] += count;
    }
    times
}

fn to_totals(record: &TotalsRecord) -> Totals {
    let mut totals = Totals {
        attempts: record.attempts,
        sent_bytes: record.sent,
        received_bytes: record.received,
        retransmits: record.retransmits,
        ..Totals::default()
    };
    for (place, count) in record.failures.iter().enumerate() {
        let known = if place < totals.failures.len() { place } else { 0 };
        totals.failures[known] += count;
    }
    totals
}
