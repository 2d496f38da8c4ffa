//! One session: what it holds in each state of its life.

use crate::event::SessionInfo;
use crate::listener::Listener;
use crate::pipes::Pipes;
use crate::searches::{SearchKey, Searches};
use balancing::Lease;
use relay::{Forwarded, Incarnation, Link};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use sys::net;
use sys::pipe::Pipe;
use terms::{CloseReason, Cut, Instant, Side};

/// A session's whole state: a plain value that could move to another worker between turns.
pub(crate) struct Session {
    pub number: u64,
    pub state: State,
    /// Whether it is in the list of sessions with more to do.
    pub queued: bool,
    pub end_reported: bool,
    /// Whether it has lasted long enough to ask its peers for signs of life.
    kept_alive: bool,
    pub listener: Arc<Listener>,
    /// Address and port: half as large as a `SocketAddr`.
    client: Option<(IpAddr, u16)>,
    pub downstream: OwnedFd,
    pub link: Link,
    pub extras: Option<Box<Extras>>,
    pub started: Instant,
    /// From accepting to being connected, in microseconds.
    pub connect_micros: u32,
}

/// Where a session stands, and what it holds there.
///
/// ~~~text
///   accepted --> Seeking --offer--> Waiting --socket--> Connecting --answer--> Relaying --> gone
///      |            ^                 ^ |                    |                   | |
///      |            '- backend failed-|-'      next address, |                   | reset, and all
///      v                              '------ no socket yet -' <-- reset before -' of it written
///   Answering --> gone                                             the first byte  v
///                                                                              Resetting --> gone
/// ~~~
#[derive(Debug)]
pub(crate) enum State {
    /// For a backend to be chosen.
    Seeking { search: SearchKey },
    /// For a socket, or its turn, to connect to the backend that was chosen.
    Waiting { search: SearchKey, lease: Lease },
    /// For the backend to answer.
    Connecting { search: SearchKey, lease: Lease, upstream: Upstream },
    /// Bytes flow. The search is kept until the first of them, after which it is too late.
    Relaying { search: Option<SearchKey>, lease: Lease, upstream: Upstream },
    /// We answer the client ourselves.
    Answering { answered: bool },
    /// Everything was written to `victim`, which is reset once it has acknowledged it.
    Resetting { victim: Side, reason: CloseReason, lease: Lease, upstream: Option<Upstream> },
    /// On the way from one state to the next; never between two calls.
    Changing,
}

/// A connection to a backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub socket: OwnedFd,
    /// What tells it from the session's earlier ones.
    pub incarnation: Incarnation,
    /// Writes so far, up to two: the second one asks for no delay.
    pub writes: u8,
    pub is_unix: bool,
}

/// What few sessions have.
#[derive(Default)]
pub(crate) struct Extras {
    /// Pipes that bulk passes through, by the side the bytes come from.
    pub pipes: [Option<Pipe>; 2],
    /// What finds the client's HTTP requests, where they are given headers.
    pub forwarded: Option<Box<Forwarded>>,
}

/// What a session needs after it was looked at.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing but an event.
    Event,
    /// To be looked at at this moment, and not when its timer said before.
    At(Instant),
    /// To be looked at by this moment; a timer that fires early is set again.
    By(Instant),
    /// Another turn at once, after others had theirs.
    Turn,
    /// The same, and to be looked at at this moment.
    TurnAt(Instant),
    /// To end; `cut` is what peers see that have not ended by themselves.
    End(CloseReason, Option<Cut>),
}

/// An idle session costs this, two descriptors and a timer's place, and nothing else.
const _: () = assert!(size_of::<Session>() <= 176);

impl Session {
    /// A session just begun.
    pub fn new(
        number: u64,
        state: State,
        listener: Arc<Listener>,
        (socket, client): (OwnedFd, Option<SocketAddr>),
        now: Instant,
    ) -> Self {
        let settings = listener.settings();
        let extras = settings.forwarded_headers.then(|| Box::new(Extras::rewriting(client)));
        let link = Link::new(Default::default(), Default::default(), settings.splice, now);
        Self {
            number,
            state,
            queued: false,
            end_reported: false,
            kept_alive: false,
            listener,
            client: client.map(|client| (client.ip(), client.port())),
            downstream: socket,
            link,
            extras,
            started: now,
            connect_micros: u32::MAX,
        }
    }

    /// Goes from one state to another.
    pub fn change(&mut self, next: impl FnOnce(State) -> State) {
        let state = std::mem::replace(&mut self.state, State::Changing);
        self.state = next(state);
    }

