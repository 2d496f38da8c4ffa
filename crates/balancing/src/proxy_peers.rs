//! The proxies that are trusted to announce their clients.

use crate::access::{AccessEntry, AccessList, Subject, Verdict};
use crate::client::Client;
use std::net::SocketAddr;

/// The peers whose connections begin with a header of the PROXY protocol. No other peer is served
/// where there are any: whether there is a header is never left to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPeers {
    networks: AccessList,
    /// Whether peers that connect through a Unix socket are among them.
    pub unix: bool,
}

impl ProxyPeers {
    /// The peers in these networks, and perhaps those of Unix sockets.
    #[must_use]
    pub fn new(networks: Vec<Subject>, unix: bool) -> Self {
        let permit = |subject| AccessEntry { verdict: Verdict::Permit, subject };
        Self { networks: AccessList::new(networks.into_iter().map(permit).collect()), unix }
    }

    /// The networks, in the order in which they were given.
    pub fn networks(&self) -> impl Iterator<Item = Subject> {
        self.networks.entries().iter().map(|entry| entry.subject)
    }

    /// Whether this peer is one of them; `None` stands for the peer of a Unix socket.
    #[must_use]
    pub fn contains(&self, peer: Option<SocketAddr>) -> bool {
        match peer {
            None => self.unix,
            Some(_) if self.networks.entries().is_empty() => false,
            Some(_) => self.networks.permits(&Client::new(peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    #[track_caller]
    fn check(peers: &ProxyPeers, peer: &str, expected: bool) {
        let peer = peer.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 1));
        assert_eq!(peers.contains(peer), expected, "{peer:?}");
    }

    #[test]
    fn only_peers_that_are_named_are_among_them() {
        let v4 = Subject::V4 { address: Ipv4Addr::new(10, 0, 0, 0), mask: [255, 0, 0, 0].into() };
        let v6 = Subject::V6 { address: Ipv6Addr::LOCALHOST, prefix: 128 };
        let peers = ProxyPeers::new(vec![v4, v6], false);
        check(&peers, "10.9.9.9", true);
        check(&peers, "::ffff:10.9.9.9", true);
        check(&peers, "::1", true);
        check(&peers, "11.0.0.1", false);
        check(&peers, "::2", false);
        check(&peers, "unix", false);
        let unix = ProxyPeers::new(Vec::new(), true);
        check(&unix, "unix", true);
        check(&unix, "10.9.9.9", false);
    }
}
