//! A worker's listeners: taking clients, and pausing when there is no room for more.

use crate::event::{Event, Trouble};
use crate::service::{Connecting, Service};
use crate::worker::{Incoming, Order, Shared, Worker};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;
use sys::net;
use terms::Instant;

/// A listening socket and whether it is being watched.
#[derive(Debug)]
pub struct Listener {
    pub service: Arc<Service>,
    pub socket: OwnedFd,
    watched: bool,
}

/// One client is accepted for so many sessions served.
const SESSIONS_PER_ACCEPT: usize = 8;
/// How long to wait before looking whether a shortage is over.
const RETRY: Duration = Duration::from_millis(100);
/// How long there must be room before a shortage is said to be over.
const CALM: Duration = Duration::from_secs(2);

impl Listener {
    pub fn new(service: Arc<Service>, socket: OwnedFd) -> Self {
        Self { service, socket, watched: false }
    }
}

impl Worker {
    /// Watches a listener that is not paused.
    pub(crate) fn watch(&mut self, index: usize) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        if !listener.watched {
            let token = crate::worker::listener_token(index);
            listener.watched = self.poller.add_listener(&listener.socket, token).is_ok();
        }
    }

    fn unwatch(&mut self, index: usize) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        if listener.watched {
            let _ = self.poller.remove(&listener.socket);
            listener.watched = false;
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
        let Some(listener) = self.listeners.get(index).filter(|it| it.watched) else {
            return false;
        };
        let service = Arc::clone(&listener.service);
        if self.shared.is_full() {
            self.pause(Trouble::Accept, now);
            return false;
        }
        if !service.has_room() {
            self.pause_service(&service);
            return false;
        }
        match net::accept(self.listeners[index].socket.as_fd()) {
            Ok((socket, client)) => {
                service.sessions_total.fetch_add(1, Relaxed);
                service.sessions.fetch_add(1, SeqCst);
                let connecting = Connecting::new(&service);
                if !service.has_room() {
                    self.pause_service(&service);
                }
                self.place(Incoming { service, socket, client, connecting }, now);
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

    /// Stops accepting for a service that has as many sessions as it may have.
    fn pause_service(&mut self, service: &Service) {
        service.paused.store(true, SeqCst);
        for index in self.listeners_of(service.id) {
            self.unwatch(index);
        }
        // A session may have ended just before the pause could be seen.
        if service.has_room() {
            self.resume(service.id);
        }
    }

    /// Accepts again for a service that was paused by one of its limits, if there is room.
    pub(crate) fn resume(&mut self, service: usize) {
        for index in self.listeners_of(service) {
            let listener = &self.listeners[index];
            if listener.service.has_room() {
                listener.service.paused.store(false, SeqCst);
                self.watch(index);
            }
        }
    }

    /// A session ended or is connected: where that makes room, accepting goes on.
    pub(crate) fn made_room(&self, service: &Service) {
        if service.may_resume() {
            let home = service.id % self.shared.workers.len();
            self.shared.workers[home].order(Order::Resume(service.id));
        }
    }

    fn listener_indices(&self) -> Vec<usize> {
        self.listeners.iter().map(|(index, _)| index).collect()
    }

    fn listeners_of(&self, service: usize) -> Vec<usize> {
        let listeners = self.listeners.iter();
        listeners.filter(|(_, it)| it.service.id == service).map(|(index, _)| index).collect()
    }

    /// Closes the listening sockets of one service, or all.
    pub(crate) fn stop_listening(&mut self, service: Option<usize>) {
        // Closing a socket unwatches it.
        self.listeners.retain(|_, it| service.is_some_and(|service| it.service.id != service));
        if self.listeners.is_empty() {
            self.retry_accept_at = None;
        }
    }

    /// Stops accepting for a moment, since we ran short of something.
    pub(crate) fn pause(&mut self, trouble: Trouble, now: Instant) {
        self.pipes.shrink();
        self.shared.measure_descriptors();
        for index in self.listener_indices() {
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
        for index in self.listener_indices() {
            if !self.listeners[index].service.paused.load(Relaxed) {
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
