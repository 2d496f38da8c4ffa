//! What workers share with each other, and the orders they take.

use crate::call::Call;
use crate::established::PERIOD;
use crate::event::SessionInfo;
use crate::listener::{Connecting, Listener};
use crate::listing::{SessionFilter, Victims};
use crate::moving::{Freezing, FreezingFlows, Moving, MovingFlow, Portion};
use crate::retiring::Recall;
use crate::tap::Tap;
use arc_swap::ArcSwap;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};
use sys::datagram::{cookie, is_datagram};
use sys::epoll::Waker;
use sys::net;
use terms::{Address, CloseReason, Instant, ListenerId};
use tls::Connectors;

/// What workers share with each other.
pub(crate) struct Shared {
    pub workers: Vec<Handle>,
    /// When an established session was last in use, in nanoseconds.
    established_used: AtomicU64,
    /// The number of file descriptors that sessions and flows may have, over all workers.
    descriptors_most: AtomicU32,
    /// Pipes each worker may have.
    pub pipes_most: usize,
    /// A seed that makes random choices differ between processes.
    pub seed: u64,
    /// Distinguishes the ids of this process's sessions from those of all others.
    pub process_id: u64,
    /// What connections to backends use TLS with.
    pub connectors: Arc<Connectors>,
    /// The TCP and UDP addresses that we listen on; changes when a listener begins or ends.
    doors: ArcSwap<Vec<Door>>,
    /// The number of doors opened so far.
    doors_opened: AtomicU64,
}

/// Identifies the sockets that [`crate::DataPlane::listen`] was given in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DoorId(u64);

/// An address that we listen on.
#[derive(Clone, Copy, Debug)]
struct Door {
    id: DoorId,
    is_udp: bool,
    address: SocketAddr,
    is_dual_stack: bool,
    /// Of a UDP socket, which one it is, and the worker that has it.
    flows: Option<(u64, usize)>,
}

/// How to reach a worker.
pub(crate) struct Handle {
    /// Its sessions and flows, the ones being handed to it included.
    pub sessions: AtomicU32,
    /// How many of these are flows.
    flows: AtomicU32,
    orders: Sender<Order>,
    /// Answered before the orders are taken, never after.
    call: Call,
    waker: Waker,
}

/// What a worker can be asked to do.
pub(crate) enum Order {
    /// Accept clients here.
    Listen(Arc<Listener>, DoorId, OwnedFd),
    /// Give back the sockets of these doors, or all.
    StopListening(Stop, Sender<Vec<(DoorId, OwnedFd)>>),
    /// Reply with copies of all listening sockets.
    CopyDoors(Sender<Vec<(DoorId, OwnedFd)>>),
    /// Serve this client.
    Begin(Incoming),
    /// A session ended or connected, on any worker: a paused listener may accept again.
    Resume(ListenerId),
    /// The settings of a listener have changed.
    Refresh(ListenerId),
    /// Reply, as a sign of life.
    Answer(Reply<()>),
    /// List open sessions.
    List(Arc<SessionFilter>, Reply<Vec<SessionInfo>>),
    /// Have sessions watched. If one is meant that is open, and it is here, reply whether it is: not
    /// if somebody else watches it.
    Tap(Arc<Tap>, Reply<Option<bool>>),
    /// End sessions, and reply with the number.
    Cut(Victims, CloseReason, Reply<usize>),
    /// Have sessions end one after the other, and reply with the number.
    Recall(Recall, Reply<usize>),
    /// Give up a portion of the sessions, from this key on, so that another process can have them.
    Freeze { first_key: usize, portion: Portion, reply: Reply<Freezing> },
    /// Give up so many flows, from this key on, so that another process can have them.
    FreezeFlows { first_key: usize, count: usize, reply: Reply<FreezingFlows> },
    /// Continue this flow, which counts as this worker's.
    ContinueFlow(Box<MovingFlow>),
    /// Receive nothing at UDP sockets that are opened from now on: flows may come first.
    AwaitFlows,
    /// Receive at all UDP sockets: no more flows will come.
    FlowsAreOver,
    /// Continue this session, which counts as this worker's.
    Continue(Box<Moving>),
    /// Reply with the number of the next session.
    NextNumber(Reply<u64>),
    /// Number sessions from here on.
    NumberFrom(u64),
}

