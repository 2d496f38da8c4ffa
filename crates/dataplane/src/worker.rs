//! One data-plane thread: its loop, and what it owns.

use crate::accept::ListeningSocket;
use crate::connect::Searches;
use crate::event::{Event, SessionInfo};
use crate::listener::{Connecting, Listener};
use crate::pipes::Pipes;
use crate::session::Session;
use relay::{Deadlines, READ_BYTES_MAX};
use slab::Slab;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;
use sys::clock;
use sys::epoll::{Poller, Waker};
use terms::{CloseReason, Instant, ListenerId, Side};

/// What workers share among themselves.
pub(crate) struct Shared {
    pub workers: Vec<Handle>,
    /// Sessions that the descriptor limit allows, over all workers.
    pub sessions_most: AtomicU32,
    /// Pipes each worker may have.
    pub pipes_most: usize,
    /// Makes random choices differ from one process to the next.
    pub seed: u64,
}

/// How to reach a worker.
pub(crate) struct Handle {
    /// Its sessions, the ones being handed to it included.
    pub sessions: AtomicU32,
    orders: Sender<Order>,
    /// Whether it has been woken for orders that it has not begun to take. Whoever finds it set
    /// need not wake; so it is unset only before the orders are taken, never after.
    pending: AtomicBool,
    pub waker: Waker,
}

/// What a worker is told.
pub(crate) enum Order {
    /// Accept clients here.
    Listen(Arc<Listener>, OwnedFd),
    /// Stop accepting; close the sockets of one listener, or all, then say so.
    StopListening(Option<ListenerId>, Sender<()>),
    /// Serve this client.
    Begin(Incoming),
    /// A session ended or was connected elsewhere: a paused listener may go on.
    Resume(ListenerId),
    /// The settings of a listener have changed.
    Refresh(ListenerId),
    /// List the open sessions.
    List(Sender<Vec<SessionInfo>>),
    /// End one session, or all.
    Cut(Option<u64>, CloseReason, Sender<usize>),
}

/// A client just accepted.
pub(crate) struct Incoming {
    pub listener: Arc<Listener>,
    pub socket: OwnedFd,
    pub client: Option<SocketAddr>,
    pub connecting: Connecting,
}

/// One data-plane thread's state.
pub(crate) struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub poller: Poller,
    orders: Receiver<Order>,
    pub sockets: Slab<ListeningSocket>,
    pub sessions: Slab<Session>,
    pub searches: Searches,
    pub deadlines: Deadlines,
    /// Sessions with more to do at once.
    pub again: Vec<usize>,
    pub buffer: Box<[u8]>,
    /// What a client's bytes were rewritten to, on their way out.
    pub rewritten: Vec<u8>,
    pub pipes: Pipes,
    /// Sessions begun here so far; numbers them.
    pub begun: u64,
    pub outbox: Vec<Event>,
    outbox_since: Option<Instant>,
    sink: Box<dyn FnMut(Vec<Event>) + Send>,
    pub retry_accept_at: Option<Instant>,
    /// When we last ran short of something, until that is over.
    pub trouble_at: Option<Instant>,
    spin: Option<Spin>,
}

/// Polling without sleeping while events come closely.
struct Spin {
    /// How long to poll after the last event.
    length: Duration,
    last_event: Instant,
    /// Whether the last two events came closely enough to expect another one soon.
    worthwhile: bool,
}

/// Bytes a session may move before others have their turn.
pub(crate) const BUDGET: usize = READ_BYTES_MAX;
/// Events are told in batches: this many, or what has come in so long.
const OUTBOX_MAX: usize = 256;
const OUTBOX_AGE_MAX: Duration = Duration::from_millis(10);
const EVENTS_MAX: usize = 256;

const WAKER_TOKEN: u64 = u64::MAX;
const LISTENER_BIT: u64 = 1 << 63;

pub(crate) fn listener_token(index: usize) -> u64 {
    LISTENER_BIT | index as u64
}

