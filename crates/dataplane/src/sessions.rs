//! A worker's sessions, their timers, and their turns.

use crate::chores::Listed;
use crate::connect::Heard;
use crate::established::Established;
use crate::event::{Ended, Event, Trace};
use crate::handshaking::{self, Handshakes};
use crate::listener::Connecting;
use crate::listing::{Candidate, Found};
use crate::moving::{Freezing, Moving, Portion, Staying};
use crate::retiring::{Recalling, Retirements};
use crate::searches::Searches;
use crate::searching::Searching;
use crate::session::{Greeting, Marks, Next, Session, State, micros};
use crate::shared::Incoming;
use crate::tap::{Tap, TapEnd};
use crate::token::{Token, is_number_of};
use crate::tools::Tools;
use crate::{announcing, answering, connect, relaying, routing, securing};
use balancing::Pool;
use relay::{Deadlines, Incarnation, Ready};
use slab::Slab;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use sys::net;
use terms::{CloseReason, Cut, Instant, ListenerId, Side};

/// A worker's sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    slab: Slab<Session>,
    /// All keys that were ever used are below it. The slab's capacity is far above them at first.
    keys_end: usize,
    searches: Searches,
    deadlines: Deadlines,
    retirements: Retirements,
    /// Sessions that asked for another turn, and an empty list that replaces it during the turns.
    again: Vec<usize>,
    resting: Vec<usize>,
    fired: Vec<usize>,
    handshakes: Handshakes,
    /// Those that were connected in this turn without sending anything.
    unacknowledged: Vec<usize>,
    pub established: Established,
}

/// Room for this many sessions is reserved at the start. It is a mapping of its own, so a page takes up
/// memory once it is used, and the kernel moves the mapping when it has to grow. A smaller list would
/// grow on the heap, and leave the places behind that it has outgrown
/// ([`sys::process::return_large_blocks`]).
const RESERVED: usize = 4096;

impl Sessions {
    pub fn new() -> Self {
        Self { slab: Slab::with_capacity(RESERVED), ..Self::default() }
    }

    /// Keeps a session, and returns its key.
    fn insert(&mut self, session: Session) -> usize {
        let key = self.slab.insert(session);
        self.keys_end = self.keys_end.max(key + 1);
        key
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether any asked for another turn.
    pub fn are_busy(&self) -> bool {
        !self.again.is_empty() || self.handshakes.are_waiting()
    }

    /// A time before which no timer fires.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.deadlines.next(), self.retirements.next()].into_iter().flatten().min()
    }

    /// Starts a session for a client just accepted.
    pub fn begin(&mut self, incoming: Incoming, tools: &mut Tools, now: Instant) {
        let Incoming { listener, socket, peer, connecting, is_counted } = incoming;
        let number = tools.next_number();
        tools.begun += 1;
        let settings = listener.settings();
        if settings.observe.steps {
            tools.outbox.tell(Event::Trace(Trace::Accepted { client: peer }));
        }
        let state = if settings.dummy {
            drop(connecting);
            State::Answering { answered: false }
        } else if settings.accept_proxy.is_some() {
            drop(connecting);
            State::Announcing
        } else if settings.hello_wait.is_some() {
            drop(connecting);
            State::Routing(Greeting::new(settings.starttls, now))
        } else if settings.tls.is_some() {
            drop(connecting);
            State::Handshaking { pool: Arc::clone(&listener.pool()) }
        } else {
            let pool = Arc::clone(&listener.pool());
            let search = Searching::new(&listener, pool, peer, number, tools);
            let search = Searching { connecting: Some(connecting), ..search };
            State::Seeking { search: self.searches.begin(search) }
        };
        let mut session = Session::new(number, state, listener, (socket, peer), now);
        session.marks.set(Marks::COUNTED, is_counted);
        let key = self.insert(session);
        let session = &self.slab[key];
        if matches!(session.state, State::Seeking { .. }) {
            self.go_on(key, tools, now);
        } else {
            tools.shared.made_room(&session.listener);
            let next = match session.state {
                State::Announcing => announcing::begin(session),
                State::Routing(_) => routing::begin(session, now),
                State::Answering { .. } => answering::begin(session, now),
                _ => self.begin_handshake(key, now, tools),
            };
            self.apply(key, next, tools, now);
        }
        // Last, so that the client's first bytes find the connect under way.
        if let Some(session) = self.slab.get(key) {
            let token = Token::downstream(key, number).to_number();
            if tools.poller.add_stream(session.downstream(), token).is_err() {
                tools.run_out_of_descriptors(now);
                let next = session.cut(CloseReason::NoSocket);
                self.apply(key, next, tools, now);
            }
        }
    }

