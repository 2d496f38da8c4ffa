//! A flow's way to a backend that answers.
//!
//! The rules are those of a session of TCP (`relay::Search`). The client's first datagrams are sent
//! to each backend that is tried, until one answers.

use super::announcing::introduce;
use super::flow::{Trying, Upstream};
use super::{Datagrams, ip_address};
use crate::connect::{source, tell_fault};
use crate::event::Event;
use crate::session::NOT_YET;
use crate::token::Token;
use crate::tools::Tools;
use relay::SearchStep;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use sys::datagram::{connect_udp, peer_failure};
use terms::{CloseReason, ConnectFailure, FlowRules, Instant, Timeouts};

/// Steps that a search may take at once, enough for some twenty backends that fail.
const STEPS_MAX: usize = 64;
/// How long datagrams are kept for another backend, if nobody waits for an answer. What ICMP has to
/// say comes sooner.
const SILENCE: Duration = Duration::from_secs(1);

/// The time-outs of a search: what a connect is for TCP is the wait for the first answer here.
fn timeouts(rules: &FlowRules) -> Timeouts {
    Timeouts { connect: rules.retry_after.unwrap_or(SILENCE), ..Timeouts::default() }
}

impl Datagrams {
    /// Continues the search of a flow until it has to wait.
    pub(super) fn seek(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        for _ in 0..STEPS_MAX {
            let Some(flow) = self.flows.get_mut(key) else { return };
            let Some(trying) = &flow.trying else { return };
            let rules = flow.listener.settings().flows;
            match trying.search.rules.next_step(&timeouts(&rules)) {
                SearchStep::Choose => self.choose(key, tools, now),
                SearchStep::Connect(address) => self.connect(key, address, tools, now),
                SearchStep::Report(failure) => self.report(key, failure, tools, now),
                SearchStep::Wait(until) => {
                    let due = until.min(flow.seen.due(&rules));
                    return self.deadlines.set(key, due);
                }
                SearchStep::GiveUp(reason) => return self.end(key, reason, tools, now),
                SearchStep::Relay => return,
            }
        }
        self.deadlines.set(key, now);
    }

    /// Takes a place at the next backend.
    fn choose(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let Some(trying) = &mut flow.trying else { return };
        flow.lease = trying.search.choose(tools, now);
    }

    /// Opens a socket towards an address of the backend, and sends what was kept.
    fn connect(&mut self, key: usize, address: usize, tools: &mut Tools, now: Instant) {
        let Some(at) = self.flows.key(key) else { return };
        let door = self.doors.get(at.door).and_then(Option::as_ref);
        let own_address = door.and_then(|door| door.destination(at.local));
        let Some(flow) = self.flows.get_mut(key) else { return };
        let (Some(trying), Some(lease)) = (&mut flow.trying, &flow.lease) else { return };
        let settings = flow.listener.settings();
        let timeouts = timeouts(&settings.flows);
        let incarnation = flow.incarnation.next();
        let token = Token::Flow { key, number: flow.number, incarnation };
        let address = &lease.backend().addresses[address];
        let (source, mut fault) = source(&settings, trying.search.attempt.client(), address);
        let opened = ip_address(address).and_then(|address| {
            if tools.shared.is_our_own_door(address) {
                return Err(ConnectFailure::Loop);
            }
            let (socket, refused) = connect_udp(address, source)?;
            let watched = tools.poller.add_listener(&socket, token.to_number());
            watched.map_err(|_| ConnectFailure::NoSocket)?;
            Ok((Upstream::new(socket, incarnation), refused))
        });
        let failure = match opened {
            Ok((mut upstream, refused)) => {
                flow.incarnation = incarnation;
                fault = fault.or(refused.map(|error| crate::SourceFault::Refused(error.into())));
                trying.search.rules.on_started(now);
                let tally = lease.backend().state.tally(tools.worker);
                let mut failure = None;
                let format = lease.backend().send_proxy.or(trying.search.pool.send_proxy);
                let own_id = || tools.shared.unique_id(flow.number);
                introduce(&mut flow.introduction, format, at.client, own_address, own_id);
                let header = flow.introduction.as_ref().map_or(&[][..], |it| &it.header);
                for bytes in &trying.kept {
                    match upstream.transmit(header, (bytes, trying.ecn), &flow.listener) {
                        Ok(_) => {
                            tally.count_sent(bytes.len());
                            upstream.answers_due += 1;
                        }
                        Err(error) => failure = peer_failure(error),
                    }
                }
                flow.upstream = Some(upstream);
                failure
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            let current = trying.search.rules.incarnation();
            trying.search.rules.on_failed(current, failure, &timeouts, now);
            flow.upstream = None;
        }
        let listener = Arc::clone(&flow.listener);
        drop(settings);
        tell_fault(fault, &listener, tools);
        if failure == Some(ConnectFailure::NoSocket) {
            self.make_room(key, tools, now);
        }
    }

    /// Ends the flow that has been idle for longest, since there is no socket for this one.
    fn make_room(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        tools.shortages.note(crate::Trouble::Flows, &mut tools.outbox, now);
        let door = self.flows.key(key).map(|key| key.door);
        let oldest = door.and_then(|door| self.flows.oldest(door)).filter(|it| *it != key);
        if let Some(oldest) = oldest {
            self.end(oldest, CloseReason::Evicted, tools, now);
        }
    }

    /// Reports a backend that failed, and returns its place.
    fn report(&mut self, key: usize, failure: ConnectFailure, tools: &mut Tools, now: Instant) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let (Some(trying), Some(lease)) = (&mut flow.trying, flow.lease.take()) else { return };
        flow.upstream = None;
        flow.ids = None;
        trying.is_settled = false;
        let rules = flow.listener.settings().flows;
        let since = rules.retry_after.map_or(now, |time| now - time);
        if failure == ConnectFailure::TimedOut && lease.backend().state.has_answered_since(since) {
            // It answers others: the datagram was lost, or the answer takes its time.
            trying.search.failed = Some(Arc::clone(lease.backend()));
            trying.search.pool.pass_over(&mut trying.search.attempt);
            return trying.search.rules.on_reported();
        }
        lease.backend().state.latency().observe(timeouts(&rules).connect, now);
        trying.search.report_failure(flow.listener.id(), lease, failure, tools, now);
    }

