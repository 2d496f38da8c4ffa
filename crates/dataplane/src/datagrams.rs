//! A worker's UDP sockets and flows: what clients send goes to their backends, and answers go back.
//!
//! `relay::FlowTable` says which flow a datagram belongs to, `relay::Flow` when one is over, and
//! `relay::Search` which backend is next. A flow begins and ends here; `seeking` finds its backend.

mod announcing;
mod door;
mod flow;
mod following;
mod migrating;
mod observing;
mod seeking;

use crate::announced::Announced;
use crate::chores::Listed;
use crate::event::Trouble;
use crate::listener::Listener;
use crate::listing::{Candidate, Found};
use crate::retiring::{Recalling, Retirements};
use crate::shared::{DoorId, Stop};
use crate::tap::Tap;
use crate::token::is_number_of;
use crate::tools::Tools;
use announcing::Request;
use door::Door;
use flow::{Flow, Introduction, Trying};
use relay::{Deadlines, FlowIds, FlowTable, Incarnation};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use sys::datagram::{BATCH, Batch, cookie, peer_failure};
use sys::net;
use terms::{Address, CloseReason, ConnectFailure, Instant, ListenerId, Side};

/// A worker's UDP sockets and flows.
pub(crate) struct Datagrams {
    doors: Vec<Option<Door>>,
    flows: FlowTable<Flow>,
    deadlines: Deadlines,
    retirements: Retirements,
    fired: Vec<usize>,
    /// Bytes kept for another backend, over all flows.
    kept_bytes: usize,
    batches: Option<Box<Batches>>,
    /// Until then, nothing is received at sockets, because flows of another process may come first.
    watched_from: Option<Instant>,
}

#[derive(Default)]
struct Batches {
    requests: Batch,
    answers: Batch,
    /// The door that the answers leave from.
    answers_door: usize,
}

/// Batches received from one door before others have their turn.
const BATCHES_PER_TURN: usize = 4;
/// Answers received from one backend before others have their turn.
const ANSWERS_PER_TURN: usize = 16;
/// How much is kept for other backends, over all flows of a worker.
const KEPT_BYTES_MAX: usize = 4 << 20;

impl Datagrams {
    pub fn new(seed: u64) -> Self {
        Self {
            doors: Vec::new(),
            flows: FlowTable::new(seed),
            deadlines: Deadlines::default(),
            retirements: Retirements::default(),
            fired: Vec::new(),
            kept_bytes: 0,
            batches: None,
            watched_from: None,
        }
    }

    /// The number of flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// A time before which no timer fires.
    pub fn next_deadline(&self) -> Option<Instant> {
        let timers = [self.deadlines.next(), self.retirements.next(), self.watched_from];
        timers.into_iter().flatten().min()
    }

    /// Begins to serve the clients that write to another socket.
    pub fn open(
        &mut self,
        listener: Arc<Listener>,
        id: DoorId,
        socket: OwnedFd,
        tools: &mut Tools,
        now: Instant,
    ) {
        self.batches.get_or_insert_default();
        let (address, own) = (net::local_address(socket.as_fd()), cookie(socket.as_fd()));
        // A socket that comes back finds its flows.
        let closed = |it: &&mut Door| !it.is_open && it.address == address;
        let is_same = |it: &Door| cookie(it.socket()) == own;
        let mut doors: Vec<_> = self.doors.iter_mut().flatten().filter(closed).collect();
        doors.sort_by_key(|it| !is_same(it));
        if let Some(door) = doors.into_iter().next() {
            (door.listener, door.id, door.is_open) = (listener, id, true);
            door.is_lent = false;
            door.watch(tools);
            return;
        }
        let number = self.flows.open_door();
        match Door::open(listener, id, socket, number, tools) {
            Some(mut door) => {
                if self.watched_from.is_some() {
                    door.unwatch(tools);
                }
                let places = self.doors.len().max(number + 1);
                self.doors.resize_with(places, || None);
                self.doors[number] = Some(door);
            }
            None => {
                self.flows.close_door(number);
                tools.shortages.note(Trouble::Descriptors, &mut tools.outbox, now);
            }
        }
    }