    /// Gives up sessions that can continue elsewhere. `flows` is the number of UDP flows, which
    /// stay.
    pub fn freeze(
        &mut self,
        first_key: usize,
        portion: Portion,
        flows: usize,
        tools: &mut Tools,
        now: Instant,
    ) -> Freezing {
        let (mut sessions, mut staying) = (Vec::new(), Staying::default());
        let mut left = portion.bytes;
        let mut key = first_key;
        let end = self.keys_end;
        while key < end && sessions.len() < portion.sessions && left > 0 {
            if let Some(session) = self.slab.get(key) {
                if session.extras.as_ref().is_some_and(|extras| extras.tls.is_some()) {
                    staying.tls += 1;
                } else if !portion.selection.has(&session.link, now) {
                    // Passed over.
                } else if self.is_settled(key, now) {
                    let moving = self.freeze_one(key, tools);
                    let held = moving.iter().flat_map(|it| &it.residues).map(Vec::len).sum();
                    left = left.saturating_sub(held);
                    sessions.extend(moving);
                } else {
                    staying.unsettled += 1;
                }
            }
            key += 1;
        }
        staying.flows = if key >= end { flows } else { 0 };
        Freezing { sessions, next_key: (key < end).then_some(key), staying }
    }

    /// Whether a session relays to a backend that will not change any more.
    fn is_settled(&mut self, key: usize, now: Instant) -> bool {
        let session = &self.slab[key];
        let timeouts = &session.listener.settings().timeouts;
        match &session.state {
            State::Relaying { search: Some(search), .. } if session.link.is_untouched() => {
                !self.searches.get(search).rules.may_start_over(timeouts, now)
            }
            State::Relaying { .. } => session.link.victim().is_none(),
            _ => false,
        }
    }

    fn freeze_one(&mut self, key: usize, tools: &mut Tools) -> Option<Moving> {
        self.deadlines.clear(key);
        self.retirements.clear(key);
        let mut session = self.slab.remove(key);
        for socket in session.sockets() {
            // A copy in another process keeps the socket open, and in the poller.
            let _ = tools.poller.remove(socket);
        }
        session.empty_pipes(&mut tools.pipes);
        tools.shared.workers[tools.worker].sessions.fetch_sub(1, Relaxed);
        if session.marks.has(Marks::COUNTED) {
            session.listener.release(session.peer());
        }
        let (moving, search) = session.into_moving()?;
        if let Some(search) = search {
            self.searches.finish(search);
        }
        Some(moving)
    }

    /// Continues a session from another worker or another process.
    pub fn resume(&mut self, moving: Moving, tools: &mut Tools, now: Instant) {
        let mut session = Session::resume(moving);
        let is_counted = session.listener.adopt(session.peer(), now);
        session.marks.set(Marks::COUNTED, is_counted);
        let number = session.number;
        // An order is about the sessions with numbers below the next one. This session may have its
        // number from another worker.
        if number >= tools.next_number() {
            tools.number_from(number);
        }
        let key = self.insert(session);
        let session = &self.slab[key];
        let upstream = session.upstream().map(|upstream| {
            let token = Token::upstream(key, number, upstream.incarnation).to_number();
            tools.poller.add_stream(&upstream.socket, token)
        });
        let token = Token::downstream(key, number).to_number();
        let downstream = tools.poller.add_stream(session.downstream(), token);
        if downstream.is_err() || !matches!(upstream, Some(Ok(()))) {
            tools.run_out_of_descriptors(now);
            let next = session.cut(CloseReason::NoSocket);
            return self.apply(key, next, tools, now);
        }
        self.deadlines.set(key, relaying::begin(session, now));
        self.retire_with_age(key);
        // What it waits for may be no event: memory, or its share of a turn.
        self.queue(key);
    }

