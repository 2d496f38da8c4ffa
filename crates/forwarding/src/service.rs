//! How a connection's target is chosen.

use crate::door::Family;
use crate::target::Mark;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// A chain of rules that chooses a target. It never changes: another choice is another service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Service {
    /// The internet protocol of its doors and targets.
    pub family: Family,
    /// How a slot is chosen.
    pub choice: Choice,
    /// The targets of the slots, at least one; none where direct return is to go on only for those
    /// who have begun.
    pub slots: Vec<Mark>,
    /// The first and last addresses of the clients that are taken, in order; all if absent. Others are
    /// left to the socket that listens.
    pub permitted: Option<Vec<(IpAddr, IpAddr)>>,
    /// Where it is remembered which target a client had, if that is.
    pub memory: Option<Name>,
    /// How long a flow of UDP may be silent, in seconds; as by default in the kernel if absent.
    pub flow_seconds: Option<u32>,
    /// Whether direct return sends on packets of TCP sessions that it does not know, too, as of a
    /// machine that had the address before. All have to choose alike: by the client's network, and
    /// without a memory.
    pub adopts: bool,
}

/// Which target clients had. It outlives services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Memory {
    /// The internet protocol of the clients.
    pub family: Family,
    /// The maximum number of clients. No more are remembered then.
    pub clients_max: u32,
    /// How long a client is remembered after its last session began; until the rules are removed if
    /// absent.
    pub seconds: Option<u64>,
}

impl Memory {
    /// Its name, in which the pool is told from others.
    #[must_use]
    pub fn name(&self, pool: &str) -> Name {
        let mut hasher = SipHasher13::new();
        (self, pool).hash(&mut hasher);
        Name(hasher.finish())
    }
}

/// How a slot is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Choice {
    /// One after the other.
    Turn,
    /// At random.
    Random,
    /// By the client's network; see [`balancing::Client::slot`].
    Network,
    /// By the bytes of the client's address of IPv4, and of its port if that is wanted; see
    /// [`balancing::byte_slot`]. There are 256 slots.
    Bytes {
        /// Whether the port matters.
        with_port: bool,
    },
}

/// The name of a service or a memory, which its contents decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(u64);

impl Service {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        let mut hasher = SipHasher13::new();
        self.hash(&mut hasher);
        Name(hasher.finish())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
