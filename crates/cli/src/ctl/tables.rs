//! What `evenkeel ctl status` and `evenkeel ctl sessions` print.
//!
//! The plain tables fit into [`WIDTH`] columns: counters are rounded, addresses that are too long
//! are cut in the middle. The wide ones have every column in full.

use balancing::{AdminState, Policy};
use serde::Serialize;
use telemetry::{
    BackendRow, Health, ListenerRow, NameRow, PoolRow, ProbeVerdict, SessionRow, Stance, Status,
    Why,
};
use terms::Limit;

/// The width of a terminal that shows plain tables without folding lines.
const WIDTH: usize = 80;

/// A running instance: a head, and for each pool its listeners and a table of its backends.
pub fn status_text(status: &Status, is_wide: bool) -> String {
    let workers = status.workers.iter().map(|it| it.sessions.to_string());
    let forwarded = Some(status.forwarded_sessions).filter(|it| *it > 0);
    let kernel = forwarded.map(|it| format!("and {it} by the kernel"));
    let sessions: Vec<_> = workers.chain(kernel).collect();
    let state = match (status.shutting_down, status.drain_seconds) {
        (true, _) => ", shutting down".to_owned(),
        (false, Some(seconds)) => format!(", draining for {seconds} s at most"),
        (false, None) => String::new(),
    };
    let mut text = format!(
        "evenkeel {}, pid {}, up {} s{state}, sessions by worker: {}\n",
        status.version,
        status.pid,
        status.uptime_seconds,
        sessions.join(" ")
    );
    if let Some(file) = &status.file {
        text += &format!("{file}, revision {}", status.revision);
        text += &match status.unconfirmed_seconds {
            Some(seconds) => format!(", taken back in {seconds} s unless confirmed\n"),
            None => "\n".to_owned(),
        };
    }
    if let Some(old) = &status.predecessor {
        text += &format!("the process before, {}, is still there", old.pid);
        text += &match old.sessions() {
            none if none.is_empty() => "\n".to_owned(),
            some => format!(", with sessions: {some}\n"),
        };
    }
    for pool in &status.pools {
        text.push('\n');
        text += &pool_text(status, pool, is_wide);
    }
    let has_pool = |it: &&ListenerRow| status.pools.iter().any(|pool| pool.name == it.pool);
    for listener in status.listeners.iter().filter(|it| !has_pool(it)) {
        text += &format!("\n{}, which serves nobody: no pool {}\n", head(listener), listener.pool);
    }
    text + &names_text(&status.names) + &departed_text(status)
}