    /// Passes an event on to its session, unless that has ended.
    #[inline]
    pub fn handle_event(
        &mut self,
        (key, side, number, incarnation): (usize, Side, u64, Incarnation),
        event: sys::epoll::Event,
        tools: &mut Tools,
        now: Instant,
    ) {
        let Some(session) = self.slab.get_mut(key) else { return };
        if !is_number_of(number, session.number) {
            return;
        }
        self.established.on_event(session.number);
        let ready = Ready {
            readable: event.is_readable(),
            writable: event.is_writable(),
            hangup: event.is_hangup(),
            urgent: event.is_urgent(),
            failed: event.is_failed(),
        };
        if side == Side::Upstream {
            self.handle_upstream(key, incarnation, ready, tools, now);
            return;
        }
        session.link.handle_ready(side, ready);
        match session.state {
            State::Relaying { .. } | State::Answering { .. } => self.go_on(key, tools, now),
            State::Announcing | State::Routing(_) | State::Handshaking { .. } if !ready.failed => {
                self.go_on(key, tools, now);
            }
            State::Resetting { victim: Side::Downstream, reason, .. } if ready.failed => {
                self.end(key, reason, None, tools, now);
            }
            State::Resetting { .. } | State::Changing => {}
            State::Announcing
            | State::Routing(_)
            | State::Handshaking { .. }
            | State::Seeking { .. }
            | State::Waiting { .. }
            | State::Connecting { .. } => {
                if ready.failed {
                    self.end(key, CloseReason::ClientReset, Some(Cut::Reset), tools, now);
                }
            }
        }
    }

    #[inline]
    fn handle_upstream(
        &mut self,
        key: usize,
        incarnation: Incarnation,
        ready: Ready,
        tools: &mut Tools,
        now: Instant,
    ) {
        let session = &mut self.slab[key];
        match &session.state {
            State::Connecting { .. } => {
                let searches = &mut self.searches;
                let heard =
                    connect::handle_event(session, incarnation, ready, searches, tools, now);
                self.handle_heard(key, heard, tools, now);
                if self.slab.get(key).is_some_and(connect::is_to_be_acknowledged) {
                    self.unacknowledged.push(key);
                }
            }
            State::Relaying { upstream, .. } if upstream.incarnation == incarnation => {
                session.link.handle_ready(Side::Upstream, ready);
                self.go_on(key, tools, now);
            }
            State::Resetting {
                victim: Side::Upstream, reason, upstream: Some(upstream), ..
            } if upstream.incarnation == incarnation && ready.failed => {
                let reason = *reason;
                self.end(key, reason, None, tools, now);
            }
            // Left behind by an earlier connection, or nothing to act on.
            State::Relaying { .. } | State::Resetting { .. } | State::Seeking { .. } => {}
            State::Waiting { .. } | State::Announcing | State::Routing(_) => {}
            State::Handshaking { .. } => {}
            State::Answering { .. } | State::Changing => {}
        }
    }

    /// Goes on with a session that has heard something from its backend.
    #[inline]
    fn handle_heard(&mut self, key: usize, heard: Heard, tools: &mut Tools, now: Instant) {
        let session = &mut self.slab[key];
        match heard {
            Heard::Nothing => {}
            Heard::Connected => {
                self.deadlines.set(key, relaying::begin(session, now));
                self.retire_with_age(key);
                self.tell_start(key, tools, now);
                self.tap_if_wanted(key, tools, now);
            }
            Heard::Shake => {
                let tls = session.upstream_tls_mut();
                if tls.is_some_and(|it| !std::mem::replace(&mut it.is_queued, true)) {
                    self.handshakes.add(key);
                }
                return;
            }
        }
        self.go_on(key, tools, now);
    }

