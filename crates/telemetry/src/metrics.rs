//! Metrics in the formats of Prometheus and OpenTelemetry, rendered from a [`Status`].
//!
//! Base units; counters end in `_total` and never go back while the process runs. No label has
//! anything of a client, so that the number of series is bounded by the configuration.

mod export;
mod families;
mod text;

use crate::process::ProcessRow;
use crate::status::{
    BackendRow, HistogramRow, ListenerRow, NameRow, PoolRow, Stance, Status, TotalsRow,
};
use balancing::{AdminState, Bounds, LATENCIES, LIFETIMES};
use export::Export;
use families::{Families, Labels};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use terms::CloseReason;
use text::Text;

pub use export::Instance;
pub use text::MEDIA_TYPE;

/// How much is said about backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Timings,
    /// Everything but histograms.
    Backends,
    /// Nothing: only the sums of each pool.
    Pools,
}

impl Detail {
    /// The most detail that stays reasonable for this number of backends.
    #[must_use]
    pub const fn fitting(backends: usize) -> Self {
        if backends <= TIMINGS_MAX {
            Self::Timings
        } else if backends <= BACKENDS_MAX {
            Self::Backends
        } else {
            Self::Pools
        }
    }
}

/// With more backends than this, they have no histograms of their own.
pub const TIMINGS_MAX: usize = 500;
/// With more backends than this, they have no series of their own.
pub const BACKENDS_MAX: usize = 5_000;

/// A backend with its labels.
struct Labelled<'a> {
    labels: Labels,
    row: &'a BackendRow,
}

/// Writes all metrics of an instance to `out`, in the text format of Prometheus. The status has
/// counts since the start, and as much about backends as `detail` wants.
///
/// # Errors
///
/// If `out` cannot be written to.
pub fn render(
    status: &Status,
    process: &ProcessRow,
    detail: Detail,
    out: impl Write,
) -> io::Result<()> {
    let mut text = Text::new(out);
    collect(&mut Families(&mut text), status, process, detail);
    text.finish()
}

/// The same in the format of OpenTelemetry, at this time in nanoseconds since 1970, said of
/// `instance`.
#[must_use]
pub fn export(
    status: &Status,
    process: &ProcessRow,
    detail: Detail,
    instance: &Instance<'_>,
    now: u64,
) -> String {
    let mut export = Export::new(instance.started, now);
    collect(&mut Families(&mut export), status, process, detail);
    export.into_json(instance, &status.version)
}

fn collect(to: &mut Families<'_>, status: &Status, process: &ProcessRow, detail: Detail) {
    match detail {
        Detail::Timings => {}
        Detail::Backends => to.comment(
            "Backends have no histograms, as there are many; metrics-detail = \"backend\" gives \
             them theirs",
        ),
        Detail::Pools => to.comment(
            "Backends have no series of their own; metrics-detail = \"backend\" gives them theirs",
        ),
    }
    of_process(to, status, process, detail);
    of_names(to, &status.names);
    of_listeners(to, status);
    of_pools(to, &status.pools);
    let backends: Vec<_> = status.pools.iter().flat_map(labelled).collect();
    let now_seconds = process.started_seconds + status.uptime_seconds as f64;
    of_backends(to, &backends, now_seconds);
}

