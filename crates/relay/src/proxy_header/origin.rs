//! What a header says.

use std::net::{IpAddr, SocketAddr};

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its length in bytes. What comes after it is the client's data.
    pub bytes: usize,
    /// Where the connection comes from.
    pub origin: Origin,
    /// The id that another proxy gave the connection; not text, and perhaps empty.
    pub unique_id: Option<&'a [u8]>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The peer itself (`LOCAL`), or a client of which the peer knows nothing (`UNKNOWN`,
    /// `UNSPEC`): the connection's own addresses count.
    Peer,
    /// A client with an address.
    Client {
        /// The client.
        client: SocketAddr,
        /// The address that it connected to, of the same family.
        destination: SocketAddr,
    },
    /// A client of a Unix socket, which has no address.
    UnixClient,
}

/// Bytes that are not a header: they begin like none, continue as the protocol does not allow, have
/// a checksum that does not fit, or announce more than [`super::HEADER_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHeader;

impl Origin {
    /// A client at this address, which connected to `destination`: both as IPv4 addresses if they
    /// are that (also IPv4-mapped ones), otherwise both as IPv6 addresses.
    #[must_use]
    pub fn client(client: SocketAddr, destination: SocketAddr) -> Self {
        let plain = |address: SocketAddr| address.ip().to_canonical();
        let with = |address: SocketAddr, ip| SocketAddr::new(ip, address.port());
        match (plain(client), plain(destination)) {
            (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => {
                Self::Client { client: with(client, from), destination: with(destination, to) }
            }
            (from, to) => Self::Client {
                client: with(client, wide(from)),
                destination: with(destination, wide(to)),
            },
        }
    }
}

fn wide(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}