impl Worker {
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        orders: Receiver<Order>,
        spin: Option<Duration>,
        sink: Box<dyn FnMut(Vec<Event>) + Send>,
    ) -> io::Result<Self> {
        let poller = Poller::new(EVENTS_MAX)?;
        poller.add_listener(&shared.workers[index].waker, WAKER_TOKEN)?;
        let pipes = Pipes::new(shared.pipes_most);
        Ok(Self {
            index,
            shared,
            poller,
            orders,
            sockets: Slab::new(),
            sessions: Slab::new(),
            searches: Searches::default(),
            deadlines: Deadlines::default(),
            again: Vec::new(),
            // Fresh zeroed memory costs nothing until bulk data touches it.
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            rewritten: Vec::new(),
            pipes,
            begun: 0,
            outbox: Vec::new(),
            outbox_since: None,
            sink,
            retry_accept_at: None,
            trouble_at: None,
            spin: spin.map(|length| Spin { length, last_event: Instant::ZERO, worthwhile: false }),
        })
    }

    /// Serves until the process ends.
    pub fn run(mut self) {
        let mut fired = Vec::new();
        loop {
            if let Err(error) = self.turn(&mut fired) {
                // Only a broken program makes epoll_wait fail; going on would spin.
                panic!("worker {}: waiting for events failed: {error}", self.index);
            }
        }
    }

    fn turn(&mut self, fired: &mut Vec<usize>) -> io::Result<()> {
        let now = self.wait()?;
        if self.shared.workers[self.index].pending.swap(false, SeqCst) {
            self.take_orders(now);
        }
        for index in 0..self.poller.len() {
            let event = self.poller.event(index);
            match event.token {
                WAKER_TOKEN => {
                    let handle = &self.shared.workers[self.index];
                    handle.waker.clear();
                    // What was just cleared may have been the call for an order that came since
                    // the turn began: without this nobody would ever call again.
                    handle.pending.store(false, SeqCst);
                    self.take_orders(now);
                }
                token if token & LISTENER_BIT != 0 => {
                    self.accept((token & !LISTENER_BIT) as usize, now);
                }
                _ => self.handle_event(event, now),
            }
        }
        for key in std::mem::take(&mut self.again) {
            self.go_on(key, now);
        }
        self.deadlines.expire(now, fired);
        for key in fired.drain(..) {
            self.handle_deadline(key, now);
        }
        self.retry_accept(now);
        self.flush(now);
        Ok(())
    }

    /// Waits for events, timers and orders; tells when it is.
    fn wait(&mut self) -> io::Result<Instant> {
        let before = clock::now();
        let due = [
            self.deadlines.next(),
            self.retry_accept_at,
            self.outbox_since.map(|since| since + OUTBOX_AGE_MAX),
        ];
        let due = due.into_iter().flatten().min();
        let mut timeout = due.map(|due| due.since(before));
        if !self.again.is_empty() {
            timeout = Some(Duration::ZERO);
        }
        let Some(spin) = &mut self.spin else {
            self.poller.wait(timeout)?;
            return Ok(clock::now());
        };
        if spin.worthwhile {
            let until = spin.last_event + spin.length;
            let until = due.map_or(until, |due| due.min(until));
            loop {
                self.poller.wait(Some(Duration::ZERO))?;
                let now = clock::now();
                if !self.poller.is_empty() || now >= until || !self.again.is_empty() {
                    break;
                }
            }
        }
        if self.poller.is_empty() {
            let timeout = due.map(|due| due.since(clock::now()));
            let timeout = if self.again.is_empty() { timeout } else { Some(Duration::ZERO) };
            self.poller.wait(timeout)?;
        }
        let now = clock::now();
        if !self.poller.is_empty() {
            spin.worthwhile = now.since(spin.last_event) < spin.length * SPIN_GAPS;
            spin.last_event = now;
        }
        Ok(now)
    }

    fn take_orders(&mut self, now: Instant) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Listen(listener, socket) => {
                    let index = self.sockets.insert(ListeningSocket::new(listener, socket));
                    self.watch(index);
                }
                Order::StopListening(listener, done) => {
                    self.stop_listening(listener);
                    let _ = done.send(());
                }
                Order::Begin(incoming) => self.begin(incoming, now),
                Order::Resume(listener) => self.resume(listener),
                Order::Refresh(listener) => self.refresh(listener, now),
                Order::List(reply) => {
                    let _ = reply.send(self.list(now));
                }
                Order::Cut(number, reason, reply) => {
                    let _ = reply.send(self.cut(number, reason, now));
                }
            }
        }
    }

    fn list(&mut self, now: Instant) -> Vec<SessionInfo> {
        let sessions = self.sessions.iter();
        let list = sessions.map(|(_, session)| {
            let place = self.searches.get(session.search).and_then(|search| search.place());
            session.info(self.index, place, now)
        });
        list.collect()
    }

    /// Has open sessions of a listener notice that its settings have changed.
    fn refresh(&mut self, listener: ListenerId, now: Instant) {
        self.resume(listener);
        let sessions = self.sessions.iter().filter(|(_, it)| it.listener.id() == listener);
        let keys: Vec<_> = sessions.map(|(key, _)| key).collect();
        for key in keys {
            self.go_on(key, now);
        }
    }

    fn cut(&mut self, number: Option<u64>, reason: CloseReason, now: Instant) -> usize {
        let chosen = |session: &Session| number.is_none_or(|number| session.number == number);
        let keys: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(key, session)| chosen(session).then_some(key))
            .collect();
        for &key in &keys {
            self.cut_session(key, reason, now);
        }
        self.flush_now();
        keys.len()
    }

    /// Passes an event on to its session, if that is still there.
    fn handle_event(&mut self, event: sys::epoll::Event, now: Instant) {
        let (key, side, generation) = untoken(event.token);
        let current = self
            .sessions
            .get(key)
            .is_some_and(|session| generation_of(session.number) == generation);
        if current {
            self.handle_ready(key, side, event, now);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outbox.push(event);
    }

    /// Tells events in batches. Only ends of sessions wait; operators want the rest at once.
    fn flush(&mut self, now: Instant) {
        if self.outbox.is_empty() {
            return;
        }
        let since = *self.outbox_since.get_or_insert(now);
        let urgent = self.outbox.iter().any(|event| !matches!(event, Event::Ended(_)));
        if urgent || self.outbox.len() >= OUTBOX_MAX || now.since(since) >= OUTBOX_AGE_MAX {
            self.flush_now();
        }
    }

    fn flush_now(&mut self) {
        self.outbox_since = None;
        if !self.outbox.is_empty() {
            let batch = std::mem::replace(&mut self.outbox, Vec::with_capacity(16));
            (self.sink)(batch);
        }
    }
}

