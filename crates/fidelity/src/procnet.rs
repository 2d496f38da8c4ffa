//! What the kernel says about sockets in `/proc/net/tcp` and its like: who listens, and what is not yet
//! acknowledged.
//!
//! A connect would tell as well whether a proxy listens, but it would count as a client and turn
//! the proxy's round robin; reading the table disturbs nothing.

use std::{collections::HashSet, fs, net::SocketAddrV4};

/// Whether any socket of this machine listens on TCP `port`, whatever its address.
pub fn is_listening(port: u16) -> bool {
    has_listener(["/proc/net/tcp", "/proc/net/tcp6"], TCP_LISTEN, port)
}

/// Whether any socket of this machine takes datagrams at UDP `port`, whatever its address.
pub fn takes_datagrams(port: u16) -> bool {
    has_listener(["/proc/net/udp", "/proc/net/udp6"], UDP_UNCONNECTED, port)
}

fn has_listener(tables: [&str; 2], state: &str, port: u16) -> bool {
    tables.into_iter().any(|table| {
        // A kernel without IPv6 has no second table; then nothing listens there.
        let text = fs::read_to_string(table).unwrap_or_default();
        let mut rows = text.lines().filter_map(Row::parse);
        rows.any(|row| row.state == state && row.port() == Some(port))
    })
}

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// How many bytes the connection from `local` to `peer` has sent that the peer's kernel has not
/// acknowledged; `None` when there is no such connection (any more).
pub fn unacknowledged(local: SocketAddrV4, peer: SocketAddrV4) -> Option<u64> {
    let (local, peer) = (key(local), key(peer));
    let text = fs::read_to_string("/proc/net/tcp").ok()?;
    let row = text.lines().filter_map(Row::parse).find(|r| r.local == local && r.peer == peer)?;
    row.unacknowledged()
}

/// The inodes of the sockets of all established connections.
pub fn established() -> HashSet<u64> {
    let text = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let rows = text.lines().filter(|line| Row::parse(line).is_some_and(|row| row.state == "01"));
    rows.filter_map(|line| line.split_ascii_whitespace().nth(9)?.parse().ok()).collect()
}

/// The columns that matter, as the table writes them.
struct Row<'a> {
    local: &'a str,
    peer: &'a str,
    state: &'a str,
    queues: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut columns = line.split_ascii_whitespace().skip(1);
        Some(Self {
            local: columns.next()?,
            peer: columns.next()?,
            state: columns.next()?,
            queues: columns.next()?,
        })
    }

    fn port(&self) -> Option<u16> {
        u16::from_str_radix(self.local.rsplit_once(':')?.1, 16).ok()
    }

    fn unacknowledged(&self) -> Option<u64> {
        u64::from_str_radix(self.queues.split_once(':')?.0, 16).ok()
    }
}

/// An address as the table writes it: the four octets as one number of this machine's byte order.
fn key(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::wait_until;
    use std::{
        io::Write,
        net::{SocketAddr, TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        match address {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => panic!("these tests use IPv4"),
        }
    }

    #[test]
    fn a_listener_is_seen_while_it_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_listening(port));
        drop(listener);
        assert!(!is_listening(port));
    }

    #[test]
    fn a_send_queue_counts_down_to_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut backend, _) = listener.accept().unwrap();
        let (local, peer) = (v4(client.local_addr().unwrap()), v4(client.peer_addr().unwrap()));
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged(local, peer).unwrap() > 0);
        drop(client);
        std::io::copy(&mut backend, &mut std::io::sink()).unwrap();
        // The acknowledgement of the last bytes may lag behind their arrival.
        let soon = Instant::now() + Duration::from_secs(5);
        assert!(wait_until(soon, || matches!(unacknowledged(local, peer), None | Some(0))));
    }
}
