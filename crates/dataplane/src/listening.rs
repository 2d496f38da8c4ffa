//! A worker's listening sockets: accepting clients, and pausing while there is no room for more.

use crate::arrivals::Arrivals;
use crate::event::Trouble;
use crate::listener::{Connecting, Listener};
use crate::shared::{DoorId, Incoming, Stop};
use crate::token::Token;
use crate::tools::Tools;
use slab::Slab;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use sys::net;
use terms::{Instant, ListenerId};

/// The sockets that a worker accepts on.
#[derive(Default)]
pub(crate) struct Listening {
    sockets: Slab<ListeningSocket>,
    /// Where clients may be waiting.
    pub arrivals: Arrivals,
    /// When to try again after a shortage made accepting pause.
    retry_at: Option<Instant>,
    /// Sockets whose listener has accepted as fast as it may, and when they are watched again.
    too_fast: Vec<(Instant, usize)>,
}

/// A listening socket and whether it is being watched.
struct ListeningSocket {
    listener: Arc<Listener>,
    door: DoorId,
    socket: OwnedFd,
    watched: bool,
}

/// What came of accepting one client.
pub(crate) enum Accepted {
    /// Nobody was there, or there was no room.
    Nobody,
    /// Its limits do not allow it another session.
    Refused,
    Client(Incoming),
}

/// The shortest time for which nothing is accepted because of the rate. What becomes possible
/// meanwhile is accepted at once then.
const PACE: Duration = Duration::from_millis(1);
/// How long after a shortage accepting is tried again.
const RETRY: Duration = Duration::from_millis(100);

impl Listening {
    /// Begins to accept clients on another socket.
    pub fn add(
        &mut self,
        listener: Arc<Listener>,
        door: DoorId,
        socket: OwnedFd,
        tools: &mut Tools,
        now: Instant,
    ) {
        let index = self.sockets.insert(ListeningSocket { listener, door, socket, watched: false });
        self.watch(index, tools, now);
    }

    /// When to call [`Self::retry`].
    pub fn due(&self) -> Option<Instant> {
        let next = self.too_fast.iter().map(|(at, _)| *at).min();
        [self.retry_at, next].into_iter().flatten().min()
    }

