//! One UDP flow: what it holds until its backend has answered, and after that.

use crate::announced::Announced;
use crate::event::{Ended, SessionInfo};
use crate::listener::Listener;
use crate::listing::Figures;
use crate::searching::Searching;
use crate::session::{NOT_YET, micros};
use crate::tools::Tools;
use balancing::Lease;
use relay::{FlowIds, FlowKey, Incarnation};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use sys::datagram::{mark, receive_marked, report_marks, transmit_after};
use sys::{Errno, net};
use terms::{CloseReason, Instant, Phase};

/// A UDP flow.
///
/// ~~~text
///             .--- failed: to the next backend ---.
///             v                                   |
///   first --> trying: kept datagrams are sent ----+--> answered, or silent for a while --> gone
///   datagram                                      |            |
///             ^------------------------------------ unreachable '
/// ~~~
pub(super) struct Flow {
    pub number: u64,
    pub listener: Arc<Listener>,
    /// Whether it counts as one of its client's sessions.
    pub is_counted: bool,
    /// What has passed.
    pub seen: relay::Flow,
    /// The backend, and the socket towards it.
    pub lease: Option<Lease>,
    pub upstream: Option<Upstream>,
    /// Distinguishes its sockets.
    pub incarnation: Incarnation,
    /// Until the backend has answered. With `--retry-after`, also while a later datagram is kept.
    pub trying: Option<Box<Trying>>,
    /// From the beginning to the first answer, in microseconds.
    pub connect_micros: u32,
    /// The connection ids seen in it, with `--hash-on`: other flows of its client find the backend by
    /// them.
    pub ids: Option<Box<FlowIds>>,
    /// What the PROXY protocol says of it, if anything.
    pub introduction: Option<Box<Introduction>>,
}

const _: () = assert!(size_of::<Flow>() <= 120);

/// A socket connected to a backend.
pub(super) struct Upstream {
    pub socket: OwnedFd,
    pub incarnation: Incarnation,
    /// Requests that no answer has followed since the queue was last empty. Most backends answer each
    /// of them once: after the last of these answers, nothing more is there for now.
    pub answers_due: u32,
    /// How what it sends is marked (ECN); `None` if it comes from another process.
    pub ecn: Option<u8>,
    /// Whether it says how answers are marked: from the client's first mark on.
    pub reports_marks: bool,
}

/// What the PROXY protocol says of a flow.
#[derive(Default)]
pub(super) struct Introduction {
    /// What a proxy has said about it, if one announces its client.
    pub announced: Option<Announced>,
    /// What each datagram to the present backend begins with; empty if that expects nothing.
    pub header: Box<[u8]>,
}

/// What a flow needs to go to the next backend, with the client's datagrams.
pub(super) struct Trying {
    pub search: Searching,
    /// The client's datagrams since the last answer, for the next backend.
    pub kept: Vec<Box<[u8]>>,
    /// How the last of them was marked.
    pub ecn: u8,
    /// Whether the backend has answered this flow before. Not everything needs an answer then.
    pub is_settled: bool,
}

impl Flow {
    pub fn new(number: u64, listener: Arc<Listener>, trying: Trying, now: Instant) -> Self {
        Self {
            number,
            listener,
            is_counted: false,
            seen: relay::Flow::new(now),
            lease: None,
            upstream: None,
            incarnation: Incarnation::default(),
            trying: Some(Box::new(trying)),
            connect_micros: NOT_YET,
            ids: None,
            introduction: None,
        }
    }

    /// Whether its backend has answered, or need not.
    pub fn is_settled(&self) -> bool {
        self.trying.as_ref().is_none_or(|trying| trying.is_settled)
    }

    /// What is reported of it when it ends.
    pub fn ended(&self, key: &FlowKey, reason: CloseReason, now: Instant) -> Ended {
        let (sent_bytes, received_bytes) = self.seen.bytes();
        let had = self.lease.as_ref().map(|lease| Arc::clone(lease.backend()));
        let had_place = had.is_some();
        Ended {
            session: self.number,
            listener: self.listener.id(),
            client: Some(key.client),
            peer: Some(key.peer()),
            server_name: None,
            tls: None,
            backend_tls: None,
            backend: had.or_else(|| self.trying.as_ref()?.search.failed.clone()),
            had_place,
            source: self.upstream.as_ref().and_then(|it| net::local_address(it.socket.as_fd())),
            reason,
            sent_bytes,
            received_bytes,
            connect: micros(self.connect_micros),
            first_byte: None,
            client_path: None,
            backend_path: None,
            duration: now.since(self.seen.started),
        }
    }

