//! Where connections are sent.

use crate::door::Family;
use crate::table_name::TableName;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// What connections to a target are marked with (nft(8), `ct mark`). No two targets of a rule set
/// have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark(u32);

/// A backend as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// Who it sees as the sender.
    pub sender: Sender,
}

/// Who a target sees as the sender of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Sender {
    /// This machine, at the address that it uses on the way there.
    Machine,
    /// This machine, at this address.
    Address(IpAddr),
    /// The client. Its answers must come back through this machine.
    Client,
}

impl Mark {
    /// The first four bits are the same in all marks, and tell them from those of other programs.
    pub const PREFIX: u32 = 0xe000_0000;
    /// The places of these bits.
    pub const PREFIX_BITS: u32 = 0xf000_0000;

    /// The mark for a backend of a pool of the instance with this table. It is the same in every process,
    /// so that a process knows the connections that an earlier one has begun. `nth` is zero, or one more
    /// for each mark that was taken already.
    #[must_use]
    pub fn of(table: &TableName, pool: &str, address: SocketAddr, nth: u32) -> Self {
        let mut hasher = SipHasher13::new();
        (table, pool, address, nth).hash(&mut hasher);
        Self(Self::PREFIX | hasher.finish() as u32 & !Self::PREFIX_BITS)
    }

    /// The mark of a connection, if it is one of these.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits & Self::PREFIX_BITS == Self::PREFIX).then_some(Self(bits))
    }

    /// As the kernel has it.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl Target {
    /// Its internet protocol.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.address.ip())
    }
}
