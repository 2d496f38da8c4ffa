//! The client of a session.

use crate::hash::{kernel_hash, scale};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A client as the rules see it: its address, and what is known about the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The address as the listener sees it; `None` for a client of a Unix socket. A dual-stack
    /// listener sees IPv4 clients as `::ffff:a.b.c.d`, which balance's hash takes literally;
    /// everything else uses [`Self::plain_address`].
    pub address: Option<IpAddr>,
    /// The port; zero for a client of a Unix socket.
    pub port: u16,
    /// Where the address is registered, if a rule needs that and it is known.
    pub country: Option<Country>,
}

/// A country's two-letter code of ISO 3166-1, such as `SE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Country(pub [u8; 2]);

impl Client {
    /// A client with this address; `None` for a client of a Unix socket.
    #[must_use]
    pub fn new(address: Option<SocketAddr>) -> Self {
        Self {
            address: address.map(|address| address.ip()),
            port: address.map_or(0, |address| address.port()),
            country: None,
        }
    }

    /// The address, in which an IPv4 client of a dual-stack listener is an IPv4 client.
    #[must_use]
    pub fn plain_address(&self) -> Option<IpAddr> {
        self.address.map(|address| address.to_canonical())
    }

    /// Which of `len` slots the client's network falls into: that of the address of an IPv4 client,
    /// or of the first 64 bits of an IPv6 address, because a client can choose the others; the same
    /// for all clients of Unix sockets.
    ///
    /// nftables computes the same (nft(8), `jhash` with [`KERNEL_SEED`](crate::KERNEL_SEED)).
    #[must_use]
    pub fn slot(&self, len: usize) -> usize {
        match self.plain_address() {
            None => 0,
            Some(IpAddr::V4(address)) => scale(kernel_hash(&address.octets()), len),
            Some(IpAddr::V6(address)) => scale(kernel_hash(&address.octets()[..8]), len),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}
