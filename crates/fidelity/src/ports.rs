//! Listener ports for programs that cannot bind port 0.
//!
//! A port is free to a run when nobody uses it now and no other run of this suite has claimed it.
//! The claim is a Unix socket whose abstract name has the number (unix(7)): the kernel arbitrates,
//! it does not stand in the way of a listener, and it ends with its owner however that ends.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::RangeInclusive,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::atomic::{AtomicU16, Ordering},
};

/// A port number nobody else gets from [`Claim::new`] as long as this value lives.
#[derive(Debug)]
pub struct Claim {
    port: u16,
    _claim: UnixListener,
}

impl Claim {
    /// Claims a port that is free for TCP and UDP now.
    ///
    /// # Errors
    /// When the whole range is taken.
    pub fn new() -> io::Result<Self> {
        let len = RANGE.end() - RANGE.start() + 1;
        // Parallel runs start at different places, so that they seldom meet at all.
        let start = (std::process::id() as u16).wrapping_mul(61);
        let candidates = (0..len).map(|_| {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            RANGE.start() + start.wrapping_add(step) % len
        });
        candidates
            .filter_map(Self::try_port)
            .next()
            .ok_or_else(|| io::Error::other(format!("no free port in {RANGE:?}")))
    }

    fn try_port(port: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("fidelity-port-{port}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        // Any address: a proxy may be told to listen on all of them.
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
        Some(Self { port, _claim: claim })
    }

    /// The number.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Below the kernel's ephemeral range, so that no outgoing connection takes a claimed port.
const RANGE: RangeInclusive<u16> = 20_000..=31_999;

static NEXT: AtomicU16 = AtomicU16::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_distinct_and_usable() {
        let claims: Vec<Claim> = (0..50).map(|_| Claim::new().unwrap()).collect();
        for (i, claim) in claims.iter().enumerate() {
            assert!(claims[..i].iter().all(|other| other.port() != claim.port()));
            TcpListener::bind((Ipv4Addr::LOCALHOST, claim.port())).unwrap();
            UdpSocket::bind((Ipv4Addr::LOCALHOST, claim.port())).unwrap();
        }
    }
}