    /// Begins no more flows at these doors, or all, and gives back copies of their sockets. Flows go
    /// on until they end.
    pub fn stop(&mut self, stop: &Stop, tools: &Tools) -> Vec<(DoorId, OwnedFd)> {
        let mut stopped = Vec::new();
        for number in 0..self.doors.len() {
            if let Some(door) = &mut self.doors[number]
                && door.is_open
                && stop.includes(door.id)
            {
                door.is_open = false;
                if stop.is_handed_over {
                    door.unwatch(tools);
                    door.is_lent = true;
                }
                stopped.extend(door.socket.try_clone().ok().map(|copy| (door.id, copy)));
                self.close_if_over(number, tools);
            }
        }
        stopped
    }

    /// Closes a door that is not open, after its last flow.
    fn close_if_over(&mut self, number: usize, tools: &Tools) {
        let place = &mut self.doors[number];
        let is_closing = place.as_ref().is_some_and(|door| !door.is_open && !door.is_lent);
        if is_closing
            && self.flows.close_door(number)
            && let Some(door) = place.take()
        {
            // A copy of the socket would keep it in the poller.
            let _ = tools.poller.remove(&door.socket);
        }
    }

    /// The sockets of all open doors.
    pub fn sockets(&self) -> impl Iterator<Item = (DoorId, &OwnedFd)> {
        let open = self.doors.iter().flatten().filter(|door| door.is_open);
        open.map(|door| (door.id, &door.socket))
    }

    /// Receives what clients have sent to a door.
    pub fn handle_door(&mut self, door: usize, tools: &mut Tools, now: Instant) {
        let Some(mut batches) = self.batches.take() else { return };
        for _ in 0..BATCHES_PER_TURN {
            // An event from before it was left to another process is that one's.
            let Some(Some(it)) = self.doors.get_mut(door) else { break };
            if !it.is_watched() {
                break;
            }
            let settings = it.listener.settings();
            it.report_marks(settings.flows.hash_on.is_some());
            let Ok(count) = batches.requests.receive(it.socket()) else { break };
            let proxies = settings.accept_proxy.as_ref();
            for index in 0..count {
                if let Some(datagram) = batches.requests.get(index) {
                    match announcing::read(door, datagram, proxies) {
                        Some(request) => self.handle_request(request, tools, now),
                        None => self.drop_datagram(door),
                    }
                }
            }
            if count < BATCH {
                break;
            }
        }
        self.batches = Some(batches);
    }

    fn handle_request(&mut self, request: Request<'_>, tools: &mut Tools, now: Instant) {
        let found = self.flows.find(&request.key).or_else(|| self.begin(&request, tools, now));
        if let Some(number) = found {
            self.forward(number, (request.bytes, request.ecn), tools, now);
        }
    }

    #[cold]
    fn drop_datagram(&self, door: usize) {
        if let Some(Some(door)) = self.doors.get(door) {
            door.listener.count_dropped();
        }
    }

