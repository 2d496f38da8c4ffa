//! What is known about the instance.

use balancing::AdminState;
use config::Command;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use telemetry::{BackendRow, Health, SessionRow, Status};

/// What arrives from the instance.
#[derive(Clone, Debug)]
pub enum News {
    /// Its status, and its sessions.
    Reading(Box<Status>, Vec<SessionRow>),
    /// A line of its log, as JSON.
    Event(String),
    /// It does not answer: why.
    Lost(String),
    /// What became of a command.
    Answer(Result<String, String>),
}

/// What is asked of the instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// To carry out a command.
    Command(Command),
}

/// What is known about the instance. Times are counted from the start of the program.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub status: Option<Status>,
    pub sessions: Vec<Session>,
    pub events: VecDeque<Event>,
    /// How many events there were.
    heard: u64,
    /// Why the instance does not answer, and since when.
    pub lost: Option<(String, Duration)>,
    /// Something to say below, and when it was said.
    pub note: Option<(String, Duration)>,
    read_at: Duration,
    /// Counters at the last reading, to be compared with those of the next one.
    backends: HashMap<String, (u64, u64)>,
    listeners: HashMap<String, u64>,
    rates: Rates,
}

/// How fast counters grow, per second.
#[derive(Debug, Default)]
struct Rates {
    /// Connects and bytes.
    backends: HashMap<String, (f64, f64)>,
    /// Sessions.
    listeners: HashMap<String, f64>,
}

/// A session with its speed.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub row: SessionRow,
    /// Bytes per second, in both directions, since the last reading.
    pub rate: f64,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Counted from one.
    pub number: u64,
    pub time: String,
    pub level: String,
    pub message: String,
    /// All other fields: first who and why, which a narrow terminal shows, too.
    pub fields: Vec<(String, String)>,
}

/// A backend with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub pool: &'a str,
    pub tier: usize,
    pub index: usize,
    pub row: &'a BackendRow,
    /// Whether there are several pools.
    pub names_pool: bool,
}

/// The fields of an event that come first; the others are in alphabetical order.
const FIRST_FIELDS: [&str; 7] =
    ["client", "reason", "backend", "error", "duration", "sent", "received"];

/// How many lines of the log are kept.
const EVENTS_MAX: usize = 1000;

impl Model {
    /// Takes in what has arrived.
    pub fn take(&mut self, news: News, now: Duration) {
        match news {
            News::Reading(status, sessions) => self.read(*status, sessions, now),
            News::Event(line) => {
                if let Some(event) = Event::parse(&line, self.heard + 1) {
                    self.heard += 1;
                    self.events.truncate(EVENTS_MAX - 1);
                    self.events.push_front(event);
                }
            }
            News::Lost(reason) => {
                let since = self.lost.take().map_or(now, |(_, since)| since);
                self.lost = Some((reason, since));
            }
            News::Answer(answer) => {
                let text = answer.unwrap_or_else(|error| format!("refused: {error}"));
                self.note = Some((text, now));
            }
        }
    }

    fn read(&mut self, status: Status, sessions: Vec<SessionRow>, now: Duration) {
        let before = self.status.as_ref().map(|it| (it.pid, it.version.clone()));
        let is_another = before.as_ref().is_some_and(|(pid, _)| *pid != status.pid);
        if is_another {
            let text =
                format!("another process now: pid {}, version {}", status.pid, status.version);
            self.note = Some((text, now));
        } else if self.lost.is_some() {
            self.note = Some(("connected again".to_owned(), now));
        }
        let elapsed = (now - self.read_at.min(now)).as_secs_f64();
        let is_comparable = before.is_some() && !is_another && elapsed > 0.0;
        let rate = |now: u64, before: Option<u64>| match before {
            Some(before) if is_comparable => now.saturating_sub(before) as f64 / elapsed,
            _ => 0.0,
        };
        let (mut backends, mut listeners) = (HashMap::new(), HashMap::new());
        self.rates = Rates::default();
        for it in placed(&status) {
            let key = it.key();
            let seen =
                (it.row.attempts_total, it.row.sent_bytes_total + it.row.received_bytes_total);
            let old = self.backends.get(&key);
            let rates = (rate(seen.0, old.map(|it| it.0)), rate(seen.1, old.map(|it| it.1)));
            self.rates.backends.insert(key.clone(), rates);
            backends.insert(key, seen);
        }
        for it in &status.listeners {
            let old = self.listeners.get(&it.name).copied();
            self.rates.listeners.insert(it.name.clone(), rate(it.sessions_total, old));
            listeners.insert(it.name.clone(), it.sessions_total);
        }
        let total = |row: &SessionRow| row.sent_bytes + row.received_bytes;
        let old: HashMap<_, _> =
            self.sessions.iter().map(|it| (it.row.session, total(&it.row))).collect();
        let with_rate = |row: SessionRow| {
            // One that is new has moved everything since it began.
            let since_start = total(&row) as f64 / row.age_seconds.max(1.0);
            let known = old.get(&row.session).filter(|_| is_comparable);
            let rate = known.map_or(since_start, |before| rate(total(&row), Some(*before)));
            Session { row, rate }
        };
        self.sessions = sessions.into_iter().map(with_rate).collect();
        (self.backends, self.listeners, self.read_at, self.lost) = (backends, listeners, now, None);
        self.status = Some(status);
    }

