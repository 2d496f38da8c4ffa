//! Addresses and backends as people write them.

use balancing::Backend;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

/// One end of a client's connection, written as people write it; `None` stands for a Unix socket.
pub(crate) struct EndOf(pub Option<SocketAddr>);

impl Display for EndOf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => plain(address).fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// An address as people write it: an IPv4 client of a dual-stack listener is an IPv4 client.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What people call a backend: its name, or else its address.
pub(crate) fn called<'a>(config: &'a config::Backend, backend: &'a Backend) -> &'a str {
    config.name.as_deref().unwrap_or(&backend.name)
}