    /// Begins a flow, if there is room for one and its client can be answered.
    fn begin(&mut self, request: &Request<'_>, tools: &mut Tools, now: Instant) -> Option<usize> {
        let &Request { key, header, bytes: first, .. } = request;
        let peer = key.peer();
        let door = self.doors.get(key.door)?.as_ref().filter(|door| door.is_open)?;
        let listener = Arc::clone(&door.listener);
        // Nobody gets around TLS.
        let settings = listener.settings();
        let is_for_tcp = settings.tls.is_some();
        let hash_on = settings.flows.hash_on;
        drop(settings);
        if is_for_tcp || !is_answerable(peer) || tools.shared.is_our_own_door(peer) {
            listener.count_dropped();
            return None;
        }
        if listener.take_turn(now).is_err() {
            listener.count_dropped();
            return None;
        }
        let is_counted = listener.admit(Some(key.client), now).ok()?;
        if listener.is_full() || tools.shared.is_full() {
            tools.shortages.note(Trouble::Flows, &mut tools.outbox, now);
            // A door without flows may have one more, so that no worker's clients are shut out.
            match self.flows.oldest(key.door) {
                Some(oldest) => self.end(oldest, CloseReason::Evicted, tools, now),
                None if tools.shared.is_full() => {
                    if is_counted {
                        listener.release(Some(key.client));
                    }
                    listener.count_dropped();
                    return None;
                }
                None => {}
            }
        }
        let number = tools.next_number();
        tools.begun += 1;
        tools.shared.workers[tools.worker].count_flow();
        listener.begin_session();
        let mut trying = Trying::new(&listener, key.client, number, tools);
        let moved_from = following::backend_of(&listener, hash_on, first, now);
        moved_from.into_iter().for_each(|backend| trying.search.attempt.follow(backend));
        let ids = moved_from.map(|_| Box::new(FlowIds::new(true)));
        let introduction = header.map(|header| {
            let announced = Some(Announced::by(key.proxy, &header));
            Box::new(Introduction { announced, ..Introduction::default() })
        });
        let begun = Flow::new(number, listener, trying, now);
        let flow = Flow { is_counted, ids, introduction, ..begun };
        Some(self.flows.insert(key, flow))
    }

    /// How much more may be kept for other backends, in bytes.
    fn room_to_keep(&self) -> usize {
        KEPT_BYTES_MAX.saturating_sub(self.kept_bytes)
    }