/// What names stand for that stand for several backends.
fn names_text(names: &[NameRow]) -> String {
    let lines = names.iter().map(|it| {
        let backends = if it.backends == 1 {
            "1 backend".to_owned()
        } else {
            format!("{} backends", it.backends)
        };
        let missing = match it.missing {
            0 => String::new(),
            some => format!(" ({some} missing in the last answer)"),
        };
        let age = match it.answered_seconds {
            Some(seconds) => format!("answered {} ago", whole_age(seconds)),
            None => "not answered since the start".to_owned(),
        };
        let error = it.error.as_ref().map(|it| format!("; now: {it}")).unwrap_or_default();
        format!("{}: {backends}{missing}, {age}{error}\n", it.name)
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\nnames:\n{lines}") }
}

/// What was removed and still has sessions.
fn departed_text(status: &Status) -> String {
    let listeners = status.departed_listeners.iter();
    let listeners = listeners.map(|it| {
        format!("listener {} ({}): {}\n", it.name, it.binds.join(", "), sessions(it.sessions))
    });
    let backends = status.departed_backends.iter().map(|it| {
        format!("backend {}/{}: {}\n", it.pool, it.backend.called(), sessions(it.backend.sessions))
    });
    let lines: String = listeners.chain(backends).collect();
    if lines.is_empty() { lines } else { format!("\nremoved, with sessions left:\n{lines}") }
}

fn pool_text(status: &Status, pool: &PoolRow, is_wide: bool) -> String {
    let serves = |it: &&ListenerRow| {
        it.pool == pool.name || it.routes.iter().any(|route| route.pool == pool.name)
    };
    let listeners: Vec<_> = status.listeners.iter().filter(serves).collect();
    let policies: Vec<_> = pool.tiers.iter().map(|tier| word(&tier.policy)).collect();
    let policies = policies.join(" ! ");
    let mut text = match listeners[..] {
        [only] => format!("{}, {policies}\n", head(only)),
        [] => format!("pool {} without a listener, {policies}\n", pool.name),
        _ => {
            let heads = listeners.iter().map(|it| format!("{}\n", head(it)));
            heads.collect::<String>() + &format!("pool {}, {policies}\n", pool.name)
        }
    };
    if is_full(pool) {
        text += "every available backend has as many sessions as its limit allows\n";
    }
    for (number, tier) in pool.tiers.iter().enumerate() {
        let what = match tier.stance {
            Stance::Normal => continue,
            Stance::FailOpen => "health is ignored",
            Stance::Refusing => "new sessions are refused",
        };
        text += &format!("too few backends of tier {number} are available: {what}\n");
    }
    // As commands take them.
    let prefix = if status.pools.len() > 1 { format!("{}/", pool.name) } else { String::new() };
    let places = pool.tiers.iter().enumerate().flat_map(|(tier, row)| {
        let (backends, prefix) = (row.backends.iter().enumerate(), &prefix);
        backends
            .map(move |(index, backend)| (format!("{prefix}{tier}.{index}"), row.policy, backend))
    });
    let down: String = places.clone().filter_map(|(place, _, it)| why_down(&place, it)).collect();
    let said: String = places.clone().filter_map(|(place, _, it)| agent(&place, it)).collect();
    let table = match is_wide {
        true => Table {
            headings: &WIDE_STATUS,
            numbers: 5,
            rows: places.map(|(place, policy, backend)| wide_row(place, policy, backend)).collect(),
        },
        false => Table {
            headings: &PLAIN_STATUS,
            numbers: 3,
            rows: places.map(|(place, _, backend)| plain_row(place, backend)).collect(),
        },
    };
    text + &if is_wide { table.in_full() } else { table.within(WIDTH, &[1]) } + &down + &said
}

/// What the agent of a backend has said, if it has one.
fn agent(place: &str, backend: &BackendRow) -> Option<String> {
    let agent = backend.agent.as_ref()?;
    let overruled = if agent.is_overruled { ", but an operator has enabled it" } else { "" };
    let says = match &agent.says {
        Some(text) => {
            format!("says \"{text}\" for {}{overruled}", whole_age(agent.since_seconds))
        }
        None => "says nothing".to_owned(),
    };
    let error = agent.last_error.as_ref().map(|it| format!("; now: {it}")).unwrap_or_default();
    Some(format!("{place}: agent {} {says}{error}\n", agent.at))
}

/// Why a backend is unavailable, if it is, and since when.
fn why_down(place: &str, backend: &BackendRow) -> Option<String> {
    let is_skipped =
        matches!(backend.health, Health::Quarantined | Health::Probation | Health::Ejected);
    let Some(probe) = backend.probe.as_ref().filter(|it| it.verdict == ProbeVerdict::Down) else {
        let is_concerned = backend.admin != AdminState::Enabled || is_skipped;
        let change = backend.last_change.as_ref().filter(|_| is_concerned)?;
        return Some(format!("{place}: {}, {} ago\n", change.what, whole_age(change.seconds)));
    };
    let since = whole_age(probe.since_seconds);
    let error = probe.last_error.as_deref().unwrap_or("since before the start");
    Some(format!("{place}: probes have failed for {since}: {error}\n"))
}

/// An age in whole seconds or more.
fn whole_age(seconds: u64) -> String {
    let text = age(seconds as f64);
    text.strip_suffix(".0s").map_or(text.clone(), |it| format!("{it}s"))
}

/// What a listener is bound to, and its sessions.
fn head(listener: &ListenerRow) -> String {
    let (binds, open) = (listener.binds.join(", "), sessions(listener.sessions));
    let text = format!("{binds}: {open} open, {} since start", listener.sessions_total);
    match listener.forwarded_total {
        0 => text,
        forwarded => format!("{text} and {forwarded} by the kernel"),
    }
}

fn sessions(count: u64) -> String {
    match count {
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    }
}

/// Whether every backend that could serve has reached its limit.
fn is_full(pool: &PoolRow) -> bool {
    let backends = pool.tiers.iter().flat_map(|tier| &tier.backends);
    let mut usable = backends.filter(|it| it.admin == AdminState::Enabled).peekable();
    usable.peek().is_some() && usable.all(has_reached_its_limit)
}

fn has_reached_its_limit(backend: &BackendRow) -> bool {
    let sessions = u32::try_from(backend.sessions).unwrap_or(u32::MAX);
    !backend.sessions_max.allows(sessions)
}

const PLAIN_STATUS: [&str; 9] =
    ["PLACE", "BACKEND", "STATE", "OPEN", "MAX", "TRIED", "FAILED", "SENT", "RECEIVED"];

fn plain_row(place: String, backend: &BackendRow) -> Vec<String> {
    // An operator's word counts for more than what connects have shown.
    let state = match backend.admin {
        AdminState::Enabled if backend.is_declined() => word(&AdminState::Draining),
        AdminState::Enabled => word(&backend.health),
        admin => word(&admin),
    };
    vec![
        place,
        backend.called().to_owned(),
        state,
        short(backend.sessions),
        limit(backend, short),
        short(backend.attempts_total),
        short(backend.failures_total),
        short(backend.sent_bytes_total),
        short(backend.received_bytes_total),
    ]
}

const WIDE_STATUS: [&str; 11] = [
    "PLACE", "BACKEND", "POLICY", "ADMIN", "HEALTH", "OPEN", "MAX", "TRIED", "FAILED", "SENT",
    "RECEIVED",
];

fn wide_row(place: String, policy: Policy, backend: &BackendRow) -> Vec<String> {
    vec![
        place,
        backend.described(),
        word(&policy),
        word(&backend.admin),
        word(&backend.health),
        backend.sessions.to_string(),
        limit(backend, |limit| limit.to_string()),
        backend.attempts_total.to_string(),
        backend.failures_total.to_string(),
        backend.sent_bytes_total.to_string(),
        backend.received_bytes_total.to_string(),
    ]
}

fn limit(backend: &BackendRow, write: impl Fn(u64) -> String) -> String {
    match backend.sessions_max {
        Limit::None => "-".to_owned(),
        Limit::AtMost(limit) => write(limit.into()),
    }
}

/// Open sessions, one row each.
pub fn sessions_text(sessions: &[SessionRow], is_wide: bool) -> String {
    match is_wide {
        true => Table {
            headings: &WIDE_SESSIONS,
            numbers: 7,
            rows: sessions.iter().map(wide_session).collect(),
        }
        .in_full(),
        false => Table {
            headings: &PLAIN_SESSIONS,
            numbers: 4,
            rows: sessions.iter().map(plain_session).collect(),
        }
        .within(WIDTH, &[1, 2]),
    }
}

/// Where a client would be sent: the decisions in their order, and every backend's part in them.
pub fn why_text(why: &Why) -> String {
    let mut text = String::new();
    let mut line = |label: &str, words: &str| text += &format!("{label:<11}{words}\n");
    let country =
        why.country.as_ref().map(|it| format!(", registered in {it}")).unwrap_or_default();
    line("client", &format!("{}{country}", why.client));
    line("listener", &format!("{} ({})", why.listener, why.binds.join(", ")));
    line("pool", &format!("{}: {}", why.pool, why.pool_because));
    let verdict = if why.is_permitted { "permitted" } else { "denied" };
    line("access", &format!("{verdict}: {}", why.access_because));
    if let Some(backend) = &why.remembered {
        line("remembered", backend);
    }
    line("backend", &format!("{}: {}", why.backend.as_deref().unwrap_or("none"), why.because));
    if !why.then.is_empty() {
        line("then", &format!("{}, if connects fail", why.then.join(", ")));
    }
    why.notes.iter().for_each(|note| line("note", note));
    let rows = why.tiers.iter().enumerate().flat_map(|(tier, row)| {
        let backends = row.backends.iter().enumerate();
        backends.map(move |(index, it)| {
            let place = format!("{tier}.{index}");
            vec![place, it.backend.clone(), word(&it.reason), it.because.clone()]
        })
    });
    let table = Table { headings: &WHY, numbers: WHY.len(), rows: rows.collect() };
    text + "\n" + &table.within(WIDTH, &[1])
}

const WHY: [&str; 4] = ["PLACE", "BACKEND", "REASON", "BECAUSE"];

const PLAIN_SESSIONS: [&str; 7] =
    ["SESSION", "CLIENT", "BACKEND", "PHASE", "SENT", "RECEIVED", "AGE"];

fn plain_session(session: &SessionRow) -> Vec<String> {
    vec![
        session.session.to_string(),
        session.client.clone(),
        known(session.backend_address.as_deref().or(session.backend.as_deref())),
        word(&session.phase),
        short(session.sent_bytes),
        short(session.received_bytes),
        age(session.age_seconds),
    ]
}

const WIDE_SESSIONS: [&str; 20] = [
    "SESSION",
    "LISTENER",
    "CLIENT",
    "PEER",
    "SOURCE",
    "BACKEND",
    "ADDRESS",
    "PHASE",
    "WORKER",
    "SENT",
    "RECEIVED",
    "AGE",
    "IDLE",
    "RTT",
    "RETRANS",
    "BACKEND-RTT",
    "BACKEND-RETRANS",
    "SNI",
    "TLS",
    "ALPN",
];

fn wide_session(session: &SessionRow) -> Vec<String> {
    vec![
        session.session.to_string(),
        session.listener.clone(),
        session.client.clone(),
        known(session.peer.as_deref()),
        known(session.source.as_deref()),
        known(session.backend.as_deref()),
        known(session.backend_address.as_deref()),
        word(&session.phase),
        session.worker.map_or("-".to_owned(), |it| it.to_string()),
        session.sent_bytes.to_string(),
        session.received_bytes.to_string(),
        format!("{:.1}s", session.age_seconds),
        format!("{:.1}s", session.idle_seconds),
        millis(session.rtt_seconds),
        session.retransmits.map_or("-".to_owned(), |it| it.to_string()),
        millis(session.backend_rtt_seconds),
        session.backend_retransmits.map_or("-".to_owned(), |it| it.to_string()),
        known(session.server_name.as_deref()),
        known(session.tls.as_deref()),
        known(session.alpn.as_deref()),
    ]
}

fn millis(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |it| format!("{:.2}ms", it * 1e3))
}

/// The API's word for a value.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn known(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// A count in at most five characters: `99999`, `1.2M`, `340G`.
fn short(count: u64) -> String {
    if count < 100_000 {
        return count.to_string();
    }
    let mut unit = 1_u64;
    for letter in ["k", "M", "G", "T", "P", "E"] {
        unit = unit.saturating_mul(1000);
        let tenths = count / (unit / 10);
        match tenths {
            0..100 => return format!("{}.{}{letter}", tenths / 10, tenths % 10),
            100..10_000 => return format!("{}{letter}", tenths / 10),
            _ => {}
        }
    }
    count.to_string()
}

/// An age in at most five characters: `9.9s`, `75s`, `90m`, `25h`, `400d`.
fn age(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1}s"),
        ..600.0 => format!("{seconds:.0}s"),
        ..36_000.0 => format!("{:.0}m", seconds / 60.0),
        ..360_000.0 => format!("{:.0}h", seconds / 3600.0),
        _ => format!("{:.0}d", seconds / 86_400.0),
    }
}

