//! A session's life: relaying and ending. Choosing and connecting are in `connect.rs`.
//!
//! ~~~text
//!                  .-- next backend --.
//!                  v                  |
//!   accepted --> Connecting --fails---'    Relaying --both ended--> gone
//!                  |   ^ \--answers------> |  ^
//!      no socket   v   | a socket          |  '-- reset before the first byte: Connecting
//!                 Waiting                  '--reset, all delivered--> Resetting --> gone
//! ~~~

use crate::connect::{Search, SearchKey};
use crate::event::{Ended, Event, SessionInfo, Trace};
use crate::listener::{Listener, Settings};
use crate::pipes::Pipes;
use crate::wire::{Rewriting, SocketWire, Watch};
use crate::worker::{BUDGET, Incoming, Worker, token};
use balancing::{Client, Lease};
use relay::{Forwarded, Link, Pumped, Ready, Verdict, pump};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use sys::Errno;
use sys::net;
use sys::pipe::Pipe;
use terms::{CloseReason, Cut, Instant, Side, Timeouts};

/// A session's whole state: a plain value that could move to another worker between turns.
pub(crate) struct Session {
    pub number: u64,
    pub phase: Phase,
    pub upstream_writes: u8,
    /// Whether it is in the worker's list of sessions with more to do.
    queued: bool,
    end_reported: bool,
    /// Whether it has lasted long enough to ask its peers for signs of life.
    kept_alive: bool,
    pub listener: Arc<Listener>,
    /// Address and port: half as large as a `SocketAddr`.
    client: Option<(IpAddr, u16)>,
    /// Which of the two connections are Unix sockets.
    pub is_unix: [bool; 2],
    downstream: OwnedFd,
    pub upstream: Option<OwnedFd>,
    pub link: Link,
    extras: Option<Box<Extras>>,
    pub lease: Option<Lease>,
    /// How to go on if the backend fails; dropped with the first byte, after which it is too late.
    pub search: Option<SearchKey>,
    pub started: Instant,
    /// From accepting to being connected, in microseconds.
    pub connect_micros: u32,
}

/// What few sessions have.
#[derive(Default)]
pub(crate) struct Extras {
    /// Pipes that bulk passes through, by the side the bytes come from.
    pub pipes: [Option<Pipe>; 2],
    /// What finds the client's HTTP requests, where they are given headers.
    pub forwarded: Option<Box<Forwarded>>,
}

/// An idle session costs this, two descriptors and a timer's place, and nothing else.
const _: () = assert!(size_of::<Session>() <= 176);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    /// For a socket to connect with.
    Waiting,
    Relaying,
    /// For the client, which is answered by ourselves.
    Dummy {
        answered: bool,
    },
    /// Everything was written to `victim`, which is reset once it has acknowledged it.
    Resetting {
        victim: Side,
        reason: CloseReason,
    },
}

/// First look at a send queue that is not empty, in milliseconds; each further one later.
const QUEUE_CHECK: Duration = Duration::from_millis(2);
/// Sessions that last longer have their peers asked for signs of life. Most do not, and are
/// spared the calls and the kernel's timers.
pub(crate) const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
/// Room for rewritten requests is kept up to so many bytes; a burst of tiny ones needs more.
const REWRITTEN_KEPT: usize = 64 << 10;
/// How long to wait before asking for a socket again.
pub(crate) const SOCKET_RETRY: Duration = Duration::from_millis(50);
/// How long to wait after the system had no memory for a read or a write.
const MEMORY_RETRY: Duration = Duration::from_millis(20);