    /// Does whatever is to be done for a session in its state.
    fn go_on(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(session) = self.slab.get_mut(key) else { return };
        let was_queued = std::mem::replace(&mut session.queued, false);
        let next = match session.state {
            State::Relaying { .. } => {
                let next = relaying::go_on(session, &mut self.searches, tools, now);
                session.mute_or_unmute(key, &tools.poller);
                next
            }
            State::Seeking { .. } | State::Waiting { .. } | State::Connecting { .. } => {
                connect::seek(session, key, &mut self.searches, tools, now)
            }
            State::Answering { .. } => answering::go_on(session, tools, now),
            State::Announcing => match announcing::go_on(session, tools) {
                Ok(()) if session.listener.settings().hello_wait.is_some() => {
                    let protocol = session.listener.settings().starttls;
                    session.state = State::Routing(Greeting::new(protocol, now));
                    Next::Turn
                }
                Ok(()) => {
                    let pool = Arc::clone(&session.listener.pool());
                    self.admit(key, pool, tools, now)
                }
                Err(next) => next,
            },
            State::Routing(_) => match routing::go_on(session, tools, now) {
                Ok(pool) => self.admit(key, pool, tools, now),
                Err(next) => next,
            },
            State::Handshaking { .. } => {
                session.queued = true;
                if !was_queued {
                    self.handshakes.add(key);
                }
                Next::Event
            }
            State::Resetting { .. } | State::Changing => Next::Event,
        };
        self.apply(key, next, tools, now);
    }

    /// Goes on with a session that knows its client and its pool.
    fn admit(&mut self, key: usize, pool: Arc<Pool>, tools: &mut Tools, now: Instant) -> Next {
        let session = &mut self.slab[key];
        if session.listener.settings().tls.is_none() {
            return self.seek(key, pool, tools, now);
        }
        session.state = State::Handshaking { pool };
        let next = self.begin_handshake(key, now, tools);
        self.go_on(key, tools, now); // the client's first bytes may be there already
        next
    }

    /// Begins the search of a session that knows its client and its pool.
    fn seek(&mut self, key: usize, pool: Arc<Pool>, tools: &mut Tools, now: Instant) -> Next {
        let session = &mut self.slab[key];
        let listener = &session.listener;
        let search = Searching::new(listener, pool, session.client(), session.number, tools);
        let search = Searching { connecting: Some(Connecting::new(listener)), ..search };
        session.state = State::Seeking { search: self.searches.begin(search) };
        connect::seek(session, key, &mut self.searches, tools, now)
    }

    /// Counts a session that begins its TLS handshake. If there are too many, the oldest one ends.
    fn begin_handshake(&mut self, key: usize, now: Instant, tools: &mut Tools) -> Next {
        self.handshakes.begin(key, self.slab[key].number);
        let slab = &self.slab;
        let is_under_way = |key: usize, number: u64| {
            let session = slab.get(key).filter(|it| it.number == number);
            session.is_some_and(|it| matches!(it.state, State::Handshaking { .. }))
        };
        if let Some(oldest) = self.handshakes.too_many(is_under_way) {
            let next = handshaking::handle_deadline(&self.slab[oldest]);
            self.apply(oldest, next, tools, now);
        }
        self.slab.get(key).map_or(Next::Event, |session| handshaking::begin(session, now))
    }

