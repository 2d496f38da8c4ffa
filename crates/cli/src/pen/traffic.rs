//! The traffic log: one entry per piece of data read from a client.

use super::messages::Messages;
use super::names::first_address;
use classics::pen::host_and_port;
use classics::pen::replies::{log_datagram, log_line};
use control::{LogTarget, LogWriter};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sys::errors::reason;

/// Where a log is, before it is opened.
pub enum LogPlace {
    File(PathBuf),
    /// penlogd, or whoever listens there.
    Network(SocketAddr),
}

impl LogPlace {
    /// Looks up the host of `host:port`: that is every text with a colon, unless it begins with a
    /// slash. Blocks.
    ///
    /// # Errors
    /// In words.
    pub fn find(text: &str) -> Result<Self, String> {
        let Some((host, port)) = host_and_port(text).filter(|_| !text.starts_with('/')) else {
            return Ok(Self::File(PathBuf::from(text)));
        };
        let port = sys::process::service_port(port).or_else(|| port.parse().ok());
        let address = first_address(host).ok_or("no such host")?;
        let port = port.filter(|port| *port != 0).ok_or("no such port")?;
        Ok(Self::Network(SocketAddr::new(address, port)))
    }

    /// Opens it. Entries that are dropped because nobody reads them are reported in `messages`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self, messages: &Messages) -> io::Result<TrafficLog> {
        match self {
            Self::Network(address) => {
                let any: IpAddr = match address {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                Ok(TrafficLog::Network(Arc::new(socket)))
            }
            Self::File(path) => {
                let file = sys::bounded_files::open_log(path)?;
                let messages = messages.clone();
                let writer = LogWriter::new(LogTarget::File(file), move |lines| {
                    messages
                        .say(&format!("{lines} log entries dropped: they could not be written"));
                    String::new()
                });
                Ok(TrafficLog::File(writer))
            }
        }
    }
}

/// Finds a log and opens it. Blocks.
///
/// # Errors
/// In words.
pub fn open_log(text: &str, messages: &Messages) -> Result<TrafficLog, String> {
    LogPlace::find(text)?.open(messages).map_err(|error| reason(&error))
}

/// Where entries go. Nothing here waits for whoever reads them.
#[derive(Clone, Default)]
pub enum TrafficLog {
    #[default]
    Nowhere,
    File(LogWriter),
    Network(Arc<UdpSocket>),
}

impl TrafficLog {
    /// Opens a file anew, at `path`, after it was renamed. If it cannot be opened, entries go on
    /// into the old one, and `messages` say so.
    pub fn reopen(&self, path: &str, messages: &Messages) {
        let Self::File(writer) = self else { return };
        let (path, messages) = (path.to_owned(), messages.clone());
        writer.switch(move || {
            let opened = sys::bounded_files::open_log(Path::new(&path));
            let failed = |error| {
                let reason = reason(&error);
                messages.say(&format!("Can't open logfile {path}, going on in the old: {reason}"));
            };
            opened.map_err(failed).ok()
        });
    }

    /// Sends an entry, or adds it to `waiting` for [`Self::write`].
    pub fn add(&self, waiting: &mut Vec<u8>, client: Option<IpAddr>, server: &str, bytes: &[u8]) {
        match self {
            Self::File(_) => {
                let seconds = u64::try_from(sys::clock::wall_nanos() / 1_000_000_000).unwrap_or(0);
                waiting.extend(log_line(client, seconds, server, bytes));
            }
            Self::Network(socket) => {
                // A datagram that the receiver cannot take is lost, as every other one.
                let _ = socket.send(&log_datagram(client, server, bytes));
            }
            Self::Nowhere => {}
        }
    }

    /// Writes what was added.
    pub fn write(&self, waiting: &mut Vec<u8>) {
        if let Self::File(writer) = self
            && !waiting.is_empty()
        {
            writer.write(&*waiting);
        }
        waiting.clear();
    }

    /// Waits for what is still to be written, but not for long.
    pub fn finish(&self) {
        if let Self::File(writer) = self {
            writer.finish();
        }
    }
}
