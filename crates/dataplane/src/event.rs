//! What workers tell the control plane.

use balancing::{Backend, BackendChange};
use relay::{CloseReason, Side};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened. `service` is the place in the list of services.
#[derive(Debug)]
pub enum Event {
    /// A session ended.
    Ended(Ended),
    /// A backend's health or admin state changed by itself.
    Backend {
        /// Whose pool it is in.
        service: usize,
        /// Which.
        backend: Arc<Backend>,
        /// Tier and place in it.
        place: (usize, usize),
        /// How.
        change: BackendChange,
        /// Why, if a connect failed: `connection refused`.
        error: Option<io::Error>,
    },
    /// All addresses of a backend failed: its name may stand for others by now.
    ConnectFailed(Arc<Backend>),
    /// We ran short of something; told once until it is over.
    Trouble(Trouble),
    /// The shortage is over.
    TroubleOver,
    /// A step of a session, where [`crate::Observe::steps`] asks for it.
    Trace(Trace),
    /// A block read, where [`crate::Observe::blocks`] asks for it.
    Block {
        /// Who sent it.
        from: Side,
        /// The bytes; `None` for a reset, empty for an end of file.
        bytes: Option<Vec<u8>>,
    },
}

/// A session that ended.
#[derive(Debug)]
pub struct Ended {
    /// Its number, unique in the process.
    pub session: u64,
    /// Where it came in.
    pub service: usize,
    /// Who connected; `None` through a Unix socket.
    pub client: Option<SocketAddr>,
    /// Who served it.
    pub backend: Option<Arc<Backend>>,
    /// Our address towards the backend.
    pub source: Option<SocketAddr>,
    /// Why it ended.
    pub reason: CloseReason,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// From accepting to being connected to the backend.
    pub connect: Option<Duration>,
    /// From accepting to the end.
    pub duration: Duration,
}

/// What we ran short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Descriptors or memory for another client: accepting pauses.
    Accept,
    /// A descriptor, memory or a port for a connection to a backend: sessions wait.
    Connect,
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
    /// Which worker has it.
    pub worker: usize,
    /// Where it came in.
    pub service: usize,
    /// Who connected.
    pub client: Option<SocketAddr>,
    /// Who serves it, or is being connected to.
    pub backend: Option<Arc<Backend>>,
    /// `connecting`, `open` or `ending`.
    pub phase: &'static str,
    /// Bytes from the client to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to the client.
    pub received_bytes: u64,
    /// Since it was accepted.
    pub age: Duration,
}
