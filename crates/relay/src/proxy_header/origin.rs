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

/// What a header of version 2 says besides the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details<'a> {
    /// The connection's id, cut at [`super::UNIQUE_ID_BYTES_MAX`]. Sent if the format has one.
    pub unique_id: &'a [u8],
    /// The name of the server that a TLS client has asked for.
    pub server_name: Option<&'a str>,
    /// The client's TLS, if it ends here.
    pub tls: Option<ClientTls<'a>>,
}

/// A client's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTls<'a> {
    /// The version, such as `1.3`.
    pub version: &'a str,
    /// The cipher suite, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'a str,
    /// The protocol that was agreed upon (ALPN).
    pub protocol: Option<&'a [u8]>,
    /// The client's certificate, which was verified.
    pub certificate: Option<ClientCertificate<'a>>,
}

/// A client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCertificate<'a> {
    /// Its common name.
    pub name: Option<&'a str>,
    /// Whether it was shown in an earlier connection, whose TLS session this one continues.
    pub is_resumed: bool,
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
