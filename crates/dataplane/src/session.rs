//! One session: what it holds in each state of its life.

use crate::addresses::Addresses;
use crate::announced::Announced;
use crate::event::SessionInfo;
use crate::listener::Listener;
use crate::listing::Figures;
use crate::moving::{Moving, SessionState};
use crate::pipes::Pipes;
use crate::response::Response;
use crate::searches::{SearchKey, Searches};
use crate::secure::Secure;
use crate::tap::SessionTap;
use crate::token::Token;
use balancing::{Affinity, Lease, Pool};
use relay::{Asking, Forwarded, Incarnation, Link, Upgrade};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use sys::epoll::Poller;
use sys::net::{self, TcpPath};
use sys::pipe::Pipe;
use terms::{CloseReason, Cut, Instant, Phase, Side, Starttls};

/// A session's whole state: a plain value that could move to another worker between turns.
pub(crate) struct Session {
    pub number: u64,
    pub state: State,
    /// Whether it is in the list of sessions that asked for another turn.
    pub queued: bool,
    pub end_reported: bool,
    pub marks: Marks,
    /// Whether the client's connection is a Unix socket.
    pub is_unix: bool,
    pub listener: Arc<Listener>,
    pub addresses: Addresses,
    pub downstream: OwnedFd,
    pub link: Link,
    pub extras: Option<Box<Extras>>,
    pub started: Instant,
    /// From accepting to being connected, in microseconds.
    pub connect_micros: u32,
    /// From being connected to the backend's first byte, in microseconds.
    pub first_byte_micros: u32,
    pub response: Response,
}

/// Facts about a session, a bit for each, since a byte more would cost eight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks(u8);

impl Marks {
    /// Keep-alive has been switched on.
    const KEPT_ALIVE: u8 = 1;
    /// It counts as one of its client's sessions.
    pub const COUNTED: u8 = 2;

    pub const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    pub fn set(&mut self, mark: u8, is_set: bool) {
        self.0 = if is_set { self.0 | mark } else { self.0 & !mark };
    }
}

/// The states of a session's life, with what it holds in each.
///
/// ~~~text
///      .--> Announcing: a proxy is to say who the client is
///      |        v
///      |--> Routing: a TLS client is to say which pool it wants
///      |        v
///      |--> Handshaking: TLS with the client
///      |        v
///   accepted --> Seeking --offer--> Waiting --socket--> Connecting --answer--> Relaying --> gone
///      |            ^                 ^ |                    |                   | |
///      |            '- backend failed-|-'      next address, |                   | reset, and all
///      v                              '------ no socket yet -' <-- reset before -' of it written
///   Answering --> gone                                             the first byte  v
///                                                                              Resetting --> gone
/// ~~~
#[derive(Debug)]
pub(crate) enum State {
    /// The peer is a proxy, and has yet to say who the client is.
    Announcing,
    /// The client has yet to say by its ClientHello which pool is to serve it.
    Routing(Greeting),
    /// TLS with the client is being negotiated.
    Handshaking { pool: Arc<Pool> },
    /// A backend is to be chosen.
    Seeking { search: SearchKey },
    /// A backend was chosen; the session waits for a socket, or for its turn, to connect to it.
    Waiting { search: SearchKey, lease: Lease },
    /// A connect is in progress.
    Connecting { search: SearchKey, lease: Lease, upstream: Upstream },
    /// Bytes flow. The search is kept until the first byte; after it, no other backend can take over.
    Relaying { search: Option<SearchKey>, lease: Lease, upstream: Upstream },
    /// The client is answered here, without a backend.
    Answering { answered: bool },
    /// `victim` is reset as soon as it has acknowledged everything that was written to it.
    Resetting { victim: Side, reason: CloseReason, lease: Lease, upstream: Option<Upstream> },
    /// Only inside [`Session::change`].
    Changing,
}

/// How far a client has come with its ClientHello.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// Since when the session has waited for it.
    pub since: Instant,
    /// What the client has asked for so far.
    pub upgrade: Upgrade,
    /// The low-water mark of the client's socket, if it was set.
    pub low_water: u32,
}