    pub fn client(&self) -> Option<SocketAddr> {
        self.client.map(SocketAddr::from)
    }

    pub fn client_address(&self) -> Option<IpAddr> {
        self.client.map(|(address, _)| address.to_canonical())
    }

    pub fn downstream(&self) -> BorrowedFd<'_> {
        self.downstream.as_fd()
    }

    pub fn upstream(&self) -> Option<&Upstream> {
        match &self.state {
            State::Connecting { upstream, .. } | State::Relaying { upstream, .. } => Some(upstream),
            State::Resetting { upstream, .. } => upstream.as_ref(),
            State::Seeking { .. } | State::Waiting { .. } => None,
            State::Answering { .. } | State::Changing => None,
        }
    }

    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Waiting { lease, .. }
            | State::Connecting { lease, .. }
            | State::Relaying { lease, .. }
            | State::Resetting { lease, .. } => Some(lease),
            State::Seeking { .. } | State::Answering { .. } | State::Changing => None,
        }
    }

    fn search(&self) -> Option<&SearchKey> {
        match &self.state {
            State::Seeking { search }
            | State::Waiting { search, .. }
            | State::Connecting { search, .. } => Some(search),
            State::Relaying { search, .. } => search.as_ref(),
            State::Answering { .. } | State::Resetting { .. } | State::Changing => None,
        }
    }

    /// Both connections, as far as they are there.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let upstream = self.upstream().map(|upstream| upstream.socket.as_fd());
        [Some(self.downstream()), upstream].into_iter().flatten()
    }

    /// Has peers of a session that lasts asked for signs of life, once.
    pub fn keep_alive(&mut self) {
        if !std::mem::replace(&mut self.kept_alive, true) {
            self.sockets().for_each(net::keep_alive);
        }
    }

    /// An idle session holds no pipe.
    pub fn give_back_pipes(&mut self, pipes: &mut Pipes) {
        let Some(extras) = &mut self.extras else { return };
        for from in [Side::Downstream, Side::Upstream] {
            if self.link.in_pipe(from) == 0
                && let Some(pipe) = extras.pipes[from as usize].take()
            {
                pipes.give_back(pipe);
            }
        }
        if extras.forwarded.is_none() && extras.pipes.iter().all(Option::is_none) {
            self.extras = None;
        }
    }

    /// Closes its sockets and gives the backend's place back; the search is left to be finished.
    pub fn close(self) -> Option<SearchKey> {
        match self.state {
            State::Seeking { search }
            | State::Waiting { search, .. }
            | State::Connecting { search, .. } => Some(search),
            State::Relaying { search, .. } => search,
            State::Answering { .. } | State::Resetting { .. } | State::Changing => None,
        }
    }

    /// Ends a session for a reason that neither peer gave.
    pub fn cut(&self, reason: CloseReason) -> Next {
        Next::End(reason, Some(self.listener.settings().cut))
    }

    pub fn info(&self, worker: usize, searches: &mut Searches, now: Instant) -> SessionInfo {
        let (sent_bytes, received_bytes) = self.link.bytes();
        let upstream = self.upstream();
        SessionInfo {
            session: self.number,
            worker,
            listener: self.listener.id(),
            client: self.client(),
            backend: self.lease().map(|lease| Arc::clone(lease.backend())),
            backend_address: upstream.and_then(|it| net::peer_address(it.socket.as_fd())),
            phase: match self.state {
                State::Seeking { .. } | State::Waiting { .. } | State::Connecting { .. } => {
                    "connecting"
                }
                State::Relaying { .. } | State::Answering { answered: false } => "open",
                State::Resetting { .. } | State::Answering { answered: true } => "ending",
                State::Changing => "ending",
            },
            place: self.search().and_then(|search| searches.get(search).place()),
            downstream_fd: self.downstream.as_raw_fd(),
            upstream_fd: upstream.map(|it| it.socket.as_raw_fd()),
            client_ended: self.link.has_ended(Side::Downstream),
            backend_ended: self.link.has_ended(Side::Upstream),
            held_sent_bytes: self.link.held(Side::Downstream),
            held_received_bytes: self.link.held(Side::Upstream),
            sent_bytes,
            received_bytes,
            age: now.since(self.started),
        }
    }
}

impl Extras {
    /// For a session whose client's HTTP requests are given headers.
    fn rewriting(client: Option<SocketAddr>) -> Self {
        let forwarded = Forwarded::new(client.map(|client| client.ip()));
        Self { forwarded: Some(Box::new(forwarded)), ..Self::default() }
    }
}
