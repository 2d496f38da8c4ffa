//! The first part of a session's life: choosing a backend and connecting to it.
//!
//! A backend may have several addresses, which are tried in turn before it counts as failed; a
//! failed backend sends the session on to the next one. All of it is over with the first byte.

use crate::event::{Event, Trace, Trouble};
use crate::session::{Phase, SOCKET_RETRY};
use crate::worker::{Worker, token};
use balancing::{Attempt, Instant, Outcome, Policy, Pool};
use relay::{CloseReason, Link, Ready, Side, SpliceMode};
use std::sync::Arc;
use sys::Errno;
use sys::net;

/// What connecting needs and relaying does not.
pub(crate) struct Trying {
    pool: Arc<Pool>,
    attempt: Attempt,
    /// Which address of the current backend.
    address: u16,
    addresses_tried: u16,
    /// How often no socket could be had.
    pub socket_waits: u16,
    last_failure: Option<CloseReason>,
}

impl Worker {
    /// Connects to the next backend, or ends the session when none is left.
    pub(crate) fn try_next(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let Some(trying) = &mut session.trying else { return };
        session.lease = trying.pool.next_backend(&mut trying.attempt, now);
        let Some(lease) = &session.lease else {
            let reason = trying.last_failure.unwrap_or(CloseReason::NoBackend);
            let cut = session.service.settings.cut;
            self.end(key, reason, Some(cut), now);
            return;
        };
        let state = &lease.backend().state;
        state.tally(self.index).count_attempt();
        trying.address = state.preferred() as u16;
        trying.addresses_tried = 0;
        if session.service.settings.observe.steps {
            let trace = trying.trace();
            self.tell(Event::Trace(trace));
        }
        self.connect(key, now);
    }

    /// Begins to connect to the current address of the current backend.
    pub(crate) fn connect(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let (Some(trying), Some(lease)) = (&mut session.trying, &session.lease) else { return };
        let addresses = &lease.backend().addresses;
        if addresses.is_empty() {
            self.connect_failed(key, Errno::ADDRNOTAVAIL, now);
            return;
        }
        let address = &addresses[usize::from(trying.address) % addresses.len()];
        let settings = &session.service.settings;
        let started = net::start_connect(address, settings.source).and_then(|socket| {
            let token = token(key, Side::Upstream, session.number);
            self.poller.add_stream(&socket, token).map_err(|_| Errno::NOMEM)?;
            Ok(socket)
        });
        match started {
            Ok(socket) => {
                trying.socket_waits = 0;
                session.upstream = Some(socket);
                session.phase = Phase::Connecting;
                self.deadlines.set(key, now + settings.connect_timeout);
            }
            Err(error) if net::is_shortage(error) => {
                trying.socket_waits = trying.socket_waits.saturating_add(1);
                session.phase = Phase::Waiting;
                self.deadlines.set(key, now + SOCKET_RETRY);
                self.pause(Trouble::Connect, now);
            }
            Err(error) => self.connect_failed(key, error, now),
        }
    }

    /// Goes on to the backend's next address, or to the next backend.
    pub(crate) fn connect_failed(&mut self, key: usize, error: Errno, now: Instant) {
        let session = &mut self.sessions[key];
        session.upstream = None;
        let (Some(trying), Some(lease)) = (&mut session.trying, &session.lease) else { return };
        trying.address += 1;
        trying.addresses_tried += 1;
        if usize::from(trying.addresses_tried) < lease.backend().addresses.len() {
            self.connect(key, now);
        } else {
            self.backend_failed(key, error, now);
        }
    }

    fn backend_failed(&mut self, key: usize, error: Errno, now: Instant) {
        let session = &mut self.sessions[key];
        let (Some(trying), Some(lease)) = (&mut session.trying, session.lease.take()) else {
            return;
        };
        let timed_out = error == Errno::TIMEDOUT;
        trying.last_failure =
            Some(if timed_out { CloseReason::ConnectTimeout } else { CloseReason::ConnectRefused });
        let place = trying.attempt.place().unwrap_or_default();
        let backend = Arc::clone(lease.backend());
        backend.state.tally(self.index).count_failure();
        let change = trying.pool.report(&mut trying.attempt, &lease, Outcome::Failure, now);
        drop(lease); // its place is free for others at once
        let service = session.service.id;
        let steps = session.service.settings.observe.steps;
        if steps {
            let (tier, index) = place;
            self.tell(Event::Trace(Trace::Failed { tier, index, timed_out }));
        }
        self.tell(Event::ConnectFailed(Arc::clone(&backend)));
        if let Some(change) = change {
            let error = Some(error.into());
            self.tell(Event::Backend { service, backend, place, change, error });
        }
        self.try_next(key, now);
    }

    /// The backend answered: relaying begins.
    pub(crate) fn connected(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let (Some(trying), Some(lease)) = (&mut session.trying, &session.lease) else { return };
        session.phase = Phase::Relaying;
        session.connect_micros =
            u32::try_from(now.since(session.started).as_micros()).unwrap_or(u32::MAX - 1);
        self.deadlines.clear(key);
        let change = trying.pool.report(&mut trying.attempt, lease, Outcome::Success, now);
        let backend = lease.backend();
        if backend.addresses.len() > 1 {
            let answering = usize::from(trying.address) % backend.addresses.len();
            backend.state.set_preferred(answering);
        }
        let place = trying.attempt.place().unwrap_or_default();
        let backend = change.map(|change| (change, Arc::clone(backend)));
        let service = session.service.id;
        if session.service.settings.observe.steps {
            self.tell(Event::Trace(Trace::Connected { index: place.1 }));
        }
        if let Some((change, backend)) = backend {
            self.tell(Event::Backend { service, backend, place, change, error: None });
        }
    }

    /// The backend went away before the first byte: as if it had not answered.
    pub(crate) fn start_over(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        session.upstream = None;
        session.upstream_writes = 0;
        session.phase = Phase::Connecting;
        session.connect_micros = u32::MAX;
        let fresh = Link::new(Ready::default(), Ready::default(), SpliceMode::Never, now);
        let link = std::mem::replace(&mut session.link, fresh);
        session.link = link.to_another(Ready::default(), now);
        self.backend_failed(key, Errno::CONNRESET, now);
    }
}

impl Trying {
    pub fn new(pool: Arc<Pool>, client_hash: u32, seed: u64) -> Self {
        Self {
            pool,
            attempt: Attempt::new(client_hash, seed),
            address: 0,
            addresses_tried: 0,
            socket_waits: 0,
            last_failure: None,
        }
    }

    fn trace(&self) -> Trace {
        let (tier, index) = self.attempt.place().unwrap_or_default();
        let rules = &self.pool.tiers[tier];
        let hash = (rules.policy == Policy::Hash).then(|| self.attempt.client_hash());
        Trace::Trying { tier, index, of: rules.backends.len(), hash }
    }
}