impl Worker {
    /// Starts a session for a client just accepted.
    pub(crate) fn begin(&mut self, incoming: Incoming, now: Instant) {
        let Incoming { listener, socket, client, connecting } = incoming;
        let number = self.begun * self.shared.workers.len() as u64 + self.index as u64 + 1;
        self.begun += 1;
        let seed = self.shared.seed ^ number;
        let settings = listener.settings();
        let session = Session {
            number,
            phase: Phase::Connecting,
            upstream_writes: 0,
            queued: false,
            end_reported: false,
            kept_alive: false,
            client: client.map(|client| (client.ip(), client.port())),
            is_unix: [client.is_none(), false],
            downstream: socket,
            upstream: None,
            link: Link::new(Ready::default(), Ready::default(), settings.splice, now),
            extras: settings.forwarded_headers.then(|| Box::new(Extras::rewriting(client))),
            lease: None,
            search: None,
            started: now,
            connect_micros: u32::MAX,
            listener: Arc::clone(&listener),
        };
        let key = self.sessions.insert(session);
        if settings.observe.steps {
            self.tell(Event::Trace(Trace::Accepted { client }));
        }
        if settings.dummy {
            drop(connecting);
            self.begin_dummy(key, &settings, now);
            self.made_room(&listener);
        } else {
            let pool = Arc::clone(&listener.pool());
            let mut client = Client::new(client);
            client.country = client.address.and_then(|address| listener.country(&pool, address));
            let search = Search::new(pool, client, seed, connecting);
            self.sessions[key].search = Some(self.searches.begin(search));
            self.try_next(key, now);
        }
        // Last, so that the client's first bytes find the connect under way.
        if let Some(session) = self.sessions.get(key) {
            let token = token(key, Side::Downstream, session.number);
            if self.poller.add_stream(&session.downstream, token).is_err() {
                self.end(key, CloseReason::NoSocket, Some(Cut::Reset), now);
            }
        }
    }

    /// Takes in what an event told of one of a session's connections.
    pub(crate) fn handle_ready(
        &mut self,
        key: usize,
        side: Side,
        event: sys::epoll::Event,
        now: Instant,
    ) {
        let session = &mut self.sessions[key];
        let ready = Ready {
            readable: event.is_readable(),
            writable: event.is_writable(),
            hangup: event.is_hangup(),
            urgent: event.is_urgent(),
            failed: event.is_failed(),
        };
        match session.phase {
            Phase::Connecting if side == Side::Upstream => {
                let error = match &session.upstream {
                    Some(upstream) if ready.failed => net::take_error(upstream.as_fd()),
                    _ => None,
                };
                if ready.failed {
                    self.connect_failed(key, error.unwrap_or(Errno::CONNREFUSED), now);
                    return;
                }
                if !ready.writable {
                    return;
                }
                session.link.handle_ready(side, ready);
                self.connected(key, now);
            }
            Phase::Connecting | Phase::Waiting => {
                session.link.handle_ready(side, ready);
                if ready.failed {
                    self.end(key, CloseReason::ClientReset, Some(Cut::Reset), now);
                }
                return;
            }
            Phase::Relaying => session.link.handle_ready(side, ready),
            Phase::Dummy { .. } => {}
            Phase::Resetting { victim, reason } => {
                if side == victim && ready.failed {
                    self.end(key, reason, None, now);
                }
                return;
            }
        }
        self.go_on(key, now);
    }

    /// Moves what can be moved, and sees what the session has come to.
    pub(crate) fn go_on(&mut self, key: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.queued = false;
        if matches!(session.phase, Phase::Dummy { .. }) {
            self.serve_dummy(key, now);
            return;
        }
        let (Phase::Relaying, Some(upstream), Some(lease)) =
            (session.phase, &session.upstream, &session.lease)
        else {
            return;
        };
        let settings = session.listener.settings();
        let observe = settings.observe;
        let client = session.client();
        let mut forwarded = session.extras.as_mut().and_then(|extras| extras.forwarded.take());
        let mut wire = SocketWire {
            sockets: [session.downstream.as_fd(), upstream.as_fd()],
            is_unix: session.is_unix,
            buffer: &mut self.buffer,
            extras: &mut session.extras,
            pipes: &mut self.pipes,
            tally: lease.backend().state.tally(self.index),
            upstream_writes: &mut session.upstream_writes,
            passing: 0,
            rewriting: forwarded.as_deref_mut().map(|forwarded| Rewriting {
                forwarded,
                output: &mut self.rewritten,
                is_passing: false,
            }),
            watch: (observe.blocks || observe.requests).then(|| Watch {
                observe,
                client,
                backend: lease.backend(),
                end_reported: &mut session.end_reported,
                events: &mut self.outbox,
            }),
        };
        let pumped = pump(&mut session.link, &mut wire, BUDGET, now);
        if forwarded.is_some() {
            session.extras.get_or_insert_default().forwarded = forwarded;
            self.rewritten.clear();
            self.rewritten.shrink_to(REWRITTEN_KEPT);
        }
        match pumped {
            Pumped::Busy => self.queue(key),
            Pumped::Starved => self.deadlines.set_by(key, now + MEMORY_RETRY),
            Pumped::Idle => self.settle(key, &settings, now),
        }
    }

    pub(crate) fn queue(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        if !session.queued {
            session.queued = true;
            self.again.push(key);
        }
    }