    /// The backend of a flow cannot be reached: the flow moves to another one, which gets the
    /// datagrams that were kept, or else this one if there is room to keep it. Returns whether it
    /// is kept.
    pub(super) fn fail(
        &mut self,
        key: usize,
        failure: ConnectFailure,
        datagram: Option<(&[u8], u8)>,
        tools: &mut Tools,
        now: Instant,
    ) -> bool {
        let room = self.room_to_keep();
        let Some(at) = self.flows.key(key) else { return false };
        let Some(flow) = self.flows.get_mut(key) else { return false };
        let timeouts = timeouts(&flow.listener.settings().flows);
        flow.upstream = None;
        let mut kept = None;
        let trying = flow.trying.get_or_insert_with(|| {
            let (listener, number) = (&flow.listener, flow.number);
            let mut trying = Trying::settled(listener, at.client, number, tools, now);
            kept = datagram.filter(|(bytes, ecn)| trying.keep(bytes, *ecn, room));
            Box::new(trying)
        });
        self.kept_bytes += kept.map_or(0, |(bytes, _)| bytes.len());
        let current = trying.search.rules.incarnation();
        trying.search.rules.on_failed(current, failure, &timeouts, now);
        self.seek(key, tools, now);
        kept.is_some()
    }

    /// Keeps a datagram for the next backend, if there is room. With `--retry-after`, a datagram
    /// after an answer is kept as well: ICMP may still say that this backend does not get it.
    pub(super) fn keep(
        &mut self,
        key: usize,
        (bytes, ecn): (&[u8], u8),
        rules: &FlowRules,
        tools: &Tools,
        now: Instant,
    ) -> bool {
        let room = self.room_to_keep();
        if rules.retry_after.is_some()
            && let Some(at) = self.flows.key(key)
            && let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.trying.is_none())
        {
            let (listener, number) = (&flow.listener, flow.number);
            let trying = Trying::settled(listener, at.client, number, tools, now);
            flow.trying = Some(Box::new(trying));
        }
        let Some(flow) = self.flows.get_mut(key) else { return false };
        let Some(trying) = &mut flow.trying else { return false };
        let is_kept = trying.keep(bytes, ecn, room);
        if is_kept {
            self.kept_bytes += bytes.len();
            if trying.kept.len() == 1 && flow.upstream.is_some() {
                trying.search.rules.on_asked(now);
                self.deadlines.set_by(key, now + timeouts(rules).connect);
            }
        }
        is_kept
    }

    /// No answer has come for a while, or a socket may be available now.
    pub(super) fn handle_silence(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let Some(trying) = &mut flow.trying else { return };
        let rules = flow.listener.settings().flows;
        let timeouts = timeouts(&rules);
        if flow.upstream.is_some() {
            let is_settled = trying.is_settled;
            if !is_settled && rules.retry_after.is_some() {
                if trying.kept.is_empty() {
                    return self.set_timer(key); // a backend that was sent nothing owes no answer
                }
            } else if now.since(trying.search.rules.since()) >= timeouts.connect {
                // Nobody may ever answer, as to syslog.
                self.kept_bytes -= trying.kept_bytes();
                flow.trying = None;
                if is_settled {
                    return self.set_timer(key);
                }
                self.settle(key);
                return self.tell_start(key, tools, now);
            }
        }
        trying.search.rules.on_deadline(&timeouts, now);
        self.seek(key, tools, now);
    }

    /// The backend has answered.
    pub(super) fn answered(&mut self, key: usize, tools: &mut Tools, now: Instant) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let (Some(mut trying), Some(lease)) = (flow.trying.take(), &flow.lease) else { return };
        self.kept_bytes -= trying.kept_bytes();
        if trying.is_settled {
            return;
        }
        let waited = now.since(trying.search.rules.since());
        lease.backend().state.latency().observe(waited, now);
        lease.backend().state.tally(tools.worker).count_answer(waited);
        trying.search.rules.on_answered(trying.search.rules.incarnation(), now);
        let took = now.since(flow.seen.started);
        flow.connect_micros = u32::try_from(took.as_micros()).unwrap_or(NOT_YET - 1);
        lease.backend().state.tally(tools.worker).count_first_byte(took);
        trying.search.report_success(flow.listener.id(), lease, tools, now);
        self.settle(key);
        self.tell_start(key, tools, now);
    }

    /// Reports a flow that just got its backend, if anybody wants to know.
    fn tell_start(&self, key: usize, tools: &mut Tools, now: Instant) {
        if let (Some(flow), Some(at)) = (self.flows.get(key), self.flows.key(key))
            && flow.listener.settings().observe.starts
            && let Some(Some(door)) = self.doors.get(at.door)
        {
            let info = flow.info(0, &at, tools.worker, door.socket.as_raw_fd(), now);
            tools.outbox.tell(Event::Started(Box::new(info)));
        }
    }
}