/// Takes a worker's answer, on the worker's thread. It must not block.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// Which doors are to stop.
#[derive(Clone)]
pub(crate) struct Stop {
    /// These, or all.
    pub doors: Option<Arc<[DoorId]>>,
    /// Whether another process receives what clients send there from now on. Otherwise a UDP door
    /// goes on to serve the flows that it has.
    pub is_handed_over: bool,
}

impl Stop {
    /// Whether this door is meant.
    pub fn includes(&self, door: DoorId) -> bool {
        self.doors.as_ref().is_none_or(|doors| doors.contains(&door))
    }
}

/// A client just accepted.
pub(crate) struct Incoming {
    pub listener: Arc<Listener>,
    pub socket: OwnedFd,
    /// Its address, which may be that of a proxy; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    pub connecting: Connecting,
    /// Whether it counts as one of its client's sessions.
    pub is_counted: bool,
}

/// File descriptors for everything that is not a session: listeners, admin connections, logs.
const RESERVED_DESCRIPTORS: usize = 64;

/// The number of these that are meant for listening sockets. Any further listening socket is counted
/// in addition.
const RESERVED_FOR_DOORS: usize = 16;

impl Shared {
    pub fn new(
        workers: Vec<Handle>,
        pipes_most: usize,
        seed: u64,
        connectors: Arc<Connectors>,
    ) -> Self {
        let descriptors_most = AtomicU32::new(0);
        let process_id = {
            let mut hasher = DefaultHasher::new(); // so that the id does not reveal the seed
            hasher.write_u64(seed);
            hasher.finish()
        };
        let (doors, doors_opened) = (ArcSwap::default(), AtomicU64::new(0));
        let shared = Self {
            workers,
            established_used: AtomicU64::new(0),
            descriptors_most,
            pipes_most,
            seed,
            process_id,
            connectors,
            doors,
            doors_opened,
        };
        shared.measure_descriptors();
        shared
    }

    /// Finds the worker with the fewest sessions, preferring `own` among equals, and counts one
    /// more for it.
    pub fn claim_least_loaded(&self, own: usize) -> usize {
        let load = |index: usize| self.workers[index].sessions.load(Relaxed);
        let others = (0..self.workers.len()).filter(|&index| index != own);
        let least =
            others.fold(own, |best, index| if load(index) < load(best) { index } else { best });
        self.workers[least].sessions.fetch_add(1, Relaxed);
        least
    }

    /// Notes that an established session is in use.
    pub fn note_established(&self, now: Instant) {
        self.established_used.store(now.as_nanos(), Relaxed);
    }

    /// Whether one has been in use lately, on any worker.
    pub fn are_established_in_use(&self, now: Instant) -> bool {
        let used = Instant::from_nanos(self.established_used.load(Relaxed));
        now < used + PERIOD
    }

    /// The worker that accepts for a listener.
    pub fn home(&self, listener: ListenerId) -> &Handle {
        &self.workers[self.home_of(listener)]
    }

    /// The number of that worker.
    pub fn home_of(&self, listener: ListenerId) -> usize {
        (listener.number() % self.workers.len() as u64) as usize
    }

    /// Has accepting go on where a session that ended or connected has made room.
    pub fn made_room(&self, listener: &Listener) {
        if listener.may_resume() {
            self.home(listener.id()).order(Order::Resume(listener.id()));
        }
    }

    /// Reads the file descriptor limit again, which may have changed, and works out how much of it
    /// is for sessions and flows.
    pub fn measure_descriptors(&self) {
        let limit = sys::process::descriptor_limit();
        // Pipes were counted out at the start; under a lower limit they must leave room, too.
        let pipes = (2 * self.pipes_most * self.workers.len()).min(limit / 4);
        let doors = self.doors.load().len().saturating_sub(RESERVED_FOR_DOORS);
        let room = limit.saturating_sub(RESERVED_DESCRIPTORS + doors + pipes);
        self.descriptors_most.store(u32::try_from(room).unwrap_or(u32::MAX), Relaxed);
    }

    /// The file descriptors of all sessions and flows.
    pub fn descriptors(&self) -> u32 {
        self.workers.iter().map(Handle::descriptors).sum()
    }

