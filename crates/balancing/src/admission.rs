//! Limits per client, asked before a session begins: open sessions, and new ones in a time.
//!
//! A client is a network: an IPv4 address or the first 64 bits of an IPv6 address, unless
//! configured otherwise. [`Admission`] is a table of fixed size that all workers share. Clients
//! that it knows are found and counted with single atomic steps, so that limits are exact; a
//! client that it does not know takes a place for itself, and for those few dozen nanoseconds
//! other new ones of the same set wait. When a set is full, who has no sessions gives way.

mod rate;
#[cfg(test)]
mod tests;

pub use rate::{InvalidRate, Rate};

use crate::sync::{AtomicU64, Ordering};
use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::OnceLock;
use terms::Instant;

/// The limits of every client of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// The maximum number of open sessions. Default: no limit.
    pub sessions: Option<u32>,
    /// How fast sessions may begin. Default: no limit.
    pub rate: Option<Rate>,
    /// How many leading bits of an address tell clients apart.
    pub prefixes: Prefixes,
    /// How many clients are known at a time. Default 100,000.
    pub table: u32,
    /// What becomes of a new client when all known ones have sessions.
    pub when_full: WhenFull,
}

/// How many leading bits of an address tell clients apart. Default: 32 of an IPv4 address and 64 of an
/// IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    v4: u8,
    v6: u8,
}

/// Why a text does not say how many bits there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the leading bits of IPv4 and IPv6 addresses, such as 32/64 or 24/48")]
pub struct InvalidPrefixes;

/// What becomes of a new client when there is no place in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is served without limits.
    #[default]
    Admit,
    /// It is refused.
    Refuse,
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has as many sessions as it may have.
    Sessions,
    /// It begins sessions too fast.
    Rate,
    /// There is no place in the table.
    Table,
}

/// Which clients have how many sessions, and when they may begin others.
#[derive(Debug)]
pub struct Admission {
    places: Sets<Places>,
    /// None before there is a rate.
    times: OnceLock<Sets<Times>>,
    sets: usize,
    prefixes: Prefixes,
    seed: u64,
}

/// Something for each set of places. Where no client has been, it takes no memory.
#[derive(Debug)]
struct Sets<T>(Box<[OnceLock<Box<[T]>>]>);

/// The places in which a client can be. They fill two neighbouring cache lines, which processors
/// fetch as a pair: looking up a client that is not in the cache waits for memory once.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Places {
    /// Whether somebody takes a place.
    is_changing: AtomicU64,
    /// The clients' tags, and below each the number of its sessions; zero if nobody has had the
    /// place. In one word, so that nobody counts for a client that has just lost its place.
    owners: [AtomicU64; SET],
}

/// For each place, when its client would have used up what it has begun at its rate, in nanoseconds.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Times([AtomicU64; SET]);

/// The places of a set. Together with `is_changing`, they take 128 bytes.
const SET: usize = 15;
/// The sets that get memory together: 4 kB.
const CHUNK: usize = 32;
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            sessions: None,
            rate: None,
            prefixes: Prefixes::default(),
            table: Self::DEFAULT_TABLE,
            when_full: WhenFull::Admit,
        }
    }
}

impl ClientLimits {
    /// The default of [`ClientLimits::table`].
    pub const DEFAULT_TABLE: u32 = 100_000;
    /// The largest number of sessions that can be a limit.
    pub const SESSIONS_MAX: u32 = 1_000_000;
    /// The largest table.
    pub const TABLE_MAX: u32 = 4_000_000;

    /// Whether there is any limit.
    #[must_use]
    pub const fn are_any(&self) -> bool {
        self.sessions.is_some() || self.rate.is_some()
    }
}

impl Admission {
    /// An empty table for these limits. The seed must be one that nobody can guess. Takes 16 to 32
    /// bytes for each client, and twice as much once there is a rate.
    #[must_use]
    pub fn new(limits: &ClientLimits, seed: u64) -> Self {
        // Half full on average, so that hardly a set is ever full before the others.
        let sets = (limits.table as usize).div_ceil(8).next_power_of_two();
        let (places, times) = (Sets::new(sets), OnceLock::new());
        Self { places, times, sets, prefixes: limits.prefixes, seed }
    }

