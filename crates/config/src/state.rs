//! What outlives an instance: the state file.
//!
//! [`State`] is what an instance should remember over a restart in addition to its configuration:
//! the operator's changes and the backends that a failure disabled ([`Override`]), which backends
//! are quarantined, and the last known addresses of names. `control` reads and writes the file; this
//! module defines what it means.
//!
//! An override records the given value and the value that ran instead. After a restart it applies
//! only if the same value is given again: if the file has been changed since then, its new value is
//! the one that is wanted.

mod overrides;

pub use overrides::{Dropped, Override};

use crate::{Answers, Backend, Config, Pool};
use balancing::Health;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use terms::Instant;

/// The contents of a state file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of the format: [`State::VERSION`].
    pub version: u32,
    /// The name of the instance.
    pub instance: String,
    /// When it was written.
    pub written: Moment,
    /// The state of each pool, by name.
    pub pools: BTreeMap<String, PoolState>,
    /// The last known addresses of endpoints whose host is a name, by `host:port`.
    pub names: BTreeMap<String, Vec<SocketAddr>>,
    /// What names last stood for that stand for several backends.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub discovered: Answers,
    /// The clients that return to a backend, by pool, the one seen last first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<String, Vec<KnownClient>>,
}

/// The state of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolState {
    /// Values other than the given ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// The backends that have failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantines: Vec<Quarantine>,
}

/// A backend that has failed, and has not recovered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The backend's address; see [`addresses`].
    pub backend: String,
    /// When its last failure was seen, on the clock of [`Moment::millis`].
    pub since_millis: u64,
    /// Successes in a row after the quarantine.
    #[serde(default)]
    pub successes: u32,
    /// Whether probes have shown it to be down, so that it is skipped until they show otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub down: bool,
    /// If its sessions failed: how often in a row it has been ejected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ejections: u32,
}

/// As serde wants it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(it: &u32) -> bool {
    *it == 0
}

/// As serde wants it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(it: &bool) -> bool {
    !it
}

/// A client and the backend that it had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KnownClient {
    /// The address; absent for all clients of Unix sockets together.
    pub client: Option<IpAddr>,
    /// The backend's address; see [`addresses`].
    pub backend: String,
    /// When the client last began a session, on the clock of [`Moment::millis`].
    pub last_millis: u64,
}

/// A point in time that later processes understand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Identifies the boot of the machine; empty if unknown.
    pub boot: String,
    /// Milliseconds on the clock that runs since that boot.
    pub millis: u64,
}

/// Why the contents of a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is not JSON, or not of this form.
    #[error("it is damaged: {0}")]
    Damaged(serde_json::Error),
    /// Another version of the program has written it.
    #[error("it has version {0} of the format, and this program reads version {version}", version = State::VERSION)]
    Version(u32),
    /// It belongs to another instance.
    #[error("it belongs to the instance {0}")]
    Instance(String),
}

/// The fields that are read first, to find out whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    version: u32,
    instance: String,
}

impl State {
    /// The maximum number of clients of a pool that are written: those seen last.
    pub const CLIENTS_MAX: usize = 10_000;
    /// The version that is written, and the only one that is read.
    pub const VERSION: u32 = 1;
    /// The maximum length of a file.
    pub const BYTES_MAX: usize = 16 << 20;

    /// Reads the state of `instance`.
    ///
    /// # Errors
    /// If these are not the contents of a state file of this version and this instance.
    pub fn parse(bytes: &[u8], instance: &str) -> Result<Self, StateError> {
        let head: Head = serde_json::from_slice(bytes).map_err(StateError::Damaged)?;
        if head.version != Self::VERSION {
            return Err(StateError::Version(head.version));
        }
        if head.instance != instance {
            return Err(StateError::Instance(head.instance));
        }
        serde_json::from_slice(bytes).map_err(StateError::Damaged)
    }

