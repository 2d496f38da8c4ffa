//! One data-plane thread: its turn.

use crate::chores::{Chore, Chores};
use crate::datagrams::Datagrams;
use crate::event::{Event, Trouble};
use crate::listening::{Accepted, Listening};
use crate::listing::Found;
use crate::outbox::Outbox;
use crate::retiring::Recalling;
use crate::sessions::Sessions;
use crate::shared::{DoorId, Handle, Order, Orders, Shared};
use crate::spin::{Spin, sleep};
use crate::token::Token;
use crate::tools::Tools;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use sys::datagram::is_datagram;
use sys::epoll::Poller;
use terms::Instant;

/// One data-plane thread. Each part of its state is a type of its own.
pub(crate) struct Worker {
    orders: Orders,
    tools: Tools,
    listening: Listening,
    sessions: Sessions,
    datagrams: Datagrams,
    chores: Chores,
    spin: Option<Spin>,
    /// Turns in a row in which timers were held back.
    turns_held: usize,
}

/// Events taken in one turn.
const EVENTS_MAX: usize = 256;

impl Worker {
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        orders: Orders,
        spin: Option<Duration>,
        sink: Box<dyn FnMut(Vec<Event>) + Send>,
    ) -> io::Result<Self> {
        let poller = Poller::new(EVENTS_MAX)?;
        poller.add_listener(shared.workers[index].waker(), Token::Waker.to_number())?;
        let datagrams = Datagrams::new(shared.seed);
        Ok(Self {
            orders,
            tools: Tools::new(index, shared, poller, Outbox::new(sink)),
            listening: Listening::default(),
            sessions: Sessions::new(),
            datagrams,
            chores: Chores::default(),
            spin: spin.map(Spin::new),
            turns_held: 0,
        })
    }

    /// Serves until the process ends.
    pub fn run(mut self) {
        loop {
            if let Err(error) = self.turn() {
                // Only a bug makes epoll_wait fail; continuing would spin.
                panic!("worker {}: waiting for events failed: {error}", self.tools.worker);
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let now = self.wait()?;
        if self.handle().take_call() {
            self.take_orders(now);
        }
        for index in 0..self.tools.poller.len() {
            let event = self.tools.poller.event(index);
            match Token::from_number(event.token) {
                Token::Session { key, side, number, incarnation } => {
                    let whose = (key, side, number, incarnation);
                    self.sessions.handle_event(whose, event, &mut self.tools, now);
                }
                Token::Listener(index) => self.listening.arrivals.on_event(index),
                Token::Flow { key, number, incarnation } => {
                    let whose = (key, number, incarnation);
                    self.datagrams.handle_flow(whose, &mut self.tools, now);
                }
                Token::Door(door) => self.datagrams.handle_door(door, &mut self.tools, now),
                Token::Waker => {
                    self.handle().answer_wake_up();
                    self.take_orders(now);
                }
            }
        }
        self.sessions.acknowledge_connects();
        if self.sessions.established.on_turn(self.tools.next_number(), now) {
            self.tools.shared.note_established(now);
        }
        self.accept_clients(now);
        self.sessions.take_turns(&mut self.tools, now);
        self.sessions.shake_hands(&mut self.tools, now);
        if self.may_expire() {
            self.sessions.expire(&mut self.tools, now);
            self.datagrams.expire(&mut self.tools, now);
        }
        self.chores.go_on(&mut self.sessions, &mut self.datagrams, &mut self.tools, now);
        self.datagrams.flush(&self.tools);
        self.listening.retry(&mut self.tools, now);
        self.listening.pause_if_short(&mut self.tools, now);
        let Tools { shortages, outbox, .. } = &mut self.tools;
        shortages.end_if_calm(Trouble::Ports, outbox, now);
        shortages.end_if_calm(Trouble::Flows, outbox, now);
        outbox.flush(now);
        Ok(())
    }

    /// Waits for events, timers or orders, and returns the current time.
    fn wait(&mut self) -> io::Result<Instant> {
        let is_busy = self.sessions.are_busy() || self.chores.are_waiting();
        let due = [
            is_busy.then_some(Instant::ZERO),
            self.sessions.next_deadline(),
            self.datagrams.next_deadline(),
            self.listening.due(),
            self.tools.shortages.due(),
            self.tools.outbox.due(),
        ];
        let due = due.into_iter().flatten().min();
        match &mut self.spin {
            Some(spin) => spin.wait(&mut self.tools.poller, due),
            None => sleep(&mut self.tools.poller, due),
        }
    }

    fn handle(&self) -> &Handle {
        &self.tools.shared.workers[self.tools.worker]
    }

    /// Whether timers may fire. A full batch of events leaves others behind, and one of those may be
    /// what a timer waits for, as after a pause of the process. They have been seen after as many
    /// turns as it takes to see every connection once; later ones hold back no timer.
    fn may_expire(&mut self) -> bool {
        let turns_most = 2 + 2 * (self.sessions.len() + self.datagrams.len()) / EVENTS_MAX;
        let is_held = self.is_batch_full() && self.turns_held < turns_most;
        self.turns_held = if is_held { self.turns_held + 1 } else { 0 };
        !is_held
    }

    /// Whether there may be more events than those of this turn.
    fn is_batch_full(&self) -> bool {
        self.tools.poller.len() >= EVENTS_MAX
    }

    /// Accepts clients wherever some may be waiting.
    fn accept_clients(&mut self, now: Instant) {
        if !self.is_batch_full() {
            self.listening.arrivals.on_all_events_seen();
        }
        let are_others_in_use = self.tools.shared.are_established_in_use(now);
        let mut place = 0;
        while let Some((index, share)) = self.listening.arrivals.at(place, are_others_in_use) {
            let accepted = (0..share).take_while(|_| self.accept(index, now)).count();
            place = self.listening.arrivals.on_accepted(place, accepted == share);
        }
    }

    /// Accepts one client for the worker with the fewest sessions. Returns whether there was one.
    fn accept(&mut self, index: usize, now: Instant) -> bool {
        let incoming = match self.listening.accept(index, &mut self.tools, now) {
            Accepted::Nobody => return false,
            Accepted::Refused => return true,
            Accepted::Client(incoming) => incoming,
        };
        let target = self.tools.shared.claim_least_loaded(self.tools.worker);
        if target == self.tools.worker {
            self.sessions.begin(incoming, &mut self.tools, now);
        } else {
            self.tools.shared.workers[target].order(Order::Begin(incoming));
        }
        true
    }

    fn take_orders(&mut self, now: Instant) {
        while let Ok(order) = self.orders.try_recv() {
            let before = self.tools.next_number();
            match order {
                Order::Listen(listener, door, socket) if is_datagram(socket.as_fd()) => {
                    self.datagrams.open(listener, door, socket, &mut self.tools, now);
                }
                Order::Listen(listener, door, socket) => {
                    self.listening.add(listener, door, socket, &mut self.tools, now);
                }
                Order::StopListening(stop, reply) => {
                    let mut stopped = self.listening.stop(&stop, &self.tools);
                    stopped.extend(self.datagrams.stop(&stop, &self.tools));
                    let _ = reply.send(stopped);
                }
                Order::CopyDoors(reply) => {
                    let copies = self.listening.sockets().chain(self.datagrams.sockets());
                    let copy = |(door, it): (DoorId, &OwnedFd)| Some((door, it.try_clone().ok()?));
                    let _ = reply.send(copies.filter_map(copy).collect());
                }
                Order::Begin(incoming) => self.sessions.begin(incoming, &mut self.tools, now),
                Order::Resume(listener) => self.listening.resume(listener, &mut self.tools, now),
                Order::Refresh(listener) => {
                    self.listening.resume(listener, &mut self.tools, now);
                    self.chores.add(Chore::Refresh { listener });
                }
                Order::Answer(reply) => reply(()),
                Order::List(filter, reply) => {
                    self.chores.add(Chore::List { before, found: Found::new(filter), reply });
                }
                Order::Freeze { first_key, portion, reply } => {
                    let flows = self.datagrams.len();
                    reply(self.sessions.freeze(first_key, portion, flows, &mut self.tools, now));
                }
                Order::FreezeFlows { first_key, count, reply } => {
                    reply(self.datagrams.freeze(first_key, count, &mut self.tools));
                }
                Order::ContinueFlow(it) => self.datagrams.resume(*it, &mut self.tools, now),
                Order::AwaitFlows => self.datagrams.await_flows(now),
                Order::FlowsAreOver => self.datagrams.watch_all(&self.tools),
                Order::Continue(it) => self.sessions.resume(*it, &mut self.tools, now),
                Order::NextNumber(reply) => reply(self.tools.next_number()),
                Order::NumberFrom(number) => self.tools.number_from(number),
                Order::Tap(tap, reply) => match tap.session() {
                    Some(_) => self.chores.add(Chore::Tap { tap, is_watched: None, reply }),
                    None => {
                        self.tools.taps.retain(|it| !it.is_over(now));
                        self.tools.taps.push(tap);
                        reply(None);
                    }
                },
                Order::Recall(recall, reply) => {
                    let recalling = Recalling::new(recall);
                    self.chores.add(Chore::Recall { before, recalling, reply });
                }
                Order::Cut(whom, reason, reply) => {
                    self.chores.add(Chore::Cut { before, whom, reason, count: 0, reply });
                }
            }
        }
    }
}