impl Greeting {
    /// Of a client that is yet to send its first byte.
    pub fn new(protocol: Option<Starttls>, now: Instant) -> Self {
        Self { since: now, upgrade: Upgrade::new(protocol), low_water: 0 }
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub socket: OwnedFd,
    /// Distinguishes it from the session's earlier connections.
    pub incarnation: Incarnation,
    /// Writes so far, counted up to two: the second one switches on `TCP_NODELAY`.
    pub writes: u8,
    /// Whether it has been introduced to the session: given a header, and what [`Routed`] asks.
    pub is_introduced: bool,
    pub is_unix: bool,
}

/// What only few sessions have.
#[derive(Default)]
pub(crate) struct Extras {
    /// Pipes for bulk data, by the side that the bytes come from.
    pub pipes: [Option<Pipe>; 2],
    /// What finds the client's HTTP requests, where they are given headers.
    pub forwarded: Option<Box<Forwarded>>,
    /// What a proxy said about the session.
    pub announced: Option<Box<Announced>>,
    /// What a TLS client has asked for.
    pub routed: Option<Box<Routed>>,
    /// The TLS of the client's and of the backend's connection, if there is any.
    pub tls: Option<Box<Secures>>,
    /// Who watches what passes.
    pub tap: Option<Box<SessionTap>>,
}

/// What a TLS client has asked for, and what came of it.
pub(crate) struct Routed {
    /// The name of the server.
    pub server_name: Option<Box<str>>,
    /// The affinity table of the pool that serves the client.
    pub affinity: Option<Arc<Affinity>>,
    /// The protocol in which it asked for TLS.
    pub asked: Option<Starttls>,
    /// What the backend is still to do to be where the client is.
    pub asking: Option<Asking>,
}

/// The TLS of a session's connections, by side.
pub(crate) type Secures = [Option<Secure>; 2];

/// What a session needs next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until an event comes.
    Event,
    /// Its timer set to this moment, whatever it was set to.
    At(Instant),
    /// Its timer to fire by this moment. One that fires earlier stays as it is, and is set again
    /// then.
    By(Instant),
    /// Another turn, after others have had theirs.
    Turn,
    /// Another turn, and its timer set to this moment.
    TurnAt(Instant),
    /// To end. The [`Cut`] is what peers see that have not ended by themselves.
    End(CloseReason, Option<Cut>),
}

/// An idle session costs this, two descriptors and a timer's place, and nothing else.
const _: () = assert!(size_of::<Session>() <= 184);

impl Session {
    /// A session just begun.
    pub fn new(
        number: u64,
        state: State,
        listener: Arc<Listener>,
        (socket, peer): (OwnedFd, Option<SocketAddr>),
        now: Instant,
    ) -> Self {
        let settings = listener.settings();
        let extras = settings
            .forwarded_headers
            .then(|| Box::new(Extras::rewriting(peer, settings.tls.is_some())));
        let link = Link::new(Default::default(), Default::default(), settings.splice, now);
        Self {
            number,
            state,
            queued: false,
            end_reported: false,
            marks: Marks::default(),
            is_unix: peer.is_none(),
            listener,
            addresses: Addresses::new(peer),
            downstream: socket,
            link,
            extras,
            started: now,
            connect_micros: NOT_YET,
            first_byte_micros: NOT_YET,
            response: Response::NONE,
        }
    }

    /// Replaces the state by what `next` makes of it.
    pub fn change(&mut self, next: impl FnOnce(State) -> State) {
        let state = std::mem::replace(&mut self.state, State::Changing);
        self.state = next(state);
    }

    pub fn client(&self) -> Option<SocketAddr> {
        self.addresses.client()
    }