fn of_process(to: &mut Families<'_>, status: &Status, process: &ProcessRow, detail: Detail) {
    let alone = Labels::default;
    let one = |value: u64| [(alone(), value)];
    let build = Labels::of(&[("version", &status.version)]);
    to.gauge("build_info", "The running program", [(build, 1_u8)]);
    let started = [(alone(), process.started_seconds)];
    to.gauge("start_time_seconds", "When the process started", started);
    to.gauge("uptime_seconds", "Since the start", one(status.uptime_seconds));
    let stopping = u64::from(status.shutting_down);
    to.gauge("shutting_down", "1 once the instance has stopped listening", one(stopping));
    let levels = [("timings", Detail::Timings), ("backends", Detail::Backends)];
    let levels = levels.into_iter().chain([("pools", Detail::Pools)]);
    let levels =
        levels.map(|(name, it)| (Labels::of(&[("detail", &name)]), u8::from(it == detail)));
    to.gauge("metrics_detail", "How much is said about backends", levels);
    if let Some(hash) = &status.file_hash {
        let labels = Labels::of(&[("hash", hash), ("revision", &status.revision)]);
        to.gauge("config_revision_info", "The revision of the file that runs", [(labels, 1_u8)]);
    }
    let outcome = |word: &str| Labels::of(&[("outcome", &word)]);
    let counts = &process.counts;
    let outcomes = [
        (outcome("done"), counts.reloads_done),
        (outcome("unchanged"), counts.reloads_unchanged),
        (outcome("refused"), counts.reloads_refused),
    ];
    to.counter("config_reloads_total", "Reloads of the configuration file", outcomes);
    let success = u64::from(counts.has_last_succeeded);
    to.gauge("config_last_reload_success", "0 if the last reload was refused", one(success));
    to.gauge(
        "config_last_success_timestamp_seconds",
        "When a configuration was last taken into use",
        [(alone(), counts.last_success_seconds)],
    );
    let workers = status.workers.iter().zip(0_u32..);
    let worker = |number: u32| Labels::of(&[("worker", &number)]);
    to.gauge(
        "worker_sessions",
        "Open sessions of each worker",
        workers.map(|(it, number)| (worker(number), it.sessions)),
    );
    let busy = process.worker_cpu_seconds.iter().zip(0_u32..);
    to.counter(
        "worker_busy_seconds_total",
        "Processor time of each worker",
        busy.map(|(it, number)| (worker(number), *it)),
    );
    let short = counts.shortages.iter();
    to.counter(
        "shortage_seconds_total",
        "How long something was lacking",
        short.map(|(kind, seconds)| (Labels::of(&[("kind", kind)]), *seconds)),
    );
    let lost = [
        (Labels::of(&[("kind", &"lines")]), counts.lost_lines),
        (Labels::of(&[("kind", &"events")]), counts.lost_events),
    ];
    to.counter("log_lines_lost_total", "What came faster than it could be logged", lost);
    to.counter(
        "log_sessions_left_out_total",
        "Sessions without problems that log-sample left out of the log",
        [(alone(), counts.left_out)],
    );
    to.gauge(
        "open_descriptors",
        "Open file descriptors",
        process.descriptors.map(|it| (alone(), it)),
    );
    to.gauge("descriptors_max", "The limit of file descriptors", one(process.descriptors_max));
    let cpu = [(alone(), process.cpu_seconds)];
    to.counter("process_cpu_seconds_total", "Processor time of the process", cpu);
    let memory = process.resident_bytes.map(|it| (alone(), it));
    to.gauge("process_resident_memory_bytes", "Memory of the process", memory);
}

fn of_names(to: &mut Families<'_>, rows: &[NameRow]) {
    let all = |value: fn(&NameRow) -> Option<u64>| {
        rows.iter().filter_map(move |row| Some((named("name", &row.name), value(row)?)))
    };
    to.gauge("name_backends", "Backends that a name stands for", all(|it| Some(it.backends)));
    to.gauge(
        "name_answer_age_seconds",
        "Since the last answer to the lookup of a name",
        all(|it| it.answered_seconds),
    );
}

