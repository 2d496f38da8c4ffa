//! Metrics in the text format of Prometheus, rendered from a [`Status`].
//!
//! Base units; counters end in `_total` and never go back while the process runs. No label has
//! anything of a client, so that the number of series is bounded by the configuration.

mod text;

use crate::process::ProcessRow;
use crate::status::{
    BackendRow, HistogramRow, ListenerRow, NameRow, PoolRow, Stance, Status, TotalsRow,
};
use balancing::{AdminState, Bounds, LATENCIES, LIFETIMES};
use std::collections::BTreeSet;
use terms::CloseReason;
use text::{Labels, Text};

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

/// All metrics of an instance. The status has counts since the start, and as much about backends as
/// `detail` wants.
#[must_use]
pub fn render(status: &Status, process: &ProcessRow, detail: Detail) -> String {
    let mut text = Text::default();
    match detail {
        Detail::Timings => {}
        Detail::Backends => text.comment(
            "Backends have no histograms, as there are many; metrics-detail = \"backend\" gives \
             them theirs",
        ),
        Detail::Pools => text.comment(
            "Backends have no series of their own; metrics-detail = \"backend\" gives them theirs",
        ),
    }
    of_process(&mut text, status, process, detail);
    of_names(&mut text, &status.names);
    of_listeners(&mut text, status);
    of_pools(&mut text, &status.pools);
    let backends: Vec<_> = status.pools.iter().flat_map(labelled).collect();
    let now_seconds = process.started_seconds + status.uptime_seconds as f64;
    of_backends(&mut text, &backends, now_seconds);
    text.0
}

fn of_process(text: &mut Text, status: &Status, process: &ProcessRow, detail: Detail) {
    let alone = Labels::default;
    let one = |value: u64| [(alone(), value)];
    let build = Labels::of(&[("version", &status.version)]);
    text.gauge("build_info", "The running program", [(build, 1)]);
    let started = [(alone(), process.started_seconds)];
    text.gauge("start_time_seconds", "When the process started", started);
    text.gauge("uptime_seconds", "Since the start", one(status.uptime_seconds));
    let stopping = u64::from(status.shutting_down);
    text.gauge("shutting_down", "1 once the instance has stopped listening", one(stopping));
    let levels = [("timings", Detail::Timings), ("backends", Detail::Backends)];
    let levels = levels.into_iter().chain([("pools", Detail::Pools)]);
    let levels =
        levels.map(|(name, it)| (Labels::of(&[("detail", &name)]), u8::from(it == detail)));
    text.gauge("metrics_detail", "How much is said about backends", levels);
    if let Some(hash) = &status.file_hash {
        let labels = Labels::of(&[("hash", hash), ("revision", &status.revision)]);
        text.gauge("config_revision_info", "The revision of the file that runs", [(labels, 1)]);
    }
    let outcome = |word: &str| Labels::of(&[("outcome", &word)]);
    let counts = &process.counts;
    let outcomes = [
        (outcome("done"), counts.reloads_done),
        (outcome("unchanged"), counts.reloads_unchanged),
        (outcome("refused"), counts.reloads_refused),
    ];
    text.counter("config_reloads_total", "Reloads of the configuration file", outcomes);
    let success = u64::from(counts.has_last_succeeded);
    text.gauge("config_last_reload_success", "0 if the last reload was refused", one(success));
    text.gauge(
        "config_last_success_timestamp_seconds",
        "When a configuration was last taken into use",
        [(alone(), counts.last_success_seconds)],
    );
    let workers = status.workers.iter().zip(0_u32..);
    let worker = |number: u32| Labels::of(&[("worker", &number)]);
    text.gauge(
        "worker_sessions",
        "Open sessions of each worker",
        workers.map(|(it, number)| (worker(number), it.sessions)),
    );
    let busy = process.worker_cpu_seconds.iter().zip(0_u32..);
    text.counter(
        "worker_busy_seconds_total",
        "Processor time of each worker",
        busy.map(|(it, number)| (worker(number), *it)),
    );
    let short = counts.shortages.iter();
    text.counter(
        "shortage_seconds_total",
        "How long something was lacking",
        short.map(|(kind, seconds)| (Labels::of(&[("kind", kind)]), *seconds)),
    );
    let lost = [
        (Labels::of(&[("kind", &"lines")]), counts.lost_lines),
        (Labels::of(&[("kind", &"events")]), counts.lost_events),
    ];
    text.counter("log_lines_lost_total", "What came faster than it could be logged", lost);
    text.counter(
        "log_sessions_left_out_total",
        "Sessions without problems that log-sample left out of the log",
        [(alone(), counts.left_out)],
    );
    text.gauge(
        "open_descriptors",
        "Open file descriptors",
        process.descriptors.map(|it| (alone(), it)),
    );
    text.gauge("descriptors_max", "The limit of file descriptors", one(process.descriptors_max));
    let cpu = [(alone(), process.cpu_seconds)];
    text.counter("process_cpu_seconds_total", "Processor time of the process", cpu);
    let memory = process.resident_bytes.map(|it| (alone(), it));
    text.gauge("process_resident_memory_bytes", "Memory of the process", memory);
}