    /// Watches a socket. If the system cannot (`ENOSPC`, `ENOMEM`), it is tried again later.
    fn watch(&mut self, index: usize, tools: &mut Tools, now: Instant) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        if !socket.watched {
            let token = Token::Listener(index).to_number();
            socket.watched = tools.poller.add_listener(&socket.socket, token).is_ok();
        }
        if !socket.watched {
            self.retry_at = Some(now + RETRY);
            tools.shortages.note(Trouble::Descriptors, &mut tools.outbox, now);
        }
    }

    fn unwatch(&mut self, index: usize, tools: &Tools) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        if socket.watched {
            let _ = tools.poller.remove(&socket.socket);
            socket.watched = false;
        }
    }

    /// Accepts one client, if there is one and there is room for it.
    pub fn accept(&mut self, index: usize, tools: &mut Tools, now: Instant) -> Accepted {
        // An order to stop listening may have come just before, in the same turn.
        let Some(socket) = self.sockets.get(index).filter(|socket| socket.watched) else {
            return Accepted::Nobody;
        };
        let listener = Arc::clone(&socket.listener);
        if tools.shared.is_full() {
            tools.run_out_of_descriptors(now);
            return Accepted::Nobody;
        }
        if !listener.has_room() {
            self.pause_listener(&listener, tools, now);
            return Accepted::Nobody;
        }
        if let Err(at) = listener.take_turn(now) {
            self.unwatch(index, tools);
            self.too_fast.retain(|(_, it)| *it != index);
            self.too_fast.push((at.max(now + PACE), index));
            return Accepted::Nobody;
        }
        match net::accept(self.sockets[index].socket.as_fd()) {
            Ok((socket, peer)) => {
                let Ok(is_counted) = listener.admit(peer, now) else {
                    net::reset_on_close(socket.as_fd());
                    return Accepted::Refused;
                };
                listener.begin_session();
                let connecting = Connecting::new(&listener);
                if !listener.has_room() {
                    self.pause_listener(&listener, tools, now);
                }
                Accepted::Client(Incoming { listener, socket, peer, connecting, is_counted })
            }
            // This client is gone, or cannot be reached; the next may be fine.
            Err(error) if net::is_lost_client(error) => {
                listener.give_back_turn();
                Accepted::Nobody
            }
            Err(_) => {
                listener.give_back_turn();
                tools.run_out_of_descriptors(now);
                Accepted::Nobody
            }
        }
    }

    /// Stops accepting for a listener that has reached a limit of its own.
    fn pause_listener(&mut self, listener: &Listener, tools: &mut Tools, now: Instant) {
        listener.pause();
        for index in self.indices_of(listener.id()) {
            self.unwatch(index, tools);
        }
        // A session may have ended just before the pause could be seen.
        if listener.has_room() {
            self.resume(listener.id(), tools, now);
        }
    }

    /// Accepts again for a listener that was paused by a limit of its own, if there is room.
    pub fn resume(&mut self, listener: ListenerId, tools: &mut Tools, now: Instant) {
        for index in self.indices_of(listener) {
            let listener = &self.sockets[index].listener;
            if listener.has_room() {
                listener.unpause();
                self.watch(index, tools, now);
            }
        }
    }

    fn indices(&self) -> Vec<usize> {
        self.sockets.iter().map(|(index, _)| index).collect()
    }

    fn indices_of(&self, listener: ListenerId) -> Vec<usize> {
        let sockets = self.sockets.iter();
        sockets.filter(|(_, it)| it.listener.id() == listener).map(|(index, _)| index).collect()
    }

    /// All sockets.
    pub fn sockets(&self) -> impl Iterator<Item = (DoorId, &OwnedFd)> {
        self.sockets.iter().map(|(_, it)| (it.door, &it.socket))
    }

    /// Gives back the sockets of these doors, or all.
    pub fn stop(&mut self, stop: &Stop, tools: &Tools) -> Vec<(DoorId, OwnedFd)> {
        let all = self.sockets.iter();
        let meant = all.filter(|(_, it)| stop.includes(it.door)).map(|(index, _)| index);
        let meant: Vec<_> = meant.collect();
        let mut stopped = Vec::new();
        for index in meant {
            self.unwatch(index, tools);
            stopped.extend(self.sockets.try_remove(index).map(|it| (it.door, it.socket)));
        }
        if self.sockets.is_empty() {
            self.retry_at = None;
        }
        stopped
    }

    /// Stops accepting for a moment, if a session found no file descriptor or memory.
    pub fn pause_if_short(&mut self, tools: &mut Tools, now: Instant) {
        if std::mem::take(&mut tools.must_pause) {
            for index in self.indices() {
                self.unwatch(index, tools);
            }
            self.retry_at = Some(now + RETRY);
        }
    }

    /// Accepts again where the rate of the listener allows it.
    fn go_on_accepting(&mut self, tools: &mut Tools, now: Instant) {
        let due: Vec<_> = self.too_fast.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, index) in due {
            let is_paused = |it: &ListeningSocket| it.listener.is_paused();
            // One that is paused, or was stopped, is watched by whoever ends that.
            if self.retry_at.is_none() && self.sockets.get(index).is_some_and(|it| !is_paused(it)) {
                self.watch(index, tools, now);
            }
        }
    }

    /// Accepts again if there is room. The shortage is over when there has been room for a while.
    pub fn retry(&mut self, tools: &mut Tools, now: Instant) {
        self.go_on_accepting(tools, now);
        if self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        tools.shared.measure_descriptors();
        if tools.shared.is_full() {
            self.retry_at = Some(now + RETRY);
            return;
        }
        self.retry_at = None;
        for index in self.indices() {
            if !self.sockets[index].listener.is_paused() {
                self.watch(index, tools, now);
            }
        }
        if !tools.shortages.is_calm(Trouble::Descriptors, now) {
            self.retry_at = Some(now + RETRY);
        }
        tools.shortages.end_if_calm(Trouble::Descriptors, &mut tools.outbox, now);
    }
}