    /// Counts a session of a client, if it may begin one at `now`. Returns whether it is counted:
    /// [`Self::release`] is then due at its end.
    ///
    /// # Errors
    /// Why the client is refused.
    pub fn admit(
        &self,
        client: IpAddr,
        limits: &ClientLimits,
        now: Instant,
    ) -> Result<bool, Refused> {
        let most = limits.sessions.map_or(COUNT_MAX, |most| COUNT_MAX.min(most.into()));
        let (set, tag) = self.set_of(client);
        let Some(at) = self.enter(set, tag, most, now)? else {
            return match limits.when_full {
                WhenFull::Admit => Ok(false),
                WhenFull::Refuse => Err(Refused::Table),
            };
        };
        // The session that was just counted keeps the place, and so the client's time.
        if limits.rate.is_some_and(|rate| !rate.take(&self.times().of(set).0[at], now)) {
            leave(&self.places.of(set).owners[at], tag);
            return Err(Refused::Rate);
        }
        Ok(true)
    }

    /// Counts the end of a session that was counted.
    pub fn release(&self, client: IpAddr) {
        let (set, tag) = self.set_of(client);
        self.places.of(set).owners.iter().any(|owner| leave(owner, tag));
    }

    /// Counts a session that began elsewhere, whatever the limits. Returns whether it is counted.
    pub fn adopt(&self, client: IpAddr, now: Instant) -> bool {
        let (set, tag) = self.set_of(client);
        matches!(self.enter(set, tag, COUNT_MAX, now), Ok(Some(_)))
    }

    /// Counts a session at the client's place, and returns which one of the set that is. `None` if
    /// there is none for it.
    fn enter(
        &self,
        set: usize,
        tag: u64,
        most: u64,
        now: Instant,
    ) -> Result<Option<usize>, Refused> {
        let is_changing = &self.places.of(set).is_changing;
        loop {
            if let Some(found) = self.find(set, tag, most) {
                return found.map(Some);
            }
            while is_changing.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err()
            {
                crate::sync::spin_loop();
            }
            let taken = match self.find(set, tag, most) {
                Some(found) => Some(found.map(Some)),
                None => self.take(set, tag, most, now),
            };
            is_changing.store(0, Ordering::Release);
            if let Some(taken) = taken {
                return taken;
            }
        }
    }

    /// Counts a session of a client that has a place in the set.
    fn find(&self, set: usize, tag: u64, most: u64) -> Option<Result<usize, Refused>> {
        let mut owners = self.places.of(set).owners.iter().enumerate();
        owners.find_map(|(at, owner)| enter(owner, tag, most).map(|it| it.map(|()| at)))
    }

    /// Gives a client a place in the set, and counts its first session; `None` if somebody came back
    /// to that place in the meantime.
    fn take(
        &self,
        set: usize,
        tag: u64,
        most: u64,
        now: Instant,
    ) -> Option<Result<Option<usize>, Refused>> {
        if most == 0 {
            return Some(Err(Refused::Sessions));
        }
        let times = self.times.get().map(|times| &times.of(set).0);
        let owners = &self.places.of(set).owners;
        let idle = owners.iter().enumerate().filter_map(|(at, owner)| {
            let owner = owner.load(Ordering::Relaxed);
            let busy_until = times.map_or(0, |times| times[at].load(Ordering::Relaxed));
            (owner & COUNT_MAX == 0).then_some((busy_until, owner, at))
        });
        let Some((busy_until, owner, at)) = idle.min_by_key(|it| it.0) else {
            return Some(Ok(None));
        };
        let new = tag << COUNT_BITS | 1;
        owners[at].compare_exchange(owner, new, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        if let Some(times) = times.filter(|_| busy_until > now.as_nanos()) {
            times[at].store(0, Ordering::Relaxed); // of whoever had the place
        }
        Some(Ok(Some(at)))
    }

    fn times(&self) -> &Sets<Times> {
        self.times.get_or_init(|| Sets::new(self.sets))
    }

    /// The client's set, and its tag, which is never zero.
    fn set_of(&self, client: IpAddr) -> (usize, u64) {
        let mut hasher = SipHasher13::new_with_keys(self.seed, 0);
        match self.prefixes.of(client) {
            IpAddr::V4(address) => hasher.write_u32(address.to_bits()),
            IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
        }
        let hash = hasher.finish();
        let sets = self.sets as u64; // a power of two
        let set = usize::try_from(hash & (sets - 1)).unwrap_or(0);
        (set, (hash >> COUNT_BITS).max(1))
    }
}

impl<T: Default> Sets<T> {
    fn new(sets: usize) -> Self {
        Self((0..sets.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect())
    }

    fn of(&self, set: usize) -> &T {
        let new = || (0..CHUNK).map(|_| T::default()).collect();
        &self.0[set / CHUNK].get_or_init(new)[set % CHUNK]
    }
}

/// Counts a session, if this is the client's place.
fn enter(word: &AtomicU64, tag: u64, most: u64) -> Option<Result<(), Refused>> {
    let mut owner = word.load(Ordering::Relaxed);
    while owner >> COUNT_BITS == tag {
        if owner & COUNT_MAX >= most {
            return Some(Err(Refused::Sessions));
        }
        let (relaxed, next) = (Ordering::Relaxed, owner + 1);
        match word.compare_exchange(owner, next, relaxed, relaxed) {
            Ok(_) => return Some(Ok(())),
            Err(now) => owner = now,
        }
    }
    None
}

/// Counts the end of a session, if this is the client's place. Returns whether it is.
fn leave(word: &AtomicU64, tag: u64) -> bool {
    let mut owner = word.load(Ordering::Relaxed);
    while owner >> COUNT_BITS == tag && owner & COUNT_MAX > 0 {
        let (relaxed, next) = (Ordering::Relaxed, owner - 1);
        match word.compare_exchange(owner, next, relaxed, relaxed) {
            Ok(_) => return true,
            Err(now) => owner = now,
        }
    }
    false
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

impl Prefixes {
    /// The client that an address belongs to.
    fn of(self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(it) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(it.to_bits() & mask))
            }
            IpAddr::V6(it) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() & mask))
            }
        }
    }
}