/// Rows under headings; from column `numbers` on, cells are set to the right.
struct Table<'a> {
    headings: &'a [&'a str],
    numbers: usize,
    rows: Vec<Vec<String>>,
}

impl Table<'_> {
    /// Makes every column as wide as its widest cell.
    fn in_full(&self) -> String {
        self.set(&self.widths())
    }

    /// Makes the table at most `width` wide, if cutting cells of the columns `elastic` in the
    /// middle achieves that.
    fn within(&self, width: usize, elastic: &[usize]) -> String {
        let mut widths = self.widths();
        loop {
            let total = widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1);
            let widest = elastic.iter().copied().max_by_key(|&column| widths[column]);
            match widest {
                Some(column) if total > width && widths[column] > ELASTIC_MIN => {
                    widths[column] -= 1;
                }
                _ => return self.set(&widths),
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let cell = |row: &Vec<String>, column: usize| row[column].chars().count();
        let width = |column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
        self.headings.iter().enumerate().map(|(at, it)| width(at).max(it.len())).collect()
    }

    fn set(&self, widths: &[usize]) -> String {
        let headings = self.headings.iter().map(|it| (*it).to_owned()).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, &width))| {
                let cell = cut(cell, width);
                match column >= self.numbers {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                }
            });
            text += cells.collect::<Vec<_>>().join(GAP).trim_end();
            text.push('\n');
        }
        text
    }
}

const GAP: &str = "  ";

/// The minimum width of a column of addresses.
const ELASTIC_MIN: usize = 12;

/// A cell of at most `width` characters. Its end is the most useful part: the port is there.
fn cut(cell: &str, width: usize) -> String {
    let length = cell.chars().count();
    if length <= width {
        return cell.to_owned();
    }
    let head = (width - 1) / 2;
    let tail = width - 1 - head;
    let start: String = cell.chars().take(head).collect();
    let end: String = cell.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests;
