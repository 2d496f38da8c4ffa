//! The traffic log: one entry per piece of data read from a client.

use classics::pen::host_and_port;
use classics::pen::replies::{log_datagram, log_line};
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Where entries go.
#[derive(Default)]
pub struct TrafficLog {
    target: Option<Target>,
    /// Entries of this batch, for a file.
    waiting: Vec<u8>,
}

enum Target {
    File {
        path: String,
        file: File,
    },
    /// penlogd, or whoever listens there.
    Network {
        socket: UdpSocket,
    },
}

impl TrafficLog {
    /// Sends entries to a file, or to `host:port` at `address`.
    ///
    /// # Errors
    /// When it cannot be opened; then entries go where they went before.
    pub fn open(&mut self, text: &str, address: Option<SocketAddr>) -> io::Result<()> {
        let target = match address {
            Some(address) => {
                let any: IpAddr = match address {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                Target::Network { socket }
            }
            None => {
                let file = File::options().append(true).create(true).open(text)?;
                Target::File { path: text.to_owned(), file }
            }
        };
        self.flush();
        self.target = Some(target);
        Ok(())
    }

    /// Opens the file anew, after it was renamed.
    ///
    /// # Errors
    /// When it cannot be opened; entries then go on into the old one.
    pub fn reopen(&mut self) -> io::Result<()> {
        match &self.target {
            Some(Target::File { path, .. }) => {
                let path = path.clone();
                self.open(&path, None)
            }
            Some(Target::Network { .. }) | None => Ok(()),
        }
    }

    /// Stops logging.
    pub fn close(&mut self) {
        self.flush();
        self.target = None;
    }

    /// Adds an entry.
    pub fn add(&mut self, client: Option<IpAddr>, server: &str, bytes: &[u8]) {
        match &self.target {
            Some(Target::File { .. }) => {
                let seconds = u64::try_from(sys::clock::wall_nanos() / 1_000_000_000).unwrap_or(0);
                self.waiting.extend(log_line(client, seconds, server, bytes));
            }
            Some(Target::Network { socket }) => {
                // A datagram that the receiver cannot take is lost, as every other one.
                let _ = socket.send(&log_datagram(client, server, bytes));
            }
            None => {}
        }
    }

    /// Writes what was added.
    pub fn flush(&mut self) {
        if let Some(Target::File { file, .. }) = &mut self.target
            && !self.waiting.is_empty()
        {
            // Nobody is left to be told of a full disk; the original goes on, too.
            let _ = file.write_all(&self.waiting);
        }
        self.waiting.clear();
    }
}

/// Host and port of a log that is no file: everything with a colon, unless it begins with a
/// slash. The port is zero where it is none.
pub fn network_target(text: &str) -> Option<(&str, u16)> {
    let (host, port) = host_and_port(text).filter(|_| !text.starts_with('/'))?;
    let port = sys::process::service_port(port).or_else(|| port.parse().ok());
    Some((host, port.unwrap_or(0)))
}
