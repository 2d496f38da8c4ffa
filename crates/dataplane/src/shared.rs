//! What workers share among themselves, and how they are reached.

use crate::event::SessionInfo;
use crate::listener::{Connecting, Listener};
use arc_swap::ArcSwap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc::{Receiver, Sender};
use sys::epoll::Waker;
use terms::{Address, CloseReason, ListenerId};

/// What workers share among themselves.
pub(crate) struct Shared {
    pub workers: Vec<Handle>,
    /// Sessions that the descriptor limit allows, over all workers.
    sessions_most: AtomicU32,
    /// Pipes each worker may have.
    pub pipes_most: usize,
    /// Makes random choices differ from one process to the next.
    pub seed: u64,
    /// Where we listen ourselves; changes when a listener is begun or ended.
    doors: ArcSwap<Vec<Door>>,
}

/// A TCP address that we listen on.
#[derive(Clone, Copy, Debug)]
struct Door {
    listener: ListenerId,
    address: SocketAddr,
    is_dual_stack: bool,
}

/// How to reach a worker.
pub(crate) struct Handle {
    /// Its sessions, the ones being handed to it included.
    pub sessions: AtomicU32,
    orders: Sender<Order>,
    /// Whether it has been woken for orders that it has not begun to take. Whoever finds it set
    /// need not wake; so it is unset only before the orders are taken, never after.
    pending: AtomicBool,
    waker: Waker,
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
    /// End one session, or all, and say how many.
    Cut(Option<u64>, CloseReason, Sender<usize>),
}

/// A client just accepted.
pub(crate) struct Incoming {
    pub listener: Arc<Listener>,
    pub socket: OwnedFd,
    pub client: Option<SocketAddr>,
    pub connecting: Connecting,
}

/// Descriptors for everything that is not a session: listeners, admin connections, logs.
const RESERVED_DESCRIPTORS: usize = 64;

impl Shared {
    pub fn new(workers: Vec<Handle>, pipes_most: usize, seed: u64) -> Self {
        let sessions_most = AtomicU32::new(0);
        let shared = Self { workers, sessions_most, pipes_most, seed, doors: ArcSwap::default() };
        shared.measure_descriptors();
        shared
    }

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

    /// A session ended or is connected: where that makes room, accepting goes on.
    pub fn made_room(&self, listener: &Listener) {
        if listener.may_resume() {
            self.home(listener.id()).order(Order::Resume(listener.id()));
        }
    }

    /// Works out anew how many sessions the descriptor limit allows, which may have changed.
    pub fn measure_descriptors(&self) {
        let limit = sys::process::descriptor_limit();
        // Pipes were counted out at the start; under a lower limit they must leave room, too.
        let pipes = (2 * self.pipes_most * self.workers.len()).min(limit / 4);
        let room = limit.saturating_sub(RESERVED_DESCRIPTORS + pipes) / 2;
        self.sessions_most.store(u32::try_from(room).unwrap_or(u32::MAX), Relaxed);
    }

    /// Whether there are as many sessions as descriptors allow.
    pub fn is_full(&self) -> bool {
        let open: u32 = self.workers.iter().map(|worker| worker.sessions.load(Relaxed)).sum();
        open >= self.sessions_most.load(Relaxed)
    }

    /// Notes that a listener is reached at this address.
    pub fn open_door(&self, listener: ListenerId, address: SocketAddr, is_dual_stack: bool) {
        let door = Door { listener, address, is_dual_stack };
        self.doors.rcu(|doors| doors.iter().copied().chain([door]).collect::<Vec<_>>());
    }

    /// Notes that a listener, or all, is reached no more.
    pub fn close_doors(&self, listener: Option<ListenerId>) {
        let stays = |door: &&Door| listener.is_some_and(|listener| door.listener != listener);
        self.doors.rcu(|doors| doors.iter().filter(stays).copied().collect::<Vec<_>>());
    }

    /// Whether a connection to this address would come back to ourselves. Of the addresses that a
    /// listener on all of them has, only the loopback ones are known here.
    pub fn is_our_own(&self, address: &Address) -> bool {
        match address {
            Address::Ip(address) => self.doors.load().iter().any(|door| door.takes(*address)),
            Address::Unix(_) => false,
        }
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
        Ok(Self {
            sessions: AtomicU32::new(0),
            orders,
            pending: AtomicBool::new(false),
            waker: Waker::new()?,
        })
    }

    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Gives the worker something to do; never waits for it.
    pub fn order(&self, order: Order) {
        if self.orders.send(order).is_ok() && !self.pending.swap(true, SeqCst) {
            self.waker.wake();
        }
    }

    /// Whether orders have come since this was last asked; by the worker itself, before it takes
    /// them.
    pub fn take_call(&self) -> bool {
        self.pending.swap(false, SeqCst)
    }

    /// Takes the wake-up; by the worker itself, before it takes orders.
    pub fn answer_wake_up(&self) {
        self.waker.clear();
        // What was just cleared may have been the call for an order that came since the turn
        // began: without this nobody would ever call again.
        self.pending.store(false, SeqCst);
    }
}

/// The orders of one worker.
pub(crate) type Orders = Receiver<Order>;
