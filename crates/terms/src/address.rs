//! Addresses of connections: where they go, and where they come from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// The local address for connections to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The system chooses.
    #[default]
    System,
    /// This address. While the host does not have it, the system chooses (balance(1), `-B`); the
    /// native start says so with a warning.
    Fixed(IpAddr),
    /// The client's own address (`IP_TRANSPARENT`, ip(7)). Needs `CAP_NET_ADMIN` or
    /// `CAP_NET_RAW`. Without it, or if the address family differs, the system chooses.
    /// Source: penctl(1), `transparent`.
    Client,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