    /// Whether file descriptors do not allow another session.
    pub fn is_full(&self) -> bool {
        self.descriptors().saturating_add(2) > self.descriptors_most.load(Relaxed)
    }

    /// The id of a session or flow, which no other has, in this process or another.
    pub fn unique_id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.process_id)
    }

    /// An id that no door has had.
    pub fn new_door(&self) -> DoorId {
        DoorId(self.doors_opened.fetch_add(1, Relaxed))
    }

    /// Adds an address that a listener is reached at.
    pub fn open_door(&self, id: DoorId, socket: BorrowedFd<'_>, worker: usize) {
        let Some(address) = net::local_address(socket) else { return };
        let (is_udp, is_dual_stack) = (is_datagram(socket), net::is_dual_stack(socket));
        let flows = is_udp.then(|| (cookie(socket), worker));
        let door = Door { id, is_udp, address, is_dual_stack, flows };
        self.doors.rcu(|doors| doors.iter().copied().chain([door]).collect::<Vec<_>>());
        self.measure_descriptors();
    }

    /// The worker that has a UDP socket.
    pub fn worker_with(&self, cookie: u64) -> Option<usize> {
        let doors = self.doors.load();
        let mut flows = doors.iter().filter_map(|door| door.flows);
        flows.find(|(own, _)| *own == cookie).map(|(_, worker)| worker)
    }

    /// Removes the addresses of these doors, or all.
    pub fn close_doors(&self, doors: Option<&[DoorId]>) {
        let stays = |door: &&Door| doors.is_some_and(|doors| !doors.contains(&door.id));
        self.doors.rcu(|doors| doors.iter().filter(stays).copied().collect::<Vec<_>>());
        self.measure_descriptors();
    }

    /// Whether a connection to this address would come back to ourselves. For a wildcard listener,
    /// only loopback addresses are known to; the start checks the others.
    pub fn is_our_own(&self, address: &Address) -> bool {
        matches!(address, Address::Ip(address) if self.is_door(*address, false))
    }

    /// Whether a datagram to this address would come back to ourselves, as for
    /// [`Self::is_our_own`].
    pub fn is_our_own_door(&self, address: SocketAddr) -> bool {
        self.is_door(address, true)
    }

    fn is_door(&self, address: SocketAddr, is_udp: bool) -> bool {
        self.doors.load().iter().any(|door| door.is_udp == is_udp && door.takes(address))
    }
}

impl Door {
    fn takes(&self, address: SocketAddr) -> bool {
        if self.address.port() != address.port() {
            return false;
        }
        let (own, other) = (self.address.ip(), address.ip());
        let same_family = own.is_ipv4() == other.is_ipv4() || self.is_dual_stack;
        own == other || own.is_unspecified() && other.is_loopback() && same_family
    }
}

impl Handle {
    pub fn new(orders: Sender<Order>) -> io::Result<Self> {
        let (sessions, flows) = (AtomicU32::new(0), AtomicU32::new(0));
        Ok(Self { sessions, flows, orders, call: Call::new(), waker: Waker::new()? })
    }

    /// A flow has begun, or will come here.
    pub fn count_flow(&self) {
        self.flows.fetch_add(1, Relaxed);
        self.sessions.fetch_add(1, Relaxed);
    }

    /// A flow has ended, or continues elsewhere.
    pub fn uncount_flow(&self) {
        self.sessions.fetch_sub(1, Relaxed);
        self.flows.fetch_sub(1, Relaxed);
    }

    /// The file descriptors that sessions and flows have: two for a session, one for a flow.
    fn descriptors(&self) -> u32 {
        let flows = self.flows.load(Relaxed);
        self.sessions.load(Relaxed).saturating_mul(2).saturating_sub(flows)
    }

    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sends the worker an order, without waiting for it.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() && self.call.call() {
            self.waker.wake();
        }
    }

    /// Whether orders have come since the last call. Called by the worker itself, before it takes
    /// them.
    pub fn take_call(&self) -> bool {
        self.call.answer()
    }

    /// Clears the wake-up. Called by the worker itself, before it takes orders.
    pub fn answer_wake_up(&self) {
        self.waker.clear();
        // What was just cleared may have been the call for an order that came since the turn
        // began: without this nobody would ever call again.
        self.call.answer();
    }
}

/// The orders of one worker.
pub(crate) type Orders = Receiver<Order>;
