//! What workers report to the control plane.

use balancing::{Backend, BackendChange};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
pub use sys::net::TcpPath;
use terms::{CloseReason, ConnectFailure, ListenerId, Phase, Side};

/// Something that happened. `listener` names where it happened.
#[derive(Debug)]
pub enum Event {
    /// A session has been connected to a backend, where [`crate::Observe::starts`] asks for it. If
    /// another backend takes over before the first byte, this is reported again.
    Started(Box<SessionInfo>),
    /// A session ended.
    Ended(Ended),
    /// A backend's health changed, or a failure disabled it.
    Backend {
        /// The listener whose pool it is in.
        listener: ListenerId,
        /// The backend.
        backend: Arc<Backend>,
        /// Its tier, and its place in that.
        place: (usize, usize),
        /// What changed.
        change: BackendChange,
        /// Why the connect failed, if one did.
        failure: Option<ConnectFailure>,
    },
    /// All addresses of a backend failed. Its name may have others by now.
    ConnectFailed(Arc<Backend>),
    /// A shortage began. Reported once, until [`Event::TroubleOver`].
    Trouble(Trouble),
    /// A shortage is over.
    TroubleOver(Trouble),
    /// A step of a session, where [`crate::Observe::steps`] asks for it.
    Trace(Trace),
    /// Connections to backends should come from their clients' addresses, and cannot. Each kind of
    /// fault is reported once, until the setting changes.
    SourceUnusable {
        /// The client's listener.
        listener: ListenerId,
        /// The reason.
        fault: SourceFault,
    },
    /// A piece of data read from a client, where [`crate::Observe::requests`] asks for it.
    Request {
        /// The client; `None` for a Unix socket.
        client: Option<SocketAddr>,
        /// The backend that gets it.
        backend: Arc<Backend>,
        /// As it is passed on, at most the first [`REQUEST_BYTES_MAX`] bytes.
        bytes: Box<[u8]>,
        /// How many bytes the whole piece has.
        whole_bytes: usize,
    },
    /// A block read, where [`crate::Observe::blocks`] asks for it.
    Block {
        /// The sender's side.
        from: Side,
        /// The session's client; `None` for a Unix socket.
        client: Option<SocketAddr>,
        /// The session's backend.
        backend: Arc<Backend>,
        /// The bytes; `None` for a reset, empty for an end of file.
        bytes: Option<Vec<u8>>,
    },
}

impl Event {
    /// How many bytes belong to the event but are stored elsewhere, such as a copy of traffic.
    #[must_use]
    pub fn copied_bytes(&self) -> usize {
        match self {
            Self::Request { bytes, .. } => bytes.len(),
            Self::Started(info) => size_of_val(&**info),
            Self::Block { bytes, .. } => bytes.as_ref().map_or(0, Vec::capacity),
            _ => 0,
        }
    }
}

/// A session that ended.
#[derive(Debug)]
pub struct Ended {
    /// Its number, unique in the process.
    pub session: u64,
    /// The listener that accepted it.
    pub listener: ListenerId,
    /// The client's address; `None` for a Unix socket.
    pub client: Option<SocketAddr>,
    /// The address at the other end of the client's connection: the client's, unless a proxy
    /// announced the client. `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The name of the server that a TLS client asked for, if the listener has routes or ends TLS.
    pub server_name: Option<Box<str>>,
    /// The client's TLS, if the listener ended it.
    pub tls: Option<Box<TlsSummary>>,
    /// The backend's TLS, if connections to it are encrypted.
    pub backend_tls: Option<Box<TlsSummary>>,
    /// The backend that served it, or was tried last.
    pub backend: Option<Arc<Backend>>,
    /// Whether it had a place at that backend until its end: not if the backend had failed.
    pub had_place: bool,
    /// The local address of the connection to the backend.
    pub source: Option<SocketAddr>,
    /// Why it ended.
    pub reason: CloseReason,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// From accepting to being connected to the backend.
    pub connect: Option<Duration>,
    /// From being connected to the backend's first byte. Of a UDP flow, `connect` has it.
    pub first_byte: Option<Duration>,
    /// What the kernel knows of the path to the client, or to the proxy in front of it.
    pub client_path: Option<TcpPath>,
    /// What the kernel knows of the path to the backend.
    pub backend_path: Option<TcpPath>,
    /// From accepting to the end.
    pub duration: Duration,
}

/// The number of the first session that the kernel forwards, more than any worker will come to.
pub const FORWARDED: u64 = 1 << 48;

impl Ended {
    /// Whether the kernel forwarded it.
    #[must_use]
    pub const fn was_forwarded(&self) -> bool {
        self.session >= FORWARDED
    }

    /// What was wrong with TLS, on either side, if anything was.
    #[must_use]
    pub fn tls_failure(&self) -> Option<&str> {
        let mut sides = [&self.tls, &self.backend_tls].into_iter().flatten();
        sides.find_map(|tls| tls.failure.as_deref())
    }