    /// The contents of the file; `None` if they would be longer than [`State::BYTES_MAX`].
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).ok()?;
        bytes.push(b'\n');
        (bytes.len() <= Self::BYTES_MAX).then_some(bytes)
    }

    /// Whether this says the same as `other`, clients apart, whenever they were written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.pools, &self.names, &self.discovered, &self.instance)
            == (&other.pools, &other.names, &other.discovered, &other.instance)
    }

    /// The configuration with the overrides of this state, and those that no longer apply. Both
    /// configurations have the same ids.
    #[must_use]
    pub fn apply(&self, given: &Config) -> (Config, Vec<Dropped>) {
        overrides::apply(given, self.pools.iter().map(|(name, it)| (&**name, &*it.overrides)))
    }

    /// Notes in which values `running` differs from `given`, the configuration that the instance
    /// was started with or was last given. Both must have been [identified](Config::identify).
    pub fn note_overrides(&mut self, given: &Config, running: &Config) {
        for (pool, overrides) in overrides::between(given, running) {
            self.pools.entry(pool).or_default().overrides = overrides;
        }
    }

    /// The healths of a pool's backends, by [address](addresses), as they are now.
    ///
    /// None are known after a reboot, or if the clock has gone back: the backends may have recovered,
    /// and the times of their failures cannot be compared with the clock.
    #[must_use]
    pub fn healths(&self, pool: &str, now: &Moment) -> BTreeMap<&str, Health> {
        let pool = self.pools.get(pool).filter(|_| self.written.is_before(now));
        let all = pool.into_iter().flat_map(|pool| &pool.quarantines);
        let healths = all.map(|it| {
            let since = Instant::from_millis(it.since_millis);
            let health = match (it.down, it.ejections) {
                (true, _) => Health::Down { since },
                (false, times @ 1..) => Health::Ejected { since, times },
                (false, 0) => Health::Quarantined { since, successes: it.successes },
            };
            (&*it.backend, health)
        });
        healths.collect()
    }

    /// The clients of a pool, least recently seen first, with the addresses of their backends and
    /// the times when they were last seen. If the machine has rebooted since the file was written,
    /// no time counts as having passed.
    pub fn known_clients(
        &self,
        pool: &str,
        now: &Moment,
    ) -> impl Iterator<Item = (Option<IpAddr>, &str, Instant)> {
        let passed = if self.written.is_before(now) { now.millis - self.written.millis } else { 0 };
        let then = now.millis.saturating_sub(passed);
        let all = self.clients.get(pool).into_iter().flatten();
        let seen = move |it: &KnownClient| {
            Instant::from_millis(
                then.saturating_sub(self.written.millis.saturating_sub(it.last_millis)),
            )
        };
        all.rev().map(move |it| (it.client, &*it.backend, seen(it)))
    }
}

impl Moment {
    /// Whether this was earlier in the same boot as `now`.
    fn is_before(&self, now: &Self) -> bool {
        !self.boot.is_empty() && self.boot == now.boot && self.millis <= now.millis
    }
}

impl Quarantine {
    /// The part of a backend's health that outlives a restart; `None` if the backend is healthy.
    #[must_use]
    pub fn of(backend: String, health: Health) -> Option<Self> {
        let (since, successes, down, ejections) = match health {
            Health::Healthy { .. } | Health::Unknown => return None,
            Health::Quarantined { since, successes } => (since, successes, false, 0),
            Health::Down { since } => (since, 0, true, 0),
            Health::Ejected { since, times } => (since, 0, false, times),
        };
        Some(Self { backend, since_millis: since.as_millis(), successes, down, ejections })
    }
}

/// The addresses of a pool's backends, in the order of [`Pool::backends`]. Further backends of the
/// same address have a number after it.
#[must_use]
pub fn addresses(pool: &Pool) -> Vec<String> {
    numbered(pool, |backend| backend.endpoint.to_string())
}

/// The keys by which a pool's backends are known over a restart: names, and the addresses of
/// backends without one.
fn keys(pool: &Pool) -> Vec<String> {
    numbered(pool, Backend::called)
}

fn numbered(pool: &Pool, text: impl Fn(&Backend) -> String) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let number = |text: String| {
        let count: &mut u32 = seen.entry(text.clone()).or_default();
        *count += 1;
        if *count == 1 { text } else { format!("{text}#{count}") }
    };
    pool.backends().map(|(_, _, backend)| text(backend)).map(number).collect()
}

#[cfg(test)]
mod tests;