impl fmt::Display for Prefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.v4, self.v6)
    }
}

impl FromStr for Prefixes {
    type Err = InvalidPrefixes;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (v4, v6) = text.split_once('/').ok_or(InvalidPrefixes)?;
        let bits = |text: &str, most: u8| {
            let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
            let bits = if is_number { text.parse().ok() } else { None };
            bits.filter(|it| (1..=most).contains(it)).ok_or(InvalidPrefixes)
        };
        Ok(Self { v4: bits(v4, 32)?, v6: bits(v6, 128)? })
    }
}

/// Why a text does not say what the limits of clients are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClientLimits {
    /// Not a limit.
    #[error(
        "'{0}' is no limit of clients; write sessions=N, rate=N/TIME, prefix=BITS/BITS, table=N or \
         full=admit|refuse, separated by commas"
    )]
    Word(String),
    /// Given twice.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// Not a number in its range.
    #[error("'{0}': write a number from 1 to {1}")]
    Number(String, u32),
    /// Not a rate.
    #[error("'{0}': {1}")]
    Rate(String, InvalidRate),
    /// Not prefixes.
    #[error("'{0}': {1}")]
    Prefixes(String, InvalidPrefixes),
    /// Neither a number of sessions nor a rate.
    #[error("needs sessions=N or rate=N/TIME; without one of them, there is no limit")]
    None,
}

/// Writes what differs from the defaults; nothing without limits.
impl fmt::Display for ClientLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, rate, prefixes, table, when_full } = *self;
        let words = [
            sessions.map(|most| format!("sessions={most}")),
            rate.map(|rate| format!("rate={rate}")),
            (prefixes != Prefixes::default()).then(|| format!("prefix={prefixes}")),
            (table != Self::DEFAULT_TABLE).then(|| format!("table={table}")),
            (when_full == WhenFull::Refuse).then(|| "full=refuse".to_owned()),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for ClientLimits {
    type Err = InvalidClientLimits;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut limits = Self::default();
        if text.is_empty() {
            return Ok(limits);
        }
        let mut seen = Vec::new();
        for word in text.split(',') {
            let unknown = || InvalidClientLimits::Word(word.to_owned());
            let (name, value) = word.split_once('=').ok_or_else(unknown)?;
            if seen.contains(&name) {
                return Err(InvalidClientLimits::Twice(name.to_owned()));
            }
            seen.push(name);
            let number = |most: u32| {
                let is_number = value.bytes().all(|it| it.is_ascii_digit());
                let number = if is_number { value.parse::<u32>().ok() } else { None };
                let number = number.filter(|it| (1..=most).contains(it));
                number.ok_or_else(|| InvalidClientLimits::Number(word.to_owned(), most))
            };
            match name {
                "sessions" => limits.sessions = Some(number(Self::SESSIONS_MAX)?),
                "rate" => {
                    let rate = value.parse();
                    let invalid = |why| InvalidClientLimits::Rate(word.to_owned(), why);
                    limits.rate = Some(rate.map_err(invalid)?);
                }
                "prefix" => {
                    let invalid = |why| InvalidClientLimits::Prefixes(word.to_owned(), why);
                    limits.prefixes = value.parse().map_err(invalid)?;
                }
                "table" => limits.table = number(Self::TABLE_MAX)?,
                "full" => {
                    limits.when_full = match value {
                        "admit" => WhenFull::Admit,
                        "refuse" => WhenFull::Refuse,
                        _ => return Err(unknown()),
                    };
                }
                _ => return Err(unknown()),
            }
        }
        if limits.are_any() { Ok(limits) } else { Err(InvalidClientLimits::None) }
    }
}