    /// Continues handshakes, as many as may be in one turn.
    pub fn shake_hands(&mut self, tools: &mut Tools, now: Instant) {
        let mut left = handshaking::STEPS_PER_TURN;
        while left > 0
            && let Some(key) = self.handshakes.next()
        {
            let Some(session) = self.slab.get_mut(key) else { continue };
            if matches!(session.state, State::Connecting { .. }) {
                let tls = session.upstream_tls_mut();
                if tls.is_some_and(|it| std::mem::take(&mut it.is_queued)) {
                    left -= 1;
                    let heard = connect::shake(session, &mut self.searches, tools, now);
                    self.handle_heard(key, heard, tools, now);
                }
                continue;
            }
            let State::Handshaking { pool } = &session.state else { continue };
            if !std::mem::replace(&mut session.queued, false) {
                continue; // another one, by now
            }
            let pool = Arc::clone(pool);
            left -= 1;
            let next = match handshaking::go_on(session, tools) {
                Ok(()) => {
                    self.handshakes.under_way -= 1;
                    self.seek(key, pool, tools, now)
                }
                Err(next) => next,
            };
            match next {
                Next::Turn => self.go_on(key, tools, now),
                next => self.apply(key, next, tools, now),
            }
        }
    }

    /// Provides what a session needs next.
    fn apply(&mut self, key: usize, next: Next, tools: &mut Tools, now: Instant) {
        match next {
            Next::Event => {}
            Next::At(moment) => self.deadlines.set(key, moment),
            Next::By(moment) => self.deadlines.set_by(key, moment),
            Next::Turn => self.queue(key),
            Next::TurnAt(moment) => {
                self.deadlines.set(key, moment);
                self.queue(key);
            }
            Next::End(reason, cut) => self.end(key, reason, cut, tools, now),
        }
    }

    fn queue(&mut self, key: usize) {
        let session = &mut self.slab[key];
        if !session.queued {
            session.queued = true;
            self.again.push(key);
        }
    }

    /// Lets backends know that they are connected, if no bytes have said so during this turn.
    pub fn acknowledge_connects(&mut self) {
        for key in self.unacknowledged.drain(..) {
            let session = self.slab.get(key).filter(|it| connect::is_to_be_acknowledged(it));
            if let Some(upstream) = session.and_then(Session::upstream) {
                net::acknowledge(upstream.socket.as_fd());
            }
        }
    }

    /// Gives a turn to each session that asked for one.
    pub fn take_turns(&mut self, tools: &mut Tools, now: Instant) {
        std::mem::swap(&mut self.again, &mut self.resting);
        let mut keys = std::mem::take(&mut self.resting);
        for key in keys.drain(..) {
            self.go_on(key, tools, now);
        }
        self.resting = keys;
    }

    /// Handles the timers that are due.
    pub fn expire(&mut self, tools: &mut Tools, now: Instant) {
        let mut fired = std::mem::take(&mut self.fired);
        self.deadlines.expire(now, &mut fired);
        for key in fired.drain(..) {
            self.handle_deadline(key, tools, now);
        }
        self.retirements.expire(now, &mut fired);
        for key in fired.drain(..) {
            self.retire(key, tools, now);
        }
        self.fired = fired;
    }

    /// Has a session that was just connected end when it has the age that its backend allows.
    fn retire_with_age(&mut self, key: usize) {
        let session = &self.slab[key];
        let age = session.lease().and_then(|lease| lease.backend().age_max);
        self.retirements.set_age(key, session.number, session.started, age);
    }

    /// Reports a session that was just connected, if anybody wants to know.
    fn tell_start(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let session = &self.slab[key];
        if session.listener.settings().observe.starts {
            let info = session.info(0, tools.worker, &mut self.searches, now);
            tools.outbox.tell(Event::Started(Box::new(info)));
        }
    }

    /// Has a session that was just connected watched, if anybody wants that.
    fn tap_if_wanted(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        if tools.taps.is_empty() {
            return;
        }
        tools.taps.retain(|tap| !tap.is_over(now));
        let session = &mut self.slab[key];
        if let Some(mut tap) = session.extras.as_mut().and_then(|extras| extras.tap.take()) {
            tap.tell_backend(session.info(0, tools.worker, &mut self.searches, now), now);
            session.extras.get_or_insert_default().tap = Some(tap);
            return;
        }
        let is_wanted = |tap: &&Arc<Tap>| tap.wants(session.listener.id(), session.client());
        if let Some(tap) = tools.taps.iter().find(is_wanted) {
            self.watch(key, tap, tools, now);
        }
    }