    /// What decides about its place in a list.
    pub fn figures(&self, client: SocketAddr, now: Instant) -> Figures {
        let (sent, received) = self.seen.bytes();
        Figures {
            backend: self.lease.as_ref().map(|lease| lease.backend().id),
            client: Some(client),
            started: self.seen.started,
            age: now.since(self.seen.started),
            idle: now.since(self.seen.last_activity()),
            bytes: sent + received,
        }
    }

    /// What a list says of it.
    pub fn info(
        &self,
        rank: u128,
        key: &FlowKey,
        worker: usize,
        door_fd: i32,
        now: Instant,
    ) -> SessionInfo {
        let (sent_bytes, received_bytes) = self.seen.bytes();
        let upstream = self.upstream.as_ref();
        SessionInfo {
            session: self.number,
            worker: Some(worker),
            listener: self.listener.id(),
            client: Some(key.client),
            peer: Some(key.peer()),
            server_name: None,
            tls: None,
            protocol: None,
            backend: self.lease.as_ref().map(|lease| Arc::clone(lease.backend())),
            backend_address: upstream.and_then(|it| net::peer_address(it.socket.as_fd())),
            source: upstream.and_then(|it| net::local_address(it.socket.as_fd())),
            phase: if self.seen.is_answered() { Phase::Open } else { Phase::Connecting },
            place: self.trying.as_ref().and_then(|trying| trying.search.place()),
            downstream_fd: door_fd,
            upstream_fd: upstream.map(|it| it.socket.as_raw_fd()),
            client_ended: false,
            backend_ended: false,
            held_sent_bytes: self.trying.as_ref().map_or(0, |trying| trying.kept_bytes()),
            held_received_bytes: 0,
            sent_bytes,
            received_bytes,
            connect: micros(self.connect_micros),
            first_byte: None,
            client_path: None,
            backend_path: None,
            rank,
            age: now.since(self.seen.started),
            idle: now.since(self.seen.last_activity()),
        }
    }
}

impl Upstream {
    pub fn new(socket: OwnedFd, incarnation: Incarnation) -> Self {
        Self { socket, incarnation, answers_due: 0, ecn: Some(0), reports_marks: false }
    }

    /// Sends a datagram to the backend. One that is too long is lost, and counted.
    pub fn transmit(
        &mut self,
        header: &[u8],
        (bytes, ecn): (&[u8], u8),
        listener: &Listener,
    ) -> Result<(), Errno> {
        if self.ecn != Some(ecn) {
            self.mark(ecn);
        }
        let socket = self.socket.as_fd();
        let result = match header {
            [] => net::transmit(socket, bytes).map(drop),
            _ => transmit_after(socket, header, bytes),
        };
        if result == Err(Errno::MSGSIZE) {
            listener.count_dropped();
        }
        result
    }

    /// Marks what is sent from now on. Most clients never change that, so a mark costs nothing with
    /// each datagram; and only those that mark hear of the marks of answers.
    #[cold]
    fn mark(&mut self, ecn: u8) {
        if ecn != 0 && !std::mem::replace(&mut self.reports_marks, true) {
            report_marks(self.socket.as_fd(), true);
        }
        mark(self.socket.as_fd(), ecn);
        self.ecn = Some(ecn);
    }

    /// Receives an answer, and how it was marked.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<(usize, u8), Errno> {
        match self.reports_marks {
            false => net::receive(self.socket.as_fd(), buffer).map(|count| (count, 0)),
            true => receive_marked(self.socket.as_fd(), buffer),
        }
    }
}

impl Trying {
    /// A search for the backend of this client. `number` is that of the flow.
    pub fn new(listener: &Listener, client: SocketAddr, number: u64, tools: &Tools) -> Self {
        let pool = Arc::clone(&listener.pool());
        let search = Searching::new(listener, pool, Some(client), number, tools);
        Self { search, kept: Vec::new(), ecn: 0, is_settled: false }
    }

    /// For a flow that has its backend.
    pub fn settled(
        listener: &Listener,
        client: SocketAddr,
        number: u64,
        tools: &Tools,
        now: Instant,
    ) -> Self {
        let mut trying = Self::new(listener, client, number, tools);
        trying.search.rules.on_offer(1, 0);
        trying.search.rules.on_started(now);
        Self { is_settled: true, ..trying }
    }

    /// Keeps a datagram for the next backend, if `room` bytes allow it. Returns whether they do.
    pub fn keep(&mut self, bytes: &[u8], ecn: u8, room: usize) -> bool {
        let fits = self.kept.len() < KEPT_MAX && bytes.len() <= room;
        if fits {
            self.kept.push(bytes.into());
            self.ecn = ecn;
        }
        fits
    }

    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|bytes| bytes.len()).sum()
    }
}

/// Datagrams of one flow that are kept until an answer comes.
const KEPT_MAX: usize = 16;