fn of_names(text: &mut Text, rows: &[NameRow]) {
    let all = |value: fn(&NameRow) -> Option<u64>| {
        rows.iter().filter_map(move |row| Some((named("name", &row.name), value(row)?)))
    };
    text.gauge("name_backends", "Backends that a name stands for", all(|it| Some(it.backends)));
    text.gauge(
        "name_answer_age_seconds",
        "Since the last answer to the lookup of a name",
        all(|it| it.answered_seconds),
    );
}

fn of_listeners(text: &mut Text, status: &Status) {
    let rows: Vec<_> =
        status.listeners.iter().map(|row| (named("listener", &row.name), row)).collect();
    let all =
        |value: fn(&ListenerRow) -> u64| rows.iter().map(move |(labels, row)| (labels, value(row)));
    text.gauge("listener_sessions", "Open sessions", all(|it| it.sessions));
    let limits = rows.iter().filter_map(|(labels, row)| Some((labels, row.sessions_max?)));
    text.gauge("listener_sessions_max", "The limit of open sessions", limits);
    text.gauge(
        "listener_connecting",
        "Open sessions whose backend has not answered yet",
        all(|it| it.connecting),
    );
    text.gauge(
        "listener_paused",
        "1 while clients wait because a limit is reached",
        all(|it| it.paused.into()),
    );
    text.counter("listener_accepted_total", "Sessions begun", all(|it| it.sessions_total));
    let ended = rows.iter().flat_map(|(labels, row)| {
        let ended = row.ended_total.iter();
        ended.map(|it| (labels.with("reason", &it.reason), it.sessions))
    });
    text.counter("listener_ended_total", "Sessions ended, by reason", ended);
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
    text.counter("listener_refused_total", "Clients that were not let in, by kind", refused);
    text.counter("listener_sent_bytes_total", "Bytes from clients", all(|it| it.sent_bytes_total));
    text.counter(
        "listener_received_bytes_total",
        "Bytes to clients",
        all(|it| it.received_bytes_total),
    );
    text.counter(
        "listener_retransmitted_segments_total",
        "Segments sent to clients again, in sessions that have ended",
        all(|it| it.retransmits_total),
    );
    let expiries = rows.iter().flat_map(|(labels, row)| {
        row.certificates.iter().map(|it| (labels.with("path", &it.path), it.expires))
    });
    text.gauge(
        "certificate_expiry_timestamp_seconds",
        "When the first certificate of a file or directory expires",
        expiries,
    );
    let timed = |row: fn(&ListenerRow) -> &HistogramRow| {
        rows.iter().map(move |(labels, it)| (labels, row(it)))
    };
    let (lifetimes, latencies) = (seconds(&LIFETIMES), seconds(&LATENCIES));
    text.histogram(
        "listener_session_seconds",
        "How long sessions lasted",
        &lifetimes,
        timed(|it| &it.lifetime),
    );
    text.histogram(
        "listener_client_rtt_seconds",
        "Round-trip time to clients at the end of their sessions",
        &latencies,
        timed(|it| &it.rtt),
    );
}

fn of_pools(text: &mut Text, pools: &[PoolRow]) {
    let rows: Vec<_> = pools.iter().map(|row| (named("pool", &row.name), row)).collect();
    let states = rows.iter().flat_map(|(labels, row)| {
        let states =
            [("up", row.states.up), ("down", row.states.down), ("disabled", row.states.disabled)];
        states.map(|(state, count)| (labels.with("state", &state), count))
    });
    text.gauge("pool_backends", "Backends by state", states);
    let tiers = rows.iter().filter_map(|(labels, row)| Some((labels, row.tier_in_use?)));
    text.gauge("pool_tier_in_use", "The first tier that takes sessions", tiers);
    let refusing = |row: &PoolRow| u8::from(row.tier_in_use.is_none());
    text.gauge(
        "pool_refusing",
        "1 while no backend takes a session",
        rows.iter().map(|(labels, row)| (labels, refusing(row))),
    );
    let thin = rows.iter().flat_map(|(labels, row)| {
        let count = |stance| row.tiers.iter().filter(|it| it.stance == stance).count();
        let stances = [("fail-open", Stance::FailOpen), ("refusing", Stance::Refusing)];
        stances.map(|(word, stance)| (labels.with("stance", &word), count(stance)))
    });
    text.gauge("pool_thin_tiers", "Tiers with too few available backends", thin);
    let all =
        |value: fn(&PoolRow) -> u64| rows.iter().map(move |(labels, row)| (labels, value(row)));
    text.gauge("pool_sessions", "Open sessions of all backends", all(|it| it.sessions));
    let totals: Vec<_> = rows.iter().map(|(labels, row)| (labels, &row.totals)).collect();
    of_totals(text, "pool", &totals);
}