    /// Whether something went wrong, from somebody's point of view. A UDP flow ends by being idle.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        let is_flow = self.client.is_some() && self.client_path.is_none();
        !(self.reason.is_orderly() || is_flow && self.reason == CloseReason::IdleTimeout)
    }
}

/// What became of TLS with a client or a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSummary {
    /// The version, such as `1.3`, and the cipher suite, once they had been agreed upon.
    pub agreed: Option<(&'static str, &'static str)>,
    /// The name in the peer's certificate, if it has shown one.
    pub peer_name: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// How much of a piece of data [`Event::Request`] has at most.
pub const REQUEST_BYTES_MAX: usize = 1024;

/// Why a connection to a backend cannot have the client's address.
#[derive(Debug)]
pub enum SourceFault {
    /// The client came through a Unix socket and has none.
    NoAddress,
    /// The client's address is of another family than the backend's.
    Family,
    /// The system refused; without `CAP_NET_RAW` and `CAP_NET_ADMIN` it does (ip(7)).
    Refused(io::Error),
}

impl SourceFault {
    pub(crate) const fn bit(&self) -> u8 {
        match self {
            Self::NoAddress => 1,
            Self::Family => 2,
            Self::Refused(_) => 4,
        }
    }
}

impl std::fmt::Display for SourceFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAddress => f.write_str("clients of Unix sockets have no address"),
            Self::Family => f.write_str("client and backend are of different address families"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// What the process is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// File descriptors or memory: accepting pauses, and sessions that need a socket wait.
    Descriptors,
    /// Local ports for connections to some backend: only sessions for that backend wait.
    Ports,
    /// UDP flows: the ones that have been idle for longest make room for others.
    Flows,
}

/// A step of choosing and connecting.
#[derive(Debug)]
pub enum Trace {
    /// A client was accepted.
    Accepted {
        /// Who.
        client: Option<SocketAddr>,
    },
    /// A connect begins.
    Trying {
        /// The tier's number.
        tier: usize,
        /// The place in it.
        index: usize,
        /// Backends in the tier.
        of: usize,
        /// The client's hash, where the tier's policy uses it.
        hash: Option<u32>,
    },
    /// It succeeded.
    Connected {
        /// The place in the tier.
        index: usize,
    },
    /// It failed.
    Failed {
        /// The tier's number.
        tier: usize,
        /// The place in it.
        index: usize,
        /// Whether nothing was heard in time.
        timed_out: bool,
    },
}

/// One open session, for a list.
#[derive(Debug)]
pub struct SessionInfo {
    /// Its number.
    pub session: u64,
    /// The worker that has it; `None` if the kernel forwards it.
    pub worker: Option<usize>,
    /// The listener that accepted it.
    pub listener: ListenerId,
    /// The client's address; `None` for a Unix socket.
    pub client: Option<SocketAddr>,
    /// The address at the other end of the client's connection: the client's, unless a proxy
    /// announced the client. `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The name of the server that a TLS client asked for, if the listener has routes or ends TLS.
    pub server_name: Option<Box<str>>,
    /// The version of the client's TLS, if that ends here.
    pub tls: Option<&'static str>,
    /// The protocol that was agreed upon with the client (ALPN).
    pub protocol: Option<Box<[u8]>>,
    /// The backend that serves it, or is being connected to.
    pub backend: Option<Arc<Backend>>,
    /// The backend's address that it is connected to; `None` while it connects to none, and for a
    /// Unix socket.
    pub backend_address: Option<SocketAddr>,
    /// Our own address of that connection; `None` as long as `backend_address` is.
    pub source: Option<SocketAddr>,
    /// How far it is.
    pub phase: Phase,
    /// Tier and place of the backend in the pool it was chosen from; known until its first byte
    /// has passed.
    pub place: Option<(usize, usize)>,
    /// The number of the client's descriptor.
    pub downstream_fd: i32,
    /// The number of the backend's descriptor.
    pub upstream_fd: Option<i32>,
    /// Whether the client has ended its side.
    pub client_ended: bool,
    /// Whether the backend has ended its side.
    pub backend_ended: bool,
    /// Bytes from the client that the backend has not taken yet.
    pub held_sent_bytes: usize,
    /// Bytes from the backend that the client has not taken yet.
    pub held_received_bytes: usize,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// From accepting to being connected to the backend.
    pub connect: Option<Duration>,
    /// From being connected to the backend's first byte.
    pub first_byte: Option<Duration>,
    /// What the kernel knows of the path to the client, or to the proxy in front of it.
    pub client_path: Option<TcpPath>,
    /// What the kernel knows of the path to the backend.
    pub backend_path: Option<TcpPath>,
    /// Its rank in the list that was asked for: the highest comes first.
    pub rank: u128,
    /// Since it was accepted.
    pub age: Duration,
    /// Since data last passed.
    pub idle: Duration,
}
