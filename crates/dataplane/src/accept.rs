//! A worker's listeners: taking clients, and pausing when there is no room for more.

use crate::event::{Event, Trouble};
use crate::listener::{Connecting, Listener};
use crate::worker::{Incoming, Order, Shared, Worker};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use sys::net;
use terms::{Instant, ListenerId};

/// A listening socket and whether it is being watched.
#[derive(Debug)]
pub struct ListeningSocket {
    pub listener: Arc<Listener>,
    pub socket: OwnedFd,
    watched: bool,
}

/// One client is accepted for so many sessions served.
const SESSIONS_PER_ACCEPT: usize = 8;
/// How long to wait before looking whether a shortage is over.
const RETRY: Duration = Duration::from_millis(100);
/// How long there must be room before a shortage is said to be over.
const CALM: Duration = Duration::from_secs(2);

impl ListeningSocket {
    pub fn new(listener: Arc<Listener>, socket: OwnedFd) -> Self {
        Self { listener, socket, watched: false }
    }
}

impl Worker {
    /// Watches a listener that is not paused.
    pub(crate) fn watch(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        if !socket.watched {
            let token = crate::worker::listener_token(index);
            socket.watched = self.poller.add_listener(&socket.socket, token).is_ok();
        }
    }

    fn unwatch(&mut self, index: usize) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        if socket.watched {
            let _ = self.poller.remove(&socket.socket);
            socket.watched = false;
        }
    }

    /// Takes clients: one, since most come alone, and more where many sessions are served between
    /// two looks at the listener, so that neither those waiting nor those served starve.
    pub(crate) fn accept(&mut self, index: usize, now: Instant) {
        let share = 1 + self.poller.len() / SESSIONS_PER_ACCEPT;
        for _ in 0..share {
            if !self.accept_one(index, now) {
                break;
            }
        }
    }

    /// Takes one client and gives it to the worker with the fewest sessions; tells whether there
    /// may be another.
    fn accept_one(&mut self, index: usize, now: Instant) -> bool {
        // An order to stop listening may have come just before, in the same turn.
        let Some(socket) = self.sockets.get(index).filter(|it| it.watched) else {
            return false;
        };
        let listener = Arc::clone(&socket.listener);
        if self.shared.is_full() {
            self.pause(Trouble::Accept, now);
            return false;
        }
        if !listener.has_room() {
            self.pause_listener(&listener);
            return false;
        }
        match net::accept(self.sockets[index].socket.as_fd()) {
            Ok((socket, client)) => {
                listener.begin_session();
                let connecting = Connecting::new(&listener);
                if !listener.has_room() {
                    self.pause_listener(&listener);
                }
                self.place(Incoming { listener, socket, client, connecting }, now);
                true
            }
            // The client, or the way to it, went away; the next one may be well.
            Err(error) if net::is_lost_client(error) => false,
            Err(_) => {
                self.pause(Trouble::Accept, now);
                false
            }
        }
    }

    fn place(&mut self, incoming: Incoming, now: Instant) {
        let target = self.shared.claim_least_loaded(self.index);
        if target == self.index {
            self.begin(incoming, now);
        } else {
            self.shared.hand_over(target, incoming);
        }
    }

    /// Stops accepting for a listener that has as many sessions as it may have.
    fn pause_listener(&mut self, listener: &Listener) {
        listener.pause();
        for index in self.sockets_of(listener.id()) {
            self.unwatch(index);
        }
        // A session may have ended just before the pause could be seen.
        if listener.has_room() {
            self.resume(listener.id());
        }
    }

    /// Accepts again for a listener that was paused by one of its limits, if there is room.
    pub(crate) fn resume(&mut self, listener: ListenerId) {
        for index in self.sockets_of(listener) {
            let socket = &self.sockets[index];
            if socket.listener.has_room() {
                socket.listener.unpause();
                self.watch(index);
            }
        }
    }

    /// A session ended or is connected: where that makes room, accepting goes on.
    pub(crate) fn made_room(&self, listener: &Listener) {
        if listener.may_resume() {
            self.shared.home(listener.id()).order(Order::Resume(listener.id()));
        }
    }

    fn socket_indices(&self) -> Vec<usize> {
        self.sockets.iter().map(|(index, _)| index).collect()
    }

    fn sockets_of(&self, listener: ListenerId) -> Vec<usize> {
        let sockets = self.sockets.iter();
        sockets.filter(|(_, it)| it.listener.id() == listener).map(|(index, _)| index).collect()
    }

    /// Closes the listening sockets of one listener, or all.
    pub(crate) fn stop_listening(&mut self, listener: Option<ListenerId>) {
        // Closing a socket unwatches it.
        self.sockets.retain(|_, it| listener.is_some_and(|listener| it.listener.id() != listener));
        if self.sockets.is_empty() {
            self.retry_accept_at = None;
        }
    }

    /// Stops accepting for a moment, since we ran short of something.
    pub(crate) fn pause(&mut self, trouble: Trouble, now: Instant) {
        self.pipes.shrink();
        self.shared.measure_descriptors();
        for index in self.socket_indices() {
            self.unwatch(index);
        }
        self.retry_accept_at = Some(now + RETRY);
        if self.trouble_at.replace(now).is_none() {
            self.tell(Event::Trouble(trouble));
        }
    }

    /// Looks whether a shortage is over.
    pub(crate) fn retry_accept(&mut self, now: Instant) {
        if self.retry_accept_at.is_none_or(|at| now < at) {
            return;
        }
        self.shared.measure_descriptors();
        // Accepting goes on as soon as there is room; the shortage is over when room stays.
        let calm = self.trouble_at.is_none_or(|at| now.since(at) >= CALM);
        if self.shared.is_full() {
            self.retry_accept_at = Some(now + RETRY);
            return;
        }
        self.retry_accept_at = (!calm).then_some(now + RETRY);
        for index in self.socket_indices() {
            if !self.sockets[index].listener.is_paused() {
                self.watch(index);
            }
        }
        if calm && self.trouble_at.take().is_some() {
            self.tell(Event::TroubleOver);
        }
    }
}

impl Shared {
    /// Works out anew how many sessions the descriptor limit allows, which may have changed.
    pub(crate) fn measure_descriptors(&self) {
        let limit = sys::process::descriptor_limit();
        // Pipes were counted out at the start; under a lower limit they must leave room, too.
        let pipes = (2 * self.pipes_most * self.workers.len()).min(limit / 4);
        let room = limit.saturating_sub(RESERVED_DESCRIPTORS + pipes) / 2;
        self.sessions_most.store(u32::try_from(room).unwrap_or(u32::MAX), Relaxed);
    }

    fn is_full(&self) -> bool {
        let open: u32 = self.workers.iter().map(|worker| worker.sessions.load(Relaxed)).sum();
        open >= self.sessions_most.load(Relaxed)
    }
}

/// Descriptors for everything that is not a session: listeners, admin connections, logs.
const RESERVED_DESCRIPTORS: usize = 64;
