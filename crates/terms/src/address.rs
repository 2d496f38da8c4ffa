//! Where connections go to and come from.

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

/// Local address of connections to backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The system chooses.
    #[default]
    System,
    /// This one. An address this host does not have is not used (balance(1), `-B`).
    Fixed(IpAddr),
    /// The client's own (`IP_TRANSPARENT`, ip(7)). Needs `CAP_NET_ADMIN`; where that or the
    /// address family does not allow it, the system chooses. Source: penctl(1), `transparent`.
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
