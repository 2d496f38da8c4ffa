//! Sessions on their way to another process: what they are between two workers.
//!
//! A [`Moving`] session neither reads nor writes. Whoever has it either lets it go, because another
//! process continues it, or has a worker continue it: the same one or another, here or there.

use crate::announced::Announced;
use crate::listener::Listener;
use balancing::{Affinity, Lease};
use relay::{FlowCounts, Forwarded, Link, LinkState, Ready};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use sys::clock;
use terms::{Instant, Side, SpliceMode};

/// A session that has been taken out of its worker.
pub struct Moving {
    /// What is known about it.
    pub state: SessionState,
    /// The client's connection, and the backend's.
    pub sockets: [OwnedFd; 2],
    /// The bytes that are held back, by the side that they come from.
    pub residues: [Vec<u8>; 2],
    /// Its listener, which counts it.
    pub listener: Arc<Listener>,
    /// Its place at its backend.
    pub lease: Lease,
    /// The table in which its client is known, if it is not that of the listener's pool.
    pub affinity: Option<Arc<Affinity>>,
}

impl Moving {
    /// A session that nobody has begun: both connections are there, and nothing has passed.
    #[must_use]
    pub fn for_trial(sockets: [OwnedFd; 2], listener: Arc<Listener>, lease: Lease) -> Self {
        let now = clock::now();
        let link = Link::new(Ready::default(), Ready::default(), SpliceMode::default(), now);
        let state = SessionState {
            number: 0,
            client: None,
            announced: None,
            server_name: None,
            link: link.state(),
            forwarded: None,
            upstream_writes: 0,
            kept_alive: false,
            end_reported: false,
            started: now.as_nanos(),
            connect_micros: 0,
            first_byte_micros: None,
        };
        Self { state, sockets, residues: Default::default(), listener, lease, affinity: None }
    }
}

/// What another process needs to know about a session, apart from its connections, listener and
/// backend, and from the bytes that are held back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionState {
    /// Its number.
    pub number: u64,
    pub(crate) client: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) announced: Option<Announced>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) link: LinkState,
    /// How far the client's HTTP requests were understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forwarded: Option<Box<Forwarded>>,
    pub(crate) upstream_writes: u8,
    pub(crate) kept_alive: bool,
    pub(crate) end_reported: bool,
    pub(crate) started: u64,
    pub(crate) connect_micros: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte_micros: Option<u32>,
}

/// A UDP flow that has been taken out of its worker. What its client sends waits in the queue of the
/// socket that it writes to; what its backend sends, in that of the socket towards it.
pub struct MovingFlow {
    /// What is known about it.
    pub state: FlowState,
    /// Its backend, and the socket towards it, unless none has been found yet.
    pub upstream: Option<(Lease, OwnedFd)>,
    /// The client's datagrams that another backend would get, until one answers.
    pub kept: Vec<Box<[u8]>>,
    /// Its listener, which counts it.
    pub listener: Arc<Listener>,
    /// The worker that has given it up, in this process.
    pub worker: Option<usize>,
}

/// What another process needs to know about a flow, apart from its listener and its backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowState {
    /// Its number.
    pub number: u64,
    /// Which socket its client writes to; see [`sys::datagram::cookie`].
    pub(crate) door: u64,
    pub(crate) client: SocketAddr,
    /// What a proxy said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) announced: Option<Announced>,
    /// The PROXY header that each datagram to the backend begins with.
    #[serde(default, skip_serializing_if = "<[u8]>::is_empty")]
    pub(crate) header: Box<[u8]>,
    /// Our address that the client writes to, where the socket has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<IpAddr>,
    /// Whether the client's next datagram belongs to it.
    pub(crate) is_bound: bool,
    /// Whether the datagrams are kept for another backend.
    pub(crate) is_trying: bool,
    pub(crate) counts: FlowCounts,
    pub(crate) connect_micros: u32,
    /// Whether the client has shown by an id that it sees answers; see [`relay::FlowIds`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_acquainted: bool,
}

/// The flows that one worker has given up.
pub struct FreezingFlows {
    /// The flows.
    pub flows: Vec<MovingFlow>,
    /// Where to go on, if this was not the end.
    pub next_key: Option<usize>,
}

/// The sessions that one worker has given up.
pub struct Freezing {
    /// The sessions.
    pub sessions: Vec<Moving>,
    /// Where to go on, if this was not the end.
    pub next_key: Option<usize>,
    /// Those that were passed over.
    pub staying: Staying,
}

/// Sessions that cannot move now, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staying {
    /// One of their connections speaks TLS, whose keys cannot move.
    pub tls: usize,
    /// UDP flows.
    pub flows: usize,
    /// They have no backend yet, or may get another one, or end within seconds.
    pub unsettled: usize,
}

impl Staying {
    /// The number of all.
    #[must_use]
    pub fn all(&self) -> usize {
        self.tls + self.flows + self.unsettled
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tls: self.tls + other.tls,
            flows: self.flows + other.flows,
            unsettled: self.unsettled + other.unsettled,
        }
    }
}

/// How much is taken out of a worker at a time.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// The maximum number of sessions.
    pub sessions: usize,
    /// No further session is taken when those so far hold back so many bytes.
    pub bytes: usize,
    /// Which are taken; the others are passed over.
    pub selection: Selection,
}

/// Which sessions are taken out of a worker, of those that can move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those that have been silent for a second and hold nothing back: nobody notices that they wait.
    #[default]
    Silent,
    /// Those that hold back little, and are quickly sent.
    Light,
    /// All.
    All,
}

impl Selection {
    /// Whether this session belongs to it.
    pub(crate) fn has(self, link: &Link, now: Instant) -> bool {
        let held = link.held(Side::Downstream) + link.held(Side::Upstream);
        match self {
            Self::Silent => held == 0 && now.since(link.last_activity()) >= SILENT_AFTER,
            Self::Light => held <= LIGHT_BYTES,
            Self::All => true,
        }
    }
}

const SILENT_AFTER: Duration = Duration::from_secs(1);
const LIGHT_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_sessions_go_before_those_that_hold_back_much() {
        let begun = Instant::from_millis(1000);
        let new = || Link::new(Ready::default(), Ready::default(), SpliceMode::default(), begun);
        let of = |link: &Link, now: Instant| {
            let all = [Selection::Silent, Selection::Light, Selection::All];
            all.map(|selection| selection.has(link, now))
        };
        let [soon, later] = [500, 1000].map(|ms| begun + Duration::from_millis(ms));
        assert_eq!(of(&new(), soon), [false, true, true], "it was active half a second ago");
        assert_eq!(of(&new(), later), [true, true, true]);
        let holding = |count: usize| {
            let mut link = new();
            link.on_unwritten(Side::Upstream, &vec![b'x'; count]);
            link
        };
        assert_eq!(of(&holding(LIGHT_BYTES), later), [false, true, true]);
        assert_eq!(of(&holding(LIGHT_BYTES + 1), later), [false, false, true]);
    }
}