    /// Acts on the verdict once neither direction can move.
    fn settle(&mut self, key: usize, settings: &Settings, now: Instant) {
        let session = &mut self.sessions[key];
        session.give_back_pipes(&mut self.pipes);
        match session.link.verdict(&settings.timeouts) {
            Verdict::Open => {
                if session.search.is_some() && !session.link.is_untouched() {
                    self.searches.finish(session.search.take());
                }
                session.look_at_victim(now);
                // Lazily: a timer that fires early is set again.
                if let Some(deadline) = session.link.deadline(&settings.timeouts) {
                    self.deadlines.set_by(key, deadline);
                }
            }
            Verdict::Close(reason) => self.end(key, reason, None, now),
            Verdict::Leave(reason) => self.end(key, reason, Some(Cut::Close), now),
            Verdict::Abort { victim: Side::Downstream, .. }
                if session.search.is_some() && session.link.is_untouched() =>
            {
                self.start_over(key, now);
            }
            Verdict::Abort { victim, reason } => {
                session.phase = Phase::Resetting { victim, reason };
                if victim == Side::Downstream {
                    session.upstream = None;
                }
                self.check_queue(key, QUEUE_CHECK, now);
            }
        }
    }

    /// Resets the victim if it has acknowledged everything, else looks again later.
    fn check_queue(&mut self, key: usize, wait: Duration, now: Instant) {
        let session = &mut self.sessions[key];
        let Phase::Resetting { reason, .. } = session.phase else { return };
        if session.look_at_victim(now) == 0 {
            self.end(key, reason, Some(Cut::Reset), now);
        } else {
            self.deadlines.set(key, now + wait);
        }
    }

    /// A session's timer fired.
    pub(crate) fn handle_deadline(&mut self, key: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let settings = session.listener.settings();
        match session.phase {
            Phase::Connecting => self.connect_failed(key, Errno::TIMEDOUT, now),
            Phase::Waiting => {
                let waits =
                    self.searches.get(session.search).map_or(0, |search| search.socket_waits);
                if SOCKET_RETRY * waits.into() >= settings.timeouts.connect {
                    self.cut_session(key, CloseReason::NoSocket, now);
                } else {
                    self.connect(key, now);
                }
            }
            Phase::Relaying => match session.expired(&settings.timeouts, now) {
                Some(reason) => {
                    let cut = settings.cut;
                    let reset =
                        matches!(reason, CloseReason::BackendReset | CloseReason::ClientReset);
                    let cut = if reset { Cut::Reset } else { cut };
                    self.end(key, reason, Some(cut), now);
                }
                None => {
                    session.keep_alive();
                    if let Some(deadline) = session.link.deadline(&settings.timeouts) {
                        self.deadlines.set(key, deadline);
                    }
                    self.go_on(key, now); // it may have waited for memory
                }
            },
            Phase::Dummy { answered } => self.dummy_expired(key, answered, now),
            Phase::Resetting { reason, .. } => {
                session.look_at_victim(now);
                let waited = now.since(session.link.last_activity());
                if waited >= settings.timeouts.linger {
                    self.end(key, reason, Some(Cut::Reset), now);
                } else {
                    self.check_queue(key, (waited / 2).clamp(QUEUE_CHECK, SOCKET_RETRY), now);
                }
            }
        }
    }

    /// Ends a session for a reason that neither peer gave.
    pub(crate) fn cut_session(&mut self, key: usize, reason: CloseReason, now: Instant) {
        let cut = self.sessions[key].listener.settings().cut;
        self.end(key, reason, Some(cut), now);
    }