fn of_listeners(to: &mut Families<'_>, status: &Status) {
    let rows: Vec<_> =
        status.listeners.iter().map(|row| (named("listener", &row.name), row)).collect();
    let all =
        |value: fn(&ListenerRow) -> u64| rows.iter().map(move |(labels, row)| (labels, value(row)));
    to.gauge("listener_sessions", "Open sessions", all(|it| it.sessions));
    let limits = rows.iter().filter_map(|(labels, row)| Some((labels, row.sessions_max?)));
    to.gauge("listener_sessions_max", "The limit of open sessions", limits);
    to.gauge(
        "listener_connecting",
        "Open sessions whose backend has not answered yet",
        all(|it| it.connecting),
    );
    to.gauge(
        "listener_paused",
        "1 while clients wait because a limit is reached",
        all(|it| it.paused.into()),
    );
    to.counter("listener_accepted_total", "Sessions begun", all(|it| it.sessions_total));
    to.counter(
        "listener_forwarded_total",
        "Sessions that the kernel forwarded and that have ended; they are not among those begun",
        all(|it| it.forwarded_total),
    );
    let ended = rows.iter().flat_map(|(labels, row)| {
        let ended = row.ended_total.iter();
        ended.map(|it| (labels.with("reason", &it.reason), it.sessions))
    });
    to.counter("listener_ended_total", "Sessions ended, by reason", ended);
    let refused = rows.iter().flat_map(|(labels, row)| {
        let kinds = [
            ("denied", CloseReason::Denied),
            ("limit", CloseReason::Limit),
            ("untrusted-proxy", CloseReason::ProxyUntrusted),
        ];
        let kinds = kinds.into_iter().map(|(kind, reason)| (kind, row.ended_as(reason)));
        let kinds = kinds.chain([
            ("datagram", row.dropped_datagrams_total),
            ("client-sessions", row.refused_sessions_total),
            ("client-rate", row.refused_rate_total),
            ("client-table", row.refused_table_total),
        ]);
        let kinds = kinds.filter(|(_, count)| *count > 0);
        kinds.map(|(kind, count)| (labels.with("kind", &kind), count)).collect::<Vec<_>>()
    });
    to.counter("listener_refused_total", "Clients that were not let in, by kind", refused);
    to.counter("listener_sent_bytes_total", "Bytes from clients", all(|it| it.sent_bytes_total));
    to.counter(
        "listener_received_bytes_total",
        "Bytes to clients",
        all(|it| it.received_bytes_total),
    );
    to.counter(
        "listener_retransmitted_segments_total",
        "Segments sent to clients again, in sessions that have ended",
        all(|it| it.retransmits_total),
    );
    let expiries = rows.iter().flat_map(|(labels, row)| {
        row.certificates.iter().map(|it| (labels.with("path", &it.path), it.expires))
    });
    to.gauge(
        "certificate_expiry_timestamp_seconds",
        "When the first certificate of a file or directory expires",
        expiries,
    );
    let timed = |row: fn(&ListenerRow) -> &HistogramRow| {
        rows.iter().map(move |(labels, it)| (labels, row(it)))
    };
    let (lifetimes, latencies) = (seconds(&LIFETIMES), seconds(&LATENCIES));
    to.histogram(
        "listener_session_seconds",
        "How long sessions lasted",
        &lifetimes,
        timed(|it| &it.lifetime),
    );
    to.histogram(
        "listener_client_rtt_seconds",
        "Round-trip time to clients at the end of their sessions",
        &latencies,
        timed(|it| &it.rtt),
    );
}

fn of_pools(to: &mut Families<'_>, pools: &[PoolRow]) {
    let rows: Vec<_> = pools.iter().map(|row| (named("pool", &row.name), row)).collect();
    let states = rows.iter().flat_map(|(labels, row)| {
        let states =
            [("up", row.states.up), ("down", row.states.down), ("disabled", row.states.disabled)];
        states.map(|(state, count)| (labels.with("state", &state), count))
    });
    to.gauge("pool_backends", "Backends by state", states);
    let tiers = rows.iter().filter_map(|(labels, row)| Some((labels, row.tier_in_use?)));
    to.gauge("pool_tier_in_use", "The first tier that takes sessions", tiers);
    let refusing = |row: &PoolRow| u8::from(row.tier_in_use.is_none());
    to.gauge(
        "pool_refusing",
        "1 while no backend takes a session",
        rows.iter().map(|(labels, row)| (labels, refusing(row))),
    );
    let thin = rows.iter().flat_map(|(labels, row)| {
        let count = |stance| row.tiers.iter().filter(|it| it.stance == stance).count();
        let stances = [("fail-open", Stance::FailOpen), ("refusing", Stance::Refusing)];
        stances.map(|(word, stance)| (labels.with("stance", &word), count(stance)))
    });
    to.gauge("pool_thin_tiers", "Tiers with too few available backends", thin);
    let all =
        |value: fn(&PoolRow) -> u64| rows.iter().map(move |(labels, row)| (labels, value(row)));
    to.gauge("pool_sessions", "Open sessions of all backends", all(|it| it.sessions));
    let totals: Vec<_> = rows.iter().map(|(labels, row)| (labels, &row.totals)).collect();
    of_totals(to, "pool", &totals);
}