    /// The address at the other end of the client's connection: the client's, unless a proxy
    /// announced the client.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self.announced() {
            Some(announced) => announced.peer,
            None => self.client(),
        }
    }

    pub fn announced(&self) -> Option<&Announced> {
        self.extras.as_ref()?.announced.as_deref()
    }

    /// The name of the server that a TLS client has asked for, where there are routes or TLS ends
    /// here.
    pub fn server_name(&self) -> Option<&str> {
        let routed = || self.extras.as_ref()?.routed.as_ref()?.server_name.as_deref();
        self.tls(Side::Downstream).and_then(|tls| tls.server_name.as_deref()).or_else(routed)
    }

    /// The TLS of one side.
    pub fn tls(&self, side: Side) -> Option<&Secure> {
        self.extras.as_ref()?.tls.as_ref()?[side as usize].as_ref()
    }

    /// Sets out what the backend has to do to be where the client is. If that has asked for TLS, it
    /// is asked likewise, unless TLS ends here and the backend is spoken to in plain text.
    pub fn begin_asking(&mut self) {
        let encrypts = self.lease().is_some_and(|it| it.backend().encryption.is_some());
        let wants_tls = encrypts || self.tls(Side::Downstream).is_none();
        if let Some(routed) = self.extras.as_mut().and_then(|extras| extras.routed.as_mut()) {
            routed.asking = routed.asked.and_then(|protocol| Asking::new(protocol, wants_tls));
        }
    }

    /// Whether the backend was asked for anything.
    pub fn was_asked(&self) -> bool {
        let routed = self.extras.as_ref().and_then(|extras| extras.routed.as_ref());
        routed.is_some_and(|routed| routed.asking.is_some())
    }

    /// The TLS of the connection to the backend.
    pub fn upstream_tls_mut(&mut self) -> Option<&mut Secure> {
        self.extras.as_mut()?.tls.as_mut()?[Side::Upstream as usize].as_mut()
    }

    /// Forgets the TLS of a connection to a backend, which has ended.
    pub fn drop_upstream_tls(&mut self) {
        if let Some(extras) = &mut self.extras
            && let Some(tls) = &mut extras.tls
        {
            tls[Side::Upstream as usize] = None;
            if tls.iter().all(Option::is_none) {
                extras.tls = None;
            }
        }
    }

    /// Makes it the session of a client that a proxy announced.
    pub fn announce(&mut self, client: Option<SocketAddr>, announced: Announced) {
        self.addresses = Addresses::new(client);
        let is_tls = self.listener.settings().tls.is_some();
        let extras = self.extras.get_or_insert_default();
        extras.announced = Some(Box::new(announced));
        if extras.forwarded.is_some() {
            extras.forwarded = Some(forwarded(client, is_tls));
        }
    }

    pub fn downstream(&self) -> BorrowedFd<'_> {
        self.downstream.as_fd()
    }

    pub fn upstream(&self) -> Option<&Upstream> {
        match &self.state {
            State::Connecting { upstream, .. } | State::Relaying { upstream, .. } => Some(upstream),
            State::Resetting { upstream, .. } => upstream.as_ref(),
            State::Seeking { .. } | State::Waiting { .. } => None,
            State::Announcing | State::Routing(_) | State::Handshaking { .. } => None,
            State::Answering { .. } | State::Changing => None,
        }
    }

    /// The local address of the connection to the backend; `None` for a Unix socket.
    pub fn source(&self) -> Option<SocketAddr> {
        let upstream = self.upstream()?;
        self.addresses.source().or_else(|| net::local_address(upstream.socket.as_fd()))
    }

    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Waiting { lease, .. }
            | State::Connecting { lease, .. }
            | State::Relaying { lease, .. }
            | State::Resetting { lease, .. } => Some(lease),
            State::Announcing
            | State::Routing(_)
            | State::Handshaking { .. }
            | State::Seeking { .. } => None,
            State::Answering { .. } | State::Changing => None,
        }
    }

    pub fn search(&self) -> Option<&SearchKey> {
        match &self.state {
            State::Seeking { search }
            | State::Waiting { search, .. }
            | State::Connecting { search, .. } => Some(search),
            State::Relaying { search, .. } => search.as_ref(),
            State::Announcing
            | State::Routing(_)
            | State::Handshaking { .. }
            | State::Answering { .. } => None,
            State::Resetting { .. } | State::Changing => None,
        }
    }

    /// The client's connection, and the backend's if there is one.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let upstream = self.upstream().map(|upstream| upstream.socket.as_fd());
        [Some(self.downstream()), upstream].into_iter().flatten()
    }

    /// Has only the end of a connection reported, or everything again, as the link wants it.
    pub fn mute_or_unmute(&mut self, key: usize, poller: &Poller) {
        for side in [Side::Downstream, Side::Upstream] {
            let is_to_be = self.link.is_to_be_muted(side);
            if is_to_be != self.link.is_muted(side) {
                self.mute(key, side, is_to_be, poller);
            }
        }
    }

    fn mute(&mut self, key: usize, side: Side, is_muted: bool, poller: &Poller) {
        let watched = match (side, self.upstream()) {
            (Side::Downstream, _) => Some((self.downstream(), Token::downstream(key, self.number))),
            (Side::Upstream, Some(upstream)) => {
                let token = Token::upstream(key, self.number, upstream.incarnation);
                Some((upstream.socket.as_fd(), token))
            }
            (Side::Upstream, None) => None,
        };
        if let Some((socket, token)) = watched
            && poller.watch_end_only(socket, token.to_number(), is_muted).is_ok()
        {
            self.link.set_muted(side, is_muted);
        }
    }

    /// Switches keep-alive on for both connections, once.
    pub fn keep_alive(&mut self) {
        if !self.marks.has(Marks::KEPT_ALIVE) {
            self.marks.set(Marks::KEPT_ALIVE, true);
            let when = self.listener.settings().timeouts.keep_alive;
            self.sockets().for_each(|socket| net::keep_alive(socket, when));
        }
    }

    /// Moves what is in its pipes to memory, and gives them back.
    pub fn empty_pipes(&mut self, pipes: &mut Pipes) {
        for from in [Side::Downstream, Side::Upstream] {
            let count = self.link.in_pipe(from);
            let pipe = self.extras.as_ref().and_then(|extras| extras.pipes[from as usize].as_ref());
            if let Some(pipe) = pipe.filter(|_| count > 0) {
                let bytes = pipe.take(count);
                self.link.on_pipe_emptied(from, &bytes);
            }
        }
        self.give_back_pipes(pipes);
    }

    /// What is left of a session that relays without TLS while it moves, and its search, which is
    /// over; `None` if it does anything else.
    pub fn into_moving(self) -> Option<(Moving, Option<SearchKey>)> {
        let client = self.client();
        let State::Relaying { search, lease, upstream } = self.state else { return None };
        let Extras { forwarded, announced, routed, .. } =
            self.extras.map_or_else(Extras::default, |it| *it);
        let announced = announced.map(|it| *it);
        let (server_name, affinity) =
            routed.map_or((None, None), |it| (it.server_name, it.affinity));
        let residues = [Side::Downstream, Side::Upstream];
        let moving = Moving {
            residues: residues.map(|side| self.link.residue(side).to_vec()),
            state: SessionState {
                number: self.number,
                client,
                announced,
                server_name,
                link: self.link.state(),
                forwarded,
                upstream_writes: upstream.writes,
                kept_alive: self.marks.has(Marks::KEPT_ALIVE),
                end_reported: self.end_reported,
                started: self.started.as_nanos(),
                connect_micros: self.connect_micros,
                first_byte_micros: Some(self.first_byte_micros).filter(|it| *it != NOT_YET),
            },
            sockets: [self.downstream, upstream.socket],
            listener: self.listener,
            lease,
            affinity,
        };
        Some((moving, search))
    }

    /// The session that a moving one becomes.
    pub fn resume(moving: Moving) -> Self {
        let Moving { state, sockets: [downstream, socket], residues, listener, lease, affinity } =
            moving;
        let residues = residues.each_ref().map(Vec::as_slice);
        let link = Link::resume(&state.link, residues, listener.settings().splice);
        let is_unix = |socket: &OwnedFd| net::local_address(socket.as_fd()).is_none();
        let upstream = Upstream {
            is_unix: is_unix(&socket),
            socket,
            incarnation: Incarnation::default(),
            writes: state.upstream_writes,
            is_introduced: true,
        };
        let announced = state.announced.map(Box::new);
        let server_name = state.server_name;
        let routed = (server_name.is_some() || affinity.is_some())
            .then(|| Box::new(Routed { server_name, affinity, asked: None, asking: None }));
        let has_extras = state.forwarded.is_some() || announced.is_some() || routed.is_some();
        let extras = Extras { forwarded: state.forwarded, announced, routed, ..Extras::default() };
        Self {
            number: state.number,
            state: State::Relaying { search: None, lease, upstream },
            queued: false,
            end_reported: state.end_reported,
            marks: Marks(if state.kept_alive { Marks::KEPT_ALIVE } else { 0 }),
            is_unix: is_unix(&downstream),
            listener,
            addresses: Addresses::new(state.client),
            downstream,
            link,
            extras: has_extras.then(|| Box::new(extras)),
            started: Instant::from_nanos(state.started),
            connect_micros: state.connect_micros,
            first_byte_micros: state.first_byte_micros.unwrap_or(NOT_YET),
            response: Response::NONE,
        }
    }

    /// Returns empty pipes to the pool: an idle session holds none.
    pub fn give_back_pipes(&mut self, pipes: &mut Pipes) {
        let Some(extras) = &mut self.extras else { return };
        for from in [Side::Downstream, Side::Upstream] {
            if self.link.in_pipe(from) == 0
                && let Some(pipe) = extras.pipes[from as usize].take()
            {
                pipes.give_back(pipe);
            }
        }
        if extras.forwarded.is_none()
            && extras.announced.is_none()
            && extras.routed.is_none()
            && extras.tls.is_none()
            && extras.tap.is_none()
            && extras.pipes.iter().all(Option::is_none)
        {
            self.extras = None;
        }
    }

    /// Closes its sockets and returns the backend's place. The search is left to be finished.
    pub fn close(self) -> Option<SearchKey> {
        match self.state {
            State::Seeking { search }
            | State::Waiting { search, .. }
            | State::Connecting { search, .. } => Some(search),
            State::Relaying { search, .. } => search,
            State::Announcing
            | State::Routing(_)
            | State::Handshaking { .. }
            | State::Answering { .. } => None,
            State::Resetting { .. } | State::Changing => None,
        }
    }

    /// What the kernel knows of the path to a peer.
    pub fn path(&self, side: Side) -> Option<TcpPath> {
        match (side, self.upstream()) {
            (Side::Downstream, _) if !self.is_unix => net::tcp_path(self.downstream()),
            (Side::Upstream, Some(it)) if !it.is_unix => net::tcp_path(it.socket.as_fd()),
            _ => None,
        }
    }

    /// Counts what has passed since there were `before` bytes.
    #[inline]
    pub fn count_passed(&mut self, before: (u64, u64), worker: usize, now: Instant) {
        let (sent, received) = self.link.bytes();
        if (sent, received) == before {
            return;
        }
        self.listener.ledger(worker).count_passed(sent - before.0, received - before.1);
        if before.1 == 0 && received > 0 {
            let took = now.since(self.started).as_micros();
            let took = took.saturating_sub(self.connect_micros.into());
            self.first_byte_micros = u32::try_from(took).unwrap_or(NOT_YET - 1);
            if let (Some(lease), Some(took)) = (self.lease(), micros(self.first_byte_micros)) {
                lease.backend().state.tally(worker).count_first_byte(took);
            }
        }
    }

    /// Looks at what has passed since there were `before` bytes, while an answer is awaited.
    pub fn note_response(&mut self, before: (u64, u64), worker: usize, now: Instant) {
        let age = now.since(self.started);
        match (self.link.bytes(), self.lease()) {
            ((_, 1..), Some(lease)) => {
                let (state, waited) = (&lease.backend().state, self.response.waited(age));
                state.latency().observe(waited, now);
                state.tally(worker).count_answer(waited);
                self.response = Response::NONE;
            }
            ((1.., 0), _) if before.0 == 0 => {
                self.response.on_request(age, Duration::from_micros(self.connect_micros.into()));
            }
            _ => {}
        }
    }

    /// How to end a session for a reason that neither peer gave.
    pub fn cut(&self, reason: CloseReason) -> Next {
        Next::End(reason, Some(self.listener.settings().cut))
    }

    /// Whether it relays, and all of its bytes have arrived. Asks the kernel.
    pub fn is_at_rest(&self) -> bool {
        let has_more =
            |side| self.link.held(side) > 0 || self.tls(side).is_some_and(Secure::has_unsent);
        matches!(self.state, State::Relaying { .. })
            && ![Side::Downstream, Side::Upstream].into_iter().any(has_more)
            && self.sockets().all(|socket| net::unacknowledged(socket) == 0)
    }

    /// What decides about its place in a list.
    pub fn figures(&self, now: Instant) -> Figures {
        let (sent, received) = self.link.bytes();
        Figures {
            backend: self.lease().map(|lease| lease.backend().id),
            client: self.client(),
            started: self.started,
            age: now.since(self.started),
            idle: now.since(self.link.last_activity()),
            bytes: sent + received,
        }
    }

    pub fn info(
        &self,
        rank: u128,
        worker: usize,
        searches: &mut Searches,
        now: Instant,
    ) -> SessionInfo {
        let (sent_bytes, received_bytes) = self.link.bytes();
        let upstream = self.upstream();
        let backend_address = upstream.and_then(|it| net::peer_address(it.socket.as_fd()));
        let source = self.source();
        let tls = self.tls(Side::Downstream).map(|it| &it.channel);
        SessionInfo {
            session: self.number,
            worker: Some(worker),
            listener: self.listener.id(),
            client: self.client(),
            peer: self.peer(),
            server_name: self.server_name().map(Into::into),
            tls: tls.and_then(|it| Some(it.agreed()?.0)),
            protocol: tls.and_then(|it| it.protocol().map(Into::into)),
            backend: self.lease().map(|lease| Arc::clone(lease.backend())),
            backend_address,
            source: backend_address.and(source),
            phase: match self.state {
                State::Announcing
                | State::Routing(_)
                | State::Handshaking { .. }
                | State::Seeking { .. }
                | State::Waiting { .. }
                | State::Connecting { .. } => Phase::Connecting,
                State::Relaying { .. } | State::Answering { answered: false } => Phase::Open,
                State::Resetting { .. } | State::Answering { answered: true } | State::Changing => {
                    Phase::Ending
                }
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
            connect: micros(self.connect_micros),
            first_byte: micros(self.first_byte_micros),
            client_path: self.path(Side::Downstream),
            backend_path: self.path(Side::Upstream),
            rank,
            age: now.since(self.started),
            idle: now.since(self.link.last_activity()),
        }
    }
}

/// Stands for a time that has not been taken yet, in microseconds.
pub(crate) const NOT_YET: u32 = u32::MAX;

/// A time in microseconds, if it has been taken.
pub(crate) fn micros(micros: u32) -> Option<Duration> {
    (micros != NOT_YET).then(|| Duration::from_micros(micros.into()))
}

impl Extras {
    /// For a session whose client's HTTP requests are given headers.
    fn rewriting(client: Option<SocketAddr>, is_tls: bool) -> Self {
        Self { forwarded: Some(forwarded(client, is_tls)), ..Self::default() }
    }
}

fn forwarded(client: Option<SocketAddr>, is_tls: bool) -> Box<Forwarded> {
    Box::new(Forwarded::new(client.map(|client| client.ip()), is_tls))
}
