//! Flows that go to another process, and those that come from one.

use super::Datagrams;
use super::flow::{Flow, Introduction, Trying, Upstream};
use crate::event::Trouble;
use crate::moving::{FlowState, FreezingFlows, MovingFlow};
use crate::token::Token;
use crate::tools::Tools;
use relay::{FlowIds, FlowKey, Incarnation};
use std::os::fd::AsFd;
use std::time::Duration;
use sys::datagram::cookie;
use sys::net;
use terms::{Address, CloseReason, Instant};

/// How long nothing is received at a socket because flows may come first. Another process that has
/// been stopped in the middle does not keep clients waiting for longer.
const FLOWS_WITHIN: Duration = Duration::from_secs(2);

impl Datagrams {
    /// Gives up flows from a key on.
    pub fn freeze(&mut self, first_key: usize, count: usize, tools: &mut Tools) -> FreezingFlows {
        let mut flows = Vec::new();
        let mut key = first_key;
        let end = self.flows.numbers_end();
        while key < end && flows.len() < count {
            flows.extend(self.freeze_one(key, tools));
            key += 1;
        }
        FreezingFlows { flows, next_key: (key < end).then_some(key) }
    }

    fn freeze_one(&mut self, key: usize, tools: &mut Tools) -> Option<MovingFlow> {
        let is_bound = self.flows.is_bound(key);
        let (FlowKey { door, client, local, .. }, flow) = self.flows.remove(key)?;
        self.deadlines.clear(key);
        self.retirements.clear(key);
        let kept = flow.trying.map(|trying| trying.kept);
        let is_trying = kept.is_some();
        let kept = kept.unwrap_or_default();
        self.kept_bytes -= kept.iter().map(|bytes| bytes.len()).sum::<usize>();
        if let Some(upstream) = &flow.upstream {
            // A copy in another process keeps the socket open, and in the poller.
            let _ = tools.poller.remove(&upstream.socket);
        }
        if flow.is_counted {
            flow.listener.release(Some(client));
        }
        tools.shared.workers[tools.worker].uncount_flow();
        let door = self.doors.get(door).and_then(Option::as_ref);
        let Introduction { announced, header } = *flow.introduction.unwrap_or_default();
        let state = FlowState {
            number: flow.number,
            door: door.map_or(0, |door| cookie(door.socket())),
            client,
            announced,
            header,
            local,
            is_bound,
            is_trying,
            counts: flow.seen.counts(),
            connect_micros: flow.connect_micros,
            is_acquainted: flow.ids.is_some_and(|ids| ids.is_acquainted()),
        };
        let upstream = flow.lease.zip(flow.upstream.map(|it| it.socket));
        let (listener, worker) = (flow.listener, Some(tools.worker));
        Some(MovingFlow { state, upstream, kept, listener, worker })
    }

    /// Continues a flow from another process, or one that has not found another.
    pub fn resume(&mut self, moving: MovingFlow, tools: &mut Tools, now: Instant) {
        let MovingFlow { mut state, upstream, kept, listener, .. } = moving;
        let mut doors = self.doors.iter().enumerate();
        let has_it = |door: &super::Door| cookie(door.socket()) == state.door;
        let door = doors.find(|(_, door)| door.as_ref().is_some_and(has_it)).map(|(it, _)| it);
        let seen = relay::Flow::resume(&state.counts);
        let mut trying = (state.is_trying || upstream.is_none())
            .then(|| Trying::new(&listener, state.client, state.number, tools));
        let mut lease_and_socket = None;
        if let Some((lease, socket)) = upstream
            && let Some(address) = net::peer_address(socket.as_fd())
        {
            if let Some(trying) = &mut trying {
                // As if this process had sent what was kept.
                let addresses = &lease.backend().addresses;
                let is_it = |it: &Address| *it == Address::Ip(address);
                let place = addresses.iter().position(is_it).unwrap_or(0);
                trying.search.rules.on_offer(addresses.len().max(1), place);
                trying.search.rules.on_started(now);
                trying.is_settled = seen.is_answered();
            }
            lease_and_socket = Some((lease, socket));
        }
        if let Some(trying) = &mut trying {
            self.kept_bytes += kept.iter().map(|bytes| bytes.len()).sum::<usize>();
            trying.kept = kept;
        }
        let (lease, upstream) = lease_and_socket.map_or((None, None), |(lease, socket)| {
            let incarnation = Incarnation::default();
            (Some(lease), Some(Upstream { ecn: None, ..Upstream::new(socket, incarnation) }))
        });
        let is_proven = seen.is_proven();
        let (announced, header) = (state.announced.take(), std::mem::take(&mut state.header));
        let proxy = announced.as_ref().and_then(|it| it.peer);
        let is_introduced = announced.is_some() || !header.is_empty();
        let introduction = is_introduced.then(|| Box::new(Introduction { announced, header }));
        let is_counted = listener.adopt(Some(state.client), now);
        let flow = Flow {
            number: state.number,
            listener,
            is_counted,
            seen,
            lease,
            upstream,
            incarnation: Incarnation::default(),
            trying: trying.map(Box::new),
            connect_micros: state.connect_micros,
            ids: state.is_acquainted.then(|| Box::new(FlowIds::new(true))),
            introduction,
        };
        let (client, local) = (state.client, state.local);
        let at = FlowKey { door: door.unwrap_or_default(), client, proxy, local };
        if door.is_none() {
            return self.lose(flow, &at, tools, now);
        }
        // The client may have begun another one, if this one comes late.
        let key = match state.is_bound && self.flows.find(&at).is_none() {
            true => self.flows.insert(at, flow),
            false => self.flows.insert_unbound(at, flow),
        };
        self.flows.touch(key, is_proven);
        let flow = self.flows.get(key);
        if let Some(upstream) = flow.and_then(|flow| flow.upstream.as_ref()) {
            let token =
                Token::Flow { key, number: state.number, incarnation: upstream.incarnation };
            if tools.poller.add_listener(&upstream.socket, token.to_number()).is_err() {
                tools.shortages.note(Trouble::Descriptors, &mut tools.outbox, now);
                return self.end(key, CloseReason::NoSocket, tools, now);
            }
        }
        if flow.is_some_and(|flow| flow.is_settled()) {
            self.settle(key);
        }
        self.seek(key, tools, now);
    }

    /// Reports a flow whose door is not there.
    fn lose(&mut self, flow: Flow, at: &FlowKey, tools: &mut Tools, now: Instant) {
        self.kept_bytes -= flow.trying.as_ref().map_or(0, |trying| trying.kept_bytes());
        let ended = flow.ended(at, CloseReason::NoSocket, now);
        if flow.is_counted {
            flow.listener.release(Some(at.client));
        }
        let listener = flow.listener.clone();
        drop(flow);
        tools.end_flow(&listener, ended);
    }

    /// Receives nothing at sockets that are opened from now on: flows may come first.
    pub fn await_flows(&mut self, now: Instant) {
        self.watched_from = Some(now + FLOWS_WITHIN);
    }

    /// Receives at all open sockets.
    pub fn watch_all(&mut self, tools: &Tools) {
        if self.watched_from.take().is_some() {
            self.doors.iter_mut().flatten().filter(|it| it.is_open).for_each(|it| it.watch(tools));
        }
    }
}