fn of_backends(to: &mut Families<'_>, backends: &[Labelled<'_>], now_seconds: f64) {
    let all =
        |value: fn(&BackendRow) -> u64| backends.iter().map(move |it| (&it.labels, value(it.row)));
    to.gauge("backend_up", "1 unless it has failed", all(|it| it.is_up().into()));
    to.gauge(
        "backend_enabled",
        "1 unless an operator took it out",
        all(|it| (it.admin == AdminState::Enabled).into()),
    );
    to.gauge(
        "backend_offered",
        "1 if it would get a session now",
        all(|it| it.is_offered().into()),
    );
    to.gauge("backend_sessions", "Open sessions and connects in progress", all(|it| it.sessions));
    let limits = backends.iter().filter_map(|it| match it.row.sessions_max {
        terms::Limit::None => None,
        terms::Limit::AtMost(most) => Some((&it.labels, most)),
    });
    to.gauge("backend_sessions_max", "The limit of open sessions", limits);
    let changes = backends.iter().filter_map(|it| {
        let change = it.row.last_change.as_ref()?;
        Some((&it.labels, (now_seconds - change.seconds as f64).round()))
    });
    to.gauge("backend_last_change_timestamp_seconds", "When its state last changed", changes);
    let totals: Vec<_> = backends.iter().map(|it| (&it.labels, &it.row.totals)).collect();
    of_totals(to, "backend", &totals);
}

/// What is counted for backends and for pools alike.
fn of_totals(to: &mut Families<'_>, whose: &str, rows: &[(&Labels, &TotalsRow)]) {
    let all =
        |value: fn(&TotalsRow) -> u64| rows.iter().map(move |(labels, row)| (*labels, value(row)));
    let name = |rest: &str| format!("{whose}_{rest}");
    to.counter(&name("connects_total"), "Connects begun", all(|it| it.attempts));
    let failures = rows.iter().flat_map(|(labels, row)| {
        let failures = row.failures.iter();
        failures.map(|it| (labels.with("kind", &it.kind), it.connects))
    });
    to.counter(&name("connect_failures_total"), "Connects that failed, by kind", failures);
    to.counter(&name("sent_bytes_total"), "Bytes to backends", all(|it| it.sent_bytes));
    to.counter(&name("received_bytes_total"), "Bytes from backends", all(|it| it.received_bytes));
    to.counter(
        &name("retransmitted_segments_total"),
        "Segments sent to backends again, in sessions that have ended",
        all(|it| it.retransmits),
    );
    let bounds = seconds(&LATENCIES);
    let timed = |row: fn(&TotalsRow) -> &HistogramRow| {
        rows.iter().map(move |(labels, it)| (*labels, row(it)))
    };
    to.histogram(
        &name("connect_seconds"),
        "From beginning to connect until a backend has answered",
        &bounds,
        timed(|it| &it.connect),
    );
    to.histogram(
        &name("first_byte_seconds"),
        "From being connected until a backend's first byte",
        &bounds,
        timed(|it| &it.first_byte),
    );
    to.histogram(
        &name("rtt_seconds"),
        "Round-trip time to backends at the end of sessions",
        &bounds,
        timed(|it| &it.rtt),
    );
}

/// The backends of a pool with their labels. Of several with the same name in one tier, those after
/// the first have their place behind it.
fn labelled(pool: &PoolRow) -> Vec<Labelled<'_>> {
    let mut all = Vec::new();
    for (tier, number) in pool.tiers.iter().zip(0_u32..) {
        let names = tier.backends.iter().map(BackendRow::called);
        let are_distinct = are_distinct(names.clone());
        let mut seen = BTreeSet::new();
        let names =
            names.zip(0_u32..).map(|(name, index)| match are_distinct || seen.insert(name) {
                true => Cow::Borrowed(name),
                false => Cow::Owned(format!("{name}#{index}")),
            });
        let labels = Labels::of(&[("pool", &pool.name), ("tier", &number)]);
        let labels = labels.with_each("backend", names);
        let rows = labels.into_iter().zip(&tier.backends);
        all.extend(rows.map(|(labels, row)| Labelled { labels, row }));
    }
    all
}

/// Whether each name is certain to differ from all others. Hashes tell sooner than a set of the names.
fn are_distinct<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let hash = |name: &str| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    };
    let mut hashes: Vec<u64> = names.map(hash).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}

fn named(label: &str, name: &str) -> Labels {
    Labels::of(&[(label, &name)])
}

fn seconds(bounds: &Bounds) -> Vec<f64> {
    bounds.iter().map(std::time::Duration::as_secs_f64).collect()
}