    /// Has a session watched, unless somebody else watches it. Returns whether it is.
    fn watch(&mut self, key: usize, tap: &Arc<Tap>, tools: &Tools, now: Instant) -> bool {
        let Some(session) = self.slab.get_mut(key) else { return false };
        let other = session.extras.as_ref().and_then(|extras| extras.tap.as_ref());
        if other.is_some_and(|other| !other.is_over(now)) {
            return false;
        }
        let info = || session.info(0, tools.worker, &mut self.searches, now);
        let Some(watched) = tap.begin(info, now) else { return false };
        session.extras.get_or_insert_default().tap = Some(watched);
        true
    }

    /// Ends a session whose moment has come, unless it looks for a backend again.
    fn retire(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(session) = self.slab.get(key) else { return };
        if matches!(session.state, State::Relaying { .. })
            && let Some(reason) = self.retirements.decide(key, session.link.last_activity(), now)
        {
            let next = session.cut(reason);
            self.apply(key, next, tools, now);
        }
    }

    fn handle_deadline(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(session) = self.slab.get_mut(key) else { return };
        let next = match session.state {
            State::Seeking { .. } | State::Waiting { .. } | State::Connecting { .. } => {
                connect::handle_deadline(session, &mut self.searches, now);
                connect::seek(session, key, &mut self.searches, tools, now)
            }
            State::Relaying { .. } => {
                relaying::handle_deadline(session, &mut self.searches, tools, now)
            }
            State::Announcing => announcing::handle_deadline(session, now),
            State::Routing(_) => return self.go_on(key, tools, now),
            State::Handshaking { .. } => handshaking::handle_deadline(session),
            State::Answering { .. } => answering::handle_deadline(session),
            State::Resetting { reason, .. } => {
                let settings = session.listener.settings();
                relaying::wait_for_victim(session, reason, &settings.timeouts, now)
            }
            State::Changing => Next::Event,
        };
        self.apply(key, next, tools, now);
    }

    /// Closes both connections and reports the end.
    fn end(
        &mut self,
        key: usize,
        reason: CloseReason,
        cut: Option<Cut>,
        tools: &mut Tools,
        now: Instant,
    ) {
        self.deadlines.clear(key);
        self.retirements.clear(key);
        let mut session = self.slab.remove(key);
        if matches!(session.state, State::Handshaking { .. }) {
            self.handshakes.under_way -= 1;
        }
        if cut == Some(Cut::Close) {
            securing::close_tls(&mut session, tools);
        }
        session.give_back_pipes(&mut tools.pipes);
        let pipes = session.extras.iter_mut().flat_map(|extras| &mut extras.pipes);
        pipes.filter_map(Option::take).for_each(|pipe| tools.pipes.discard(pipe));
        for socket in session.sockets() {
            match cut {
                Some(Cut::Reset) => net::reset_on_close(socket),
                Some(Cut::Close) => close_orderly(socket, &mut tools.buffer),
                None => {}
            }
        }
        if session.response.is_awaited()
            && let Some(lease) = session.lease()
        {
            let (sent_bytes, _) = session.link.bytes();
            let limit = session.listener.settings().timeouts.connect;
            let age = now.since(session.started);
            let backend = (&*lease.backend().state, tools.worker);
            session.response.on_end(age, (reason, sent_bytes), limit, backend, now);
        }
        let search = session.search().map(|search| &*self.searches.get(search));
        let ended = ended(&session, search, reason, now);
        if let Some(mut tap) = session.extras.as_mut().and_then(|extras| extras.tap.take()) {
            tap.end(TapEnd::Closed(reason), now);
        }
        let listener = Arc::clone(&session.listener);
        if session.marks.has(Marks::COUNTED) {
            listener.release(session.peer());
        }
        let routed = session.extras.as_ref().and_then(|extras| extras.routed.as_ref());
        let affinity = match routed {
            Some(routed) => routed.affinity.clone(),
            None => listener.pool().affinity.clone(),
        };
        if let Some(search) = session.close() {
            self.searches.finish(search);
        }
        tools.end_session(&listener, affinity.as_deref(), ended);
    }
}

