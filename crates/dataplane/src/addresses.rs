//! A session's addresses, in little space.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The client's address. Two of IPv4 take no more room than one of IPv6, so one of IPv4 is kept
/// together with the local address of the connection to the backend, which saves asking for it again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addresses {
    /// The client has none: its connection is a Unix socket.
    Unix,
    V4 {
        client: SocketAddrV4,
        source: Option<SocketAddrV4>,
    },
    V6(Ipv6Addr, u16),
}

const _: () = assert!(size_of::<Addresses>() <= 20);

impl Addresses {
    pub fn new(client: Option<SocketAddr>) -> Self {
        match client {
            None => Self::Unix,
            Some(SocketAddr::V4(client)) => Self::V4 { client, source: None },
            Some(SocketAddr::V6(client)) => Self::V6(*client.ip(), client.port()),
        }
    }

    pub fn client(&self) -> Option<SocketAddr> {
        match *self {
            Self::Unix => None,
            Self::V4 { client, .. } => Some(client.into()),
            Self::V6(ip, port) => Some(SocketAddrV6::new(ip, port, 0, 0).into()),
        }
    }

    /// The local address of the connection to the backend, if it was kept.
    pub const fn source(&self) -> Option<SocketAddr> {
        match *self {
            Self::V4 { source: Some(source), .. } => Some(SocketAddr::V4(source)),
            _ => None,
        }
    }

    /// Keeps the local address of the connection to the backend, if there is room for it.
    pub const fn keep_source(&mut self, address: Option<SocketAddr>) {
        if let Self::V4 { source, .. } = self {
            *source = match address {
                Some(SocketAddr::V4(address)) => Some(address),
                _ => None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_keep_their_addresses_and_a_source_is_kept_beside_one_of_ipv4() {
        let [v4, source, v6] =
            ["192.0.2.1:4711", "192.0.2.9:5", "[2001:db8::1]:4711"].map(|it| it.parse().unwrap());
        for client in [None, Some(v4), Some(v6)] {
            let mut it = Addresses::new(client);
            assert_eq!((it.client(), it.source()), (client, None));
            it.keep_source(Some(source));
            let kept = (client == Some(v4)).then_some(source);
            assert_eq!((it.client(), it.source()), (client, kept));
            it.keep_source(Some(v6));
            assert_eq!((it.client(), it.source()), (client, None));
        }
    }
}