    /// All backends, in order.
    pub fn backends(&self) -> Vec<Placed<'_>> {
        self.status.as_ref().map(placed).unwrap_or_default()
    }

    /// New sessions and bytes per second of a backend.
    pub fn backend_rates(&self, backend: &Placed<'_>) -> (f64, f64) {
        self.rates.backends.get(&backend.key()).copied().unwrap_or_default()
    }

    /// New sessions per second of a listener.
    pub fn listener_rate(&self, name: &str) -> f64 {
        self.rates.listeners.get(name).copied().unwrap_or_default()
    }

    /// Clients by what they use: address, sessions, bytes per second, bytes; the busiest first.
    pub fn clients(&self) -> Vec<(String, u64, f64, u64)> {
        let mut clients: HashMap<&str, (u64, f64, u64)> = HashMap::new();
        for Session { row, rate } in &self.sessions {
            let used = clients.entry(host(&row.client)).or_default();
            used.0 += 1;
            used.1 += rate;
            used.2 += row.sent_bytes + row.received_bytes;
        }
        let mut clients: Vec<_> =
            clients.into_iter().map(|(who, it)| (who.to_owned(), it.0, it.1, it.2)).collect();
        let by_use = |one: &(String, u64, f64, u64), other: &(String, u64, f64, u64)| {
            let rate = other.2.total_cmp(&one.2);
            rate.then(other.3.cmp(&one.3)).then(other.1.cmp(&one.1)).then(one.0.cmp(&other.0))
        };
        clients.sort_by(by_use);
        clients
    }
}

/// The address without its port.
fn host(client: &str) -> &str {
    client.rsplit_once(':').map_or(client, |(host, _)| host)
}

fn placed(status: &Status) -> Vec<Placed<'_>> {
    let names_pool = status.pools.len() > 1;
    let mut all = Vec::new();
    for pool in &status.pools {
        for (tier, row) in pool.tiers.iter().enumerate() {
            for (index, row) in row.backends.iter().enumerate() {
                all.push(Placed { pool: &pool.name, tier, index, row, names_pool });
            }
        }
    }
    all
}

impl Placed<'_> {
    fn key(&self) -> String {
        format!("{} {}", self.pool, self.row.called())
    }

    /// The place, as commands take it.
    pub fn place(&self) -> String {
        match self.names_pool {
            true => format!("{}/{}.{}", self.pool, self.tier, self.index),
            false => format!("{}.{}", self.tier, self.index),
        }
    }

    /// Whether it would get new sessions now, its limit aside.
    pub fn is_available(&self) -> bool {
        self.row.admin == AdminState::Enabled && self.row.health.is_up()
    }

    /// Its state in a word.
    pub fn state(&self) -> &'static str {
        match (self.row.admin, self.row.health) {
            (AdminState::Disabled, _) => "disabled",
            (AdminState::Draining, _) if self.row.sessions == 0 => "drained",
            (AdminState::Draining, _) => "draining",
            (AdminState::Enabled, Health::Unresolved) => "unresolved",
            (AdminState::Enabled, Health::Unknown) => "unknown",
            (AdminState::Enabled, Health::Healthy) => "healthy",
            (AdminState::Enabled, Health::Quarantined) => "quarantined",
            (AdminState::Enabled, Health::Probation) => "probation",
            (AdminState::Enabled, Health::Down) => "down",
            (AdminState::Enabled, Health::Ejected) => "ejected",
        }
    }

    /// Since when it has been so, in seconds, and why; as far as that is known.
    pub fn why(&self) -> (Option<u64>, Option<String>) {
        let change = self.row.last_change.as_ref();
        let (since, what) = (change.map(|it| it.seconds), change.map(|it| it.what.clone()));
        match &self.row.probe {
            Some(probe) if self.state() == "down" => {
                let error = probe.last_error.as_ref().map(|it| format!("probe: {it}"));
                (Some(probe.since_seconds), error.or(what))
            }
            _ if self.state() == "unresolved" => {
                (since, Some("its name has no address".to_owned()))
            }
            _ => (since, what),
        }
    }
}

impl Event {
    /// A line of the log; `None` if it is none, such as a sign of life.
    fn parse(line: &str, number: u64) -> Option<Self> {
        let serde_json::Value::Object(all) = serde_json::from_str(line).ok()? else { return None };
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let named = |name: &str| all.get(name).map(text).unwrap_or_default();
        let is_other = |name: &&String| !["time", "level", "message"].contains(&name.as_str());
        let mut names: Vec<&String> = all.keys().filter(is_other).collect();
        names.sort_by_key(|name| {
            FIRST_FIELDS.iter().position(|it| it == name).unwrap_or(usize::MAX)
        });
        let fields = names.into_iter().map(|name| (name.clone(), text(&all[name]))).collect();
        let (time, level, message) = (named("time"), named("level"), named("message"));
        Some(Self { number, fields, time, level, message })
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Everything in one line, without the time.
    pub fn text(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{}{}", self.message, fields.collect::<String>())
    }
}