    /// Closes both connections and tells of it. `cut` says what peers see that have not ended
    /// by themselves.
    pub(crate) fn end(&mut self, key: usize, reason: CloseReason, cut: Option<Cut>, now: Instant) {
        self.deadlines.clear(key);
        let mut session = self.sessions.remove(key);
        self.searches.finish(session.search.take());
        session.give_back_pipes(&mut self.pipes);
        for pipe in session.extras.take().into_iter().flat_map(|extras| extras.pipes).flatten() {
            self.pipes.discard(pipe);
        }
        let (sent_bytes, received_bytes) = session.link.bytes();
        let source = session.upstream.as_ref().and_then(|fd| net::local_address(fd.as_fd()));
        let sockets = [Some(&session.downstream), session.upstream.as_ref()];
        for socket in sockets.into_iter().flatten() {
            match cut {
                Some(Cut::Reset) => net::reset_on_close(socket.as_fd()),
                Some(Cut::Close) => close_orderly(socket.as_fd(), &mut self.buffer),
                None => {}
            }
        }
        let ended = Ended {
            session: session.number,
            listener: session.listener.id(),
            client: session.client(),
            backend: session.lease.as_ref().map(|lease| Arc::clone(lease.backend())),
            source,
            reason,
            sent_bytes,
            received_bytes,
            connect: (session.connect_micros != u32::MAX)
                .then(|| Duration::from_micros(session.connect_micros.into())),
            duration: now.since(session.started),
        };
        let listener = Arc::clone(&session.listener);
        if let Some(affinity) = &listener.pool().affinity {
            let client = session.client.map(|(address, _)| address.to_canonical());
            affinity.add_bytes(client, received_bytes, sent_bytes);
        }
        drop(session); // closes the sockets and gives the backend's place back
        self.shared.workers[self.index].sessions.fetch_sub(1, Relaxed);
        listener.end_session();
        self.made_room(&listener);
        self.tell(Event::Ended(ended));
    }
}

/// Says end of file, and takes what is there to be read, which would turn the close into a reset.
fn close_orderly(socket: BorrowedFd<'_>, buffer: &mut [u8]) {
    net::finish(socket);
    for _ in 0..ORDERLY_READS_MAX {
        if !matches!(net::receive(socket, buffer), Ok(count) if count > 0) {
            break;
        }
    }
}

const ORDERLY_READS_MAX: usize = 8;

impl Extras {
    /// For a session whose client's HTTP requests are given headers.
    fn rewriting(client: Option<SocketAddr>) -> Self {
        let forwarded = Forwarded::new(client.map(|client| client.ip()));
        Self { forwarded: Some(Box::new(forwarded)), ..Self::default() }
    }
}

impl Session {
    pub fn info(&self, worker: usize, place: Option<(usize, usize)>, now: Instant) -> SessionInfo {
        let (sent_bytes, received_bytes) = self.link.bytes();
        SessionInfo {
            session: self.number,
            worker,
            listener: self.listener.id(),
            client: self.client(),
            backend: self.lease.as_ref().map(|lease| Arc::clone(lease.backend())),
            phase: match self.phase {
                Phase::Connecting | Phase::Waiting => "connecting",
                Phase::Relaying | Phase::Dummy { answered: false } => "open",
                Phase::Resetting { .. } | Phase::Dummy { answered: true } => "ending",
            },
            place,
            downstream_fd: self.downstream.as_raw_fd(),
            upstream_fd: self.upstream.as_ref().map(AsRawFd::as_raw_fd),
            client_ended: self.link.has_ended(Side::Downstream),
            backend_ended: self.link.has_ended(Side::Upstream),
            held_sent_bytes: self.link.held(Side::Downstream),
            held_received_bytes: self.link.held(Side::Upstream),
            sent_bytes,
            received_bytes,
            age: now.since(self.started),
        }
    }

    fn keep_alive(&mut self) {
        if !std::mem::replace(&mut self.kept_alive, true) {
            let sockets = [Some(&self.downstream), self.upstream.as_ref()];
            sockets.into_iter().flatten().for_each(|socket| net::keep_alive(socket.as_fd()));
        }
    }

    /// Sees whether the victim of a reset still reads what was written to it. Returns how much it
    /// has not acknowledged.
    fn look_at_victim(&mut self, now: Instant) -> usize {
        let socket = match self.link.victim() {
            Some(Side::Downstream) => Some(&self.downstream),
            Some(Side::Upstream) => self.upstream.as_ref(),
            None => None,
        };
        let Some(socket) = socket else { return 0 };
        let bytes = net::unacknowledged(socket.as_fd());
        self.link.on_unacknowledged(bytes, now);
        bytes
    }

    /// Why the session is to end now, if it has been silent for too long.
    fn expired(&mut self, timeouts: &Timeouts, now: Instant) -> Option<CloseReason> {
        self.look_at_victim(now);
        self.link.expired(timeouts, now)
    }

    pub fn downstream(&self) -> BorrowedFd<'_> {
        self.downstream.as_fd()
    }

    fn client(&self) -> Option<SocketAddr> {
        self.client.map(SocketAddr::from)
    }

    /// An idle session holds no pipe.
    fn give_back_pipes(&mut self, pipes: &mut Pipes) {
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
}