/// Events this many spin lengths apart still count as close.
const SPIN_GAPS: u32 = 10;

/// A token names a session's side, and by its number which of the slab entry's users it is for.
pub(crate) fn token(key: usize, side: Side, number: u64) -> u64 {
    u64::from(generation_of(number)) << 32 | (key as u64) << 1 | side as u64
}

/// As much of a session's number as a token has room for.
fn generation_of(number: u64) -> u32 {
    number as u32 & GENERATION_MAX
}

fn untoken(token: u64) -> (usize, Side, u32) {
    let side = if token & 1 == 0 { Side::Downstream } else { Side::Upstream };
    ((token as u32 >> 1) as usize, side, (token >> 32) as u32)
}

/// The top bit of a token tells listeners.
const GENERATION_MAX: u32 = (1 << 31) - 1;

impl Handle {
    pub fn new(orders: Sender<Order>) -> io::Result<Self> {
        Ok(Self {
            sessions: AtomicU32::new(0),
            orders,
            pending: AtomicBool::new(false),
            waker: Waker::new()?,
        })
    }

    /// Gives the worker something to do; never waits for it.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() && !self.pending.swap(true, SeqCst) {
            self.waker.wake();
        }
    }
}

impl Shared {
    /// The worker with the fewest sessions, one more counted for it; `own` among equals.
    pub fn claim_least_loaded(&self, own: usize) -> usize {
        let load = |index: usize| self.workers[index].sessions.load(Relaxed);
        let others = (0..self.workers.len()).filter(|&index| index != own);
        let least =
            others.fold(own, |best, index| if load(index) < load(best) { index } else { best });
        self.workers[least].sessions.fetch_add(1, Relaxed);
        least
    }

    /// The worker that accepts for a listener.
    pub fn home(&self, listener: ListenerId) -> &Handle {
        &self.workers[(listener.number() % self.workers.len() as u64) as usize]
    }

    pub fn hand_over(&self, worker: usize, incoming: Incoming) {
        self.workers[worker].order(Order::Begin(incoming));
    }
}