fn of_backends(text: &mut Text, backends: &[Labelled<'_>], now_seconds: f64) {
    let all =
        |value: fn(&BackendRow) -> u64| backends.iter().map(move |it| (&it.labels, value(it.row)));
    text.gauge("backend_up", "1 unless it has failed", all(|it| it.is_up().into()));
    text.gauge(
        "backend_enabled",
        "1 unless an operator took it out",
        all(|it| (it.admin == AdminState::Enabled).into()),
    );
    text.gauge(
        "backend_offered",
        "1 if it would get a session now",
        all(|it| it.is_offered().into()),
    );
    text.gauge("backend_sessions", "Open sessions and connects in progress", all(|it| it.sessions));
    let limits = backends.iter().filter_map(|it| match it.row.sessions_max {
        terms::Limit::None => None,
        terms::Limit::AtMost(most) => Some((&it.labels, most)),
    });
    text.gauge("backend_sessions_max", "The limit of open sessions", limits);
    let changes = backends.iter().filter_map(|it| {
        let change = it.row.last_change.as_ref()?;
        Some((&it.labels, (now_seconds - change.seconds as f64).round()))
    });
    text.gauge("backend_last_change_timestamp_seconds", "When its state last changed", changes);
    let totals: Vec<_> = backends.iter().map(|it| (&it.labels, &it.row.totals)).collect();
    of_totals(text, "backend", &totals);
}

/// What is counted for backends and for pools alike.
fn of_totals(text: &mut Text, whose: &str, rows: &[(&Labels, &TotalsRow)]) {
    let all =
        |value: fn(&TotalsRow) -> u64| rows.iter().map(move |(labels, row)| (*labels, value(row)));
    let name = |rest: &str| format!("{whose}_{rest}");
    text.counter(&name("connects_total"), "Connects begun", all(|it| it.attempts));
    let failures = rows.iter().flat_map(|(labels, row)| {
        let failures = row.failures.iter();
        failures.map(|it| (labels.with("kind", &it.kind), it.connects))
    });
    text.counter(&name("connect_failures_total"), "Connects that failed, by kind", failures);
    text.counter(&name("sent_bytes_total"), "Bytes to backends", all(|it| it.sent_bytes));
    text.counter(&name("received_bytes_total"), "Bytes from backends", all(|it| it.received_bytes));
    text.counter(
        &name("retransmitted_segments_total"),
        "Segments sent to backends again, in sessions that have ended",
        all(|it| it.retransmits),
    );
    let bounds = seconds(&LATENCIES);
    let timed = |row: fn(&TotalsRow) -> &HistogramRow| {
        rows.iter().map(move |(labels, it)| (*labels, row(it)))
    };
    text.histogram(
        &name("connect_seconds"),
        "From beginning to connect until a backend has answered",
        &bounds,
        timed(|it| &it.connect),
    );
    text.histogram(
        &name("first_byte_seconds"),
        "From being connected until a backend's first byte",
        &bounds,
        timed(|it| &it.first_byte),
    );
    text.histogram(
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
        let mut seen = BTreeSet::new();
        for (row, index) in tier.backends.iter().zip(0_u32..) {
            let name = row.called();
            let name = match seen.insert(name) {
                true => name.to_owned(),
                false => format!("{name}#{index}"),
            };
            let labels = Labels::of(&[("pool", &pool.name), ("tier", &number), ("backend", &name)]);
            all.push(Labelled { labels, row });
        }
    }
    all
}

fn named(label: &str, name: &str) -> Labels {
    Labels::of(&[(label, &name)])
}

fn seconds(bounds: &Bounds) -> Vec<f64> {
    bounds.iter().map(std::time::Duration::as_secs_f64).collect()
}
