//! Backends that are the balancer itself. Each connection to one would cause another.

use crate::bind::{Sockets, StartError};
use crate::instance::Bound;
use balancing::Pool;
use config::Bind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use terms::Address;

/// Refuses backends of any pool, under any of their names, that are addresses `bound` by any
/// listener.
pub(crate) fn refuse(bound: &Bound, pools: &[Pool]) -> Result<(), StartError> {
    let own = sys::interfaces::own_addresses().unwrap_or_default();
    for backend in pools.iter().flat_map(Pool::all_backends) {
        for address in &backend.addresses {
            if let Some((bind, _)) = bound.iter().find(|it| is_served_by(address, *it, &own)) {
                return Err(StartError::Loop {
                    backend: backend.name.to_string(),
                    bind: bind.to_string(),
                });
            }
        }
    }
    Ok(())
}

/// Whether a connection to `address` would arrive at this listening address.
fn is_served_by(address: &Address, (bind, sockets): (&Bind, &Sockets), own: &[IpAddr]) -> bool {
    match (address, bind) {
        (Address::Unix(path), Bind::Unix(bind)) => is_same_file(path, bind),
        (Address::Ip(address), Bind::Tcp { .. } | Bind::Udp { .. }) => {
            let bound = sockets.fds.iter();
            let mut bound = bound.filter_map(|socket| sys::net::local_address(socket.as_fd()));
            bound.any(|bound| leads_to(*address, bound, own))
        }
        _ => false,
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => one == other,
    }
}

/// Whether a connection to `to` reaches a socket that listens on `bound`, on a machine with the
/// addresses `own`. A wildcard as destination is the machine's loopback address.
fn leads_to(to: SocketAddr, bound: SocketAddr, own: &[IpAddr]) -> bool {
    let target = match to.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // A wildcard of IPv6 takes IPv4 too, unless something else listens there.
    let fits = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            target.is_ipv4() && (target.is_loopback() || own.contains(&target))
        }
        IpAddr::V6(ip) if ip.is_unspecified() => target.is_loopback() || own.contains(&target),
        ip => ip.to_canonical() == target,
    };
    to.port() == bound.port() && fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(to: &str, bound: &str, expected: bool) {
        let own = ["127.0.0.1", "10.0.0.1", "::1", "fd00::1"].map(|ip| ip.parse().unwrap());
        let found = leads_to(to.parse().unwrap(), bound.parse().unwrap(), &own);
        assert_eq!(found, expected, "{to} to {bound}");
    }

    #[test]
    fn a_destination_that_comes_back_is_known() {
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("127.0.0.1:81", "127.0.0.1:80", false);
        check("127.0.0.2:80", "127.0.0.1:80", false);
        check("127.0.0.2:80", "0.0.0.0:80", true);
        check("10.0.0.1:80", "0.0.0.0:80", true);
        check("10.0.0.2:80", "0.0.0.0:80", false);
        check("10.0.0.1:80", "127.0.0.1:80", false);
        check("0.0.0.0:80", "127.0.0.1:80", true);
        check("0.0.0.0:80", "10.0.0.1:80", false);
        check("[::]:80", "[::1]:80", true);
        check("[::]:80", "[::]:80", true);
        check("[::1]:80", "0.0.0.0:80", false);
        check("10.0.0.1:80", "[::]:80", true);
        check("[fd00::1]:80", "[::]:80", true);
        check("[fd00::2]:80", "[::]:80", false);
        check("[::ffff:10.0.0.1]:80", "10.0.0.1:80", true);
    }
}