    /// Passes a client's datagram on to the backend.
    fn forward(
        &mut self,
        key: usize,
        datagram @ (bytes, _): (&[u8], u8),
        tools: &mut Tools,
        now: Instant,
    ) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        flow.seen.on_request(bytes.len(), now);
        flow.listener.ledger(tools.worker).count_passed(bytes.len() as u64, 0);
        let is_proven = flow.seen.is_proven();
        let rules = flow.listener.settings().flows;
        let is_spent = flow.seen.is_spent(&rules);
        Self::learn_from_client(flow, rules.hash_on, bytes, now);
        self.flows.touch(key, is_proven);
        if is_spent {
            self.flows.unbind(key);
        }
        let is_kept = self.keep(key, datagram, &rules, tools, now);
        let Some(flow) = self.flows.get_mut(key) else { return };
        if flow.upstream.is_none() {
            self.seek(key, tools, now);
            if is_kept {
                return self.observe(key, Side::Downstream, bytes, tools); // sent with those before it
            }
        }
        self.transmit(key, datagram, is_kept, tools, now);
        self.observe(key, Side::Downstream, bytes, tools);
    }

    /// Sends a datagram to the backend. If that cannot be reached, the next one gets it: together
    /// with those that are kept, or else once.
    fn transmit(
        &mut self,
        key: usize,
        datagram: (&[u8], u8),
        is_kept: bool,
        tools: &mut Tools,
        now: Instant,
    ) {
        let Some(failure) = self.send(key, datagram, tools) else { return };
        let unkept = Some(datagram).filter(|_| !is_kept);
        if !self.fail(key, failure, unkept, tools, now) && !is_kept {
            self.send(key, datagram, tools);
        }
    }

    /// Sends a datagram to the backend, if there is a connection to one. Returns why that cannot be
    /// reached, if so.
    fn send(&mut self, key: usize, datagram: (&[u8], u8), tools: &Tools) -> Option<ConnectFailure> {
        let flow = self.flows.get_mut(key)?;
        let header = flow.introduction.as_ref().map_or(&[][..], |it| &it.header);
        let (upstream, lease) = (flow.upstream.as_mut()?, flow.lease.as_ref()?);
        upstream.answers_due = upstream.answers_due.saturating_add(1);
        match upstream.transmit(header, datagram, &flow.listener) {
            Ok(()) => lease.backend().state.tally(tools.worker).count_sent(datagram.0.len()),
            Err(error) => return peer_failure(error),
        }
        None
    }

    /// Receives what the backend of a flow has sent, or why it cannot be reached.
    pub fn handle_flow(
        &mut self,
        (key, number, incarnation): (usize, u64, Incarnation),
        tools: &mut Tools,
        now: Instant,
    ) {
        let Some(at) = self.flows.key(key) else { return };
        let (door, peer, local) = (at.door, at.peer(), at.local);
        let Some(mut batches) = self.batches.take() else { return };
        let mut failed = None;
        for _ in 0..ANSWERS_PER_TURN {
            if batches.answers.is_full() || batches.answers_door != door {
                self.send_answers(&mut batches);
            }
            batches.answers_door = door;
            let Some(flow) = self.flows.get_mut(key) else { break };
            let Some(upstream) = &mut flow.upstream else { break };
            if !is_number_of(number, flow.number) || upstream.incarnation != incarnation {
                break; // left behind by another flow, or an earlier socket
            }
            let receive = |buffer: &mut [u8]| upstream.receive(buffer);
            match batches.answers.push_with(peer, local, receive) {
                Ok(_) => {
                    let is_last = upstream.answers_due == 1;
                    upstream.answers_due = upstream.answers_due.saturating_sub(1);
                    let answer = batches.answers.bytes(batches.answers.len() - 1);
                    self.observe(key, Side::Upstream, answer, tools);
                    self.handle_answer(key, answer, tools, now);
                    if is_last {
                        break;
                    }
                }
                Err(sys::Errno::AGAIN) => {
                    upstream.answers_due = 0;
                    break;
                }
                Err(error) => match peer_failure(error) {
                    Some(failure) => {
                        failed = Some(failure);
                        break;
                    }
                    None => continue,
                },
            }
        }
        self.batches = Some(batches);
        if let Some(failure) = failed {
            self.fail(key, failure, None, tools, now);
        }
    }

    /// Counts an answer, which is on its way to the client.
    fn handle_answer(&mut self, key: usize, answer: &[u8], tools: &mut Tools, now: Instant) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let rules = flow.listener.settings().flows;
        Self::learn_from_backend(flow, rules.hash_on, answer);
        let bytes = answer.len();
        if let Some(lease) = &flow.lease {
            let tally = lease.backend().state.tally(tools.worker);
            tally.count_received(bytes);
            tally.note_answer(now);
        }
        flow.seen.on_response(bytes, now);
        flow.listener.ledger(tools.worker).count_passed(0, bytes as u64);
        let is_complete = flow.seen.is_complete(&rules);
        if flow.trying.is_some() {
            self.answered(key, tools, now);
        }
        if is_complete {
            self.end(key, CloseReason::Complete, tools, now);
        }
    }

    /// Sends the answers that have been gathered, and closes doors after their last flows.
    pub fn flush(&mut self, tools: &Tools) {
        if let Some(mut batches) = self.batches.take() {
            self.send_answers(&mut batches);
            self.batches = Some(batches);
        }
        for number in 0..self.doors.len() {
            self.close_if_over(number, tools);
        }
    }

    fn send_answers(&self, batches: &mut Batches) {
        if batches.answers.is_empty() {
            return;
        }
        if let Some(Some(door)) = self.doors.get(batches.answers_door) {
            batches.answers.send(door.socket());
        }
    }

    /// Handles the timers that are due.
    pub fn expire(&mut self, tools: &mut Tools, now: Instant) {
        if self.watched_from.is_some_and(|from| now >= from) {
            self.watch_all(tools);
        }
        let mut fired = std::mem::take(&mut self.fired);
        self.deadlines.expire(now, &mut fired);
        for key in fired.drain(..) {
            self.handle_deadline(key, tools, now);
        }
        self.retirements.expire(now, &mut fired);
        for key in fired.drain(..) {
            let active = self.flows.get(key).map(|flow| flow.seen.last_activity());
            let reason = active.and_then(|active| self.retirements.decide(key, active, now));
            if let Some(reason) = reason {
                self.end(key, reason, tools, now);
            }
        }
        self.fired = fired;
    }

    fn handle_deadline(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(flow) = self.flows.get(key) else { return };
        if let Some(reason) = flow.seen.end(&flow.listener.settings().flows, now) {
            self.end(key, reason, tools, now);
        } else if flow.trying.is_some() {
            self.handle_silence(key, tools, now);
        } else {
            self.set_timer(key);
        }
    }

    /// Sets the timer of a flow whose backend has answered. It is not set again for each datagram.
    fn set_timer(&mut self, key: usize) {
        if let Some(flow) = self.flows.get(key) {
            let due = flow.seen.due(&flow.listener.settings().flows);
            self.deadlines.set_by(key, due);
        }
    }

    /// The flow has its backend: from now on it has the timer of such a flow, and ages.
    fn settle(&mut self, key: usize) {
        if let Some(flow) = self.flows.get(key) {
            let age = flow.lease.as_ref().and_then(|lease| lease.backend().age_max);
            self.retirements.set_age(key, flow.number, flow.seen.started, age);
        }
        self.set_timer(key);
    }

    /// Closes the socket towards the backend, and reports the end.
    fn end(&mut self, key: usize, reason: CloseReason, tools: &mut Tools, now: Instant) {
        self.deadlines.clear(key);
        self.retirements.clear(key);
        let Some((at, flow)) = self.flows.remove(key) else { return };
        self.kept_bytes -= flow.trying.as_ref().map_or(0, |trying| trying.kept_bytes());
        let ended = flow.ended(&at, reason, now);
        let Flow { listener, lease, upstream, is_counted, .. } = flow;
        if is_counted {
            listener.release(Some(at.client));
        }
        drop((lease, upstream));
        tools.end_flow(&listener, ended);
    }
}