impl Listed for Sessions {
    fn keys_end(&self) -> usize {
        self.keys_end
    }

    fn list(&mut self, key: usize, before: u64, found: &mut Found, tools: &Tools, now: Instant) {
        let Some(session) = self.slab.get(key).filter(|session| session.number < before) else {
            return;
        };
        let round_trip = || session.path(Side::Downstream)?.round_trip();
        let info = |rank| session.info(rank, tools.worker, &mut self.searches, now);
        found.offer(&session.figures(now), round_trip, info);
    }

    fn refresh(&mut self, key: usize, listener: ListenerId, tools: &mut Tools, now: Instant) {
        if self.slab.get(key).is_some_and(|session| session.listener.id() == listener) {
            self.go_on(key, tools, now);
        }
    }

    fn cut(
        &mut self,
        key: usize,
        is_meant: impl Fn(Candidate<'_>) -> bool,
        reason: CloseReason,
        tools: &mut Tools,
        now: Instant,
    ) -> bool {
        let is_meant = |it: &&Session| {
            let backend = it.lease().map(|lease| lease.backend().id);
            let idle = now.since(it.link.last_activity());
            let is_at_rest = &|| it.is_at_rest();
            is_meant(Candidate { number: it.number, backend, idle, is_at_rest })
        };
        let Some(session) = self.slab.get(key).filter(is_meant) else { return false };
        let next = session.cut(reason);
        self.apply(key, next, tools, now);
        true
    }

    fn tap(&mut self, key: usize, tap: &Arc<Tap>, tools: &Tools, now: Instant) -> Option<bool> {
        self.slab.get(key).filter(|it| tap.session() == Some(it.number))?;
        Some(self.watch(key, tap, tools, now))
    }

    fn recall(&mut self, key: usize, before: u64, recalling: &mut Recalling, now: Instant) {
        let Some(session) = self.slab.get(key).filter(|session| session.number < before) else {
            return;
        };
        if let State::Relaying { lease, .. } = &session.state
            && let Some((at, reason)) = recalling.choose(lease.backend().id, now)
        {
            self.retirements.set(key, at, reason);
        }
    }
}

/// The report of a session that ends.
fn ended(
    session: &Session,
    search: Option<&Searching>,
    reason: CloseReason,
    now: Instant,
) -> Ended {
    let (sent_bytes, received_bytes) = session.link.bytes();
    // A health check needs no explanation.
    let is_explained = reason != CloseReason::ClientFin;
    let had = session.lease().map(|lease| Arc::clone(lease.backend()));
    let had_place = had.is_some();
    let failed = search.filter(|_| !had_place);
    let backend_tls = session.tls(Side::Upstream).map(|it| it.summary(true));
    Ended {
        session: session.number,
        listener: session.listener.id(),
        client: session.client(),
        peer: session.peer(),
        server_name: session.server_name().map(Into::into),
        tls: session.tls(Side::Downstream).map(|it| it.summary(is_explained)),
        backend_tls: backend_tls.or_else(|| failed?.failed_tls.clone()),
        backend: had.or_else(|| failed?.failed.clone()),
        had_place,
        source: session.source(),
        reason,
        sent_bytes,
        received_bytes,
        connect: micros(session.connect_micros),
        first_byte: micros(session.first_byte_micros),
        client_path: session.path(Side::Downstream),
        backend_path: session.path(Side::Upstream),
        duration: now.since(session.started),
    }
}

/// Sends an end of file, and reads what is there: unread bytes would turn the close into a reset.
fn close_orderly(socket: BorrowedFd<'_>, buffer: &mut [u8]) {
    net::finish(socket);
    for _ in 0..ORDERLY_READS_MAX {
        if !matches!(net::receive(socket, buffer), Ok(count) if count > 0) {
            break;
        }
    }
}

const ORDERLY_READS_MAX: usize = 8;