impl Listed for Datagrams {
    fn keys_end(&self) -> usize {
        self.flows.numbers_end()
    }

    fn list(&mut self, key: usize, before: u64, found: &mut Found, tools: &Tools, now: Instant) {
        let Some(flow) = self.flows.get(key).filter(|flow| flow.number < before) else { return };
        let Some(at) = self.flows.key(key) else { return };
        let Some(Some(door)) = self.doors.get(at.door) else { return };
        let info = |rank| flow.info(rank, &at, tools.worker, door.socket.as_raw_fd(), now);
        found.offer(&flow.figures(at.client, now), || None, info);
    }

    fn refresh(&mut self, key: usize, listener: ListenerId, tools: &mut Tools, now: Instant) {
        if self.flows.get(key).is_some_and(|flow| flow.listener.id() == listener) {
            self.handle_deadline(key, tools, now);
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
        let is_there = self.flows.get(key).is_some_and(|flow| {
            let backend = flow.lease.as_ref().map(|lease| lease.backend().id);
            let idle = now.since(flow.seen.last_activity());
            let is_at_rest = &|| flow.is_settled();
            is_meant(Candidate { number: flow.number, backend, idle, is_at_rest })
        });
        if is_there {
            self.end(key, reason, tools, now);
        }
        is_there
    }

    /// Flows cannot be watched.
    fn tap(&mut self, _: usize, _: &Arc<Tap>, _: &Tools, _: Instant) -> Option<bool> {
        None
    }

    fn recall(&mut self, key: usize, before: u64, recalling: &mut Recalling, now: Instant) {
        let Some(flow) = self.flows.get(key).filter(|flow| flow.number < before) else { return };
        if let Some(lease) = flow.lease.as_ref().filter(|_| flow.is_settled())
            && let Some((at, reason)) = recalling.choose(lease.backend().id, now)
        {
            self.retirements.set(key, at, reason);
        }
    }
}

/// Whether an answer can be sent there, to one host. Source: RFC 1122, 3.2.1.3.
fn is_answerable(client: SocketAddr) -> bool {
    let is_one_host = match client.ip().to_canonical() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    client.port() != 0 && is_one_host
}

/// What a UDP flow makes of an address: a Unix socket is none for it.
fn ip_address(address: &Address) -> Result<SocketAddr, ConnectFailure> {
    match address {
        Address::Ip(address) => Ok(*address),
        Address::Unix(_) => Err(ConnectFailure::NoAddress),
    }
}
