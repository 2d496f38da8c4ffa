//! The first part of a session's life: choosing a backend and connecting to it.
//!
//! A backend may have several addresses, which are tried in turn before it counts as failed; a
//! failed backend sends the session on to the next one. All of it is over with the first byte.

use crate::event::{Event, SourceFault, Trace, Trouble};
use crate::listener::Connecting;
use crate::session::{KEEP_ALIVE_AFTER, Phase, SOCKET_RETRY};
use crate::worker::{Worker, token};
use balancing::{Attempt, Client, Outcome, Policy, Pool};
use relay::{Link, Ready};
use slab::Slab;
use std::num::NonZeroU32;
use std::sync::Arc;
use sys::Errno;
use sys::net;
use terms::{Address, CloseReason, Instant, Side, Source, SpliceMode};

/// What connecting needs and relaying does not.
pub(crate) struct Search {
    pool: Arc<Pool>,
    attempt: Attempt,
    /// Which address of the current backend.
    address: u16,
    addresses_tried: u16,
    /// How often no socket could be had.
    pub socket_waits: u16,
    last_failure: Option<CloseReason>,
    /// Held until the backend has answered.
    connecting: Option<Connecting>,
}

/// The searches of a worker's sessions, in one block of memory that is given back when the last
/// one is over: thousands may begin at once, and none lasts.
#[derive(Default)]
pub(crate) struct Searches(Slab<Search>);

/// Names a search; a session has one until its first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchKey(NonZeroU32);

impl Searches {
    pub fn begin(&mut self, search: Search) -> SearchKey {
        let index = self.0.insert(search) as u32;
        SearchKey(NonZeroU32::MIN.saturating_add(index))
    }

    pub fn get(&mut self, key: Option<SearchKey>) -> Option<&mut Search> {
        self.0.get_mut(key?.index())
    }

    pub fn finish(&mut self, key: Option<SearchKey>) {
        if let Some(key) = key {
            self.0.remove(key.index());
            if self.0.is_empty() && self.0.capacity() > KEPT {
                self.0 = Slab::new();
            }
        }
    }
}

/// Room for so many searches is kept.
const KEPT: usize = 256;

impl SearchKey {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Worker {
    /// Connects to the next backend, or ends the session when none is left.
    pub(crate) fn try_next(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let Some(search) = self.searches.get(session.search) else { return };
        session.lease = search.pool.next_backend(&mut search.attempt, now);
        let Some(lease) = &session.lease else {
            let none_tried = if search.attempt.is_denied() {
                CloseReason::Denied
            } else {
                CloseReason::NoBackend
            };
            let reason = search.last_failure.unwrap_or(none_tried);
            let cut = session.listener.settings().cut;
            self.end(key, reason, Some(cut), now);
            return;
        };
        let state = &lease.backend().state;
        state.tally(self.index).count_attempt();
        search.address = state.preferred() as u16;
        search.addresses_tried = 0;
        if session.listener.settings().observe.steps {
            let trace = search.trace();
            self.tell(Event::Trace(trace));
        }
        self.connect(key, now);
    }

    /// Begins to connect to the current address of the current backend.
    pub(crate) fn connect(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let (Some(search), Some(lease)) = (self.searches.get(session.search), &session.lease)
        else {
            return;
        };
        let addresses = &lease.backend().addresses;
        if addresses.is_empty() {
            self.connect_failed(key, Errno::ADDRNOTAVAIL, now);
            return;
        }
        let address = &addresses[usize::from(search.address) % addresses.len()];
        let settings = session.listener.settings();
        let client = search.attempt.client();
        let (source, mut fault) = match settings.source {
            Source::System => (net::Source::System, None),
            Source::Fixed(source) => (net::Source::Own(source), None),
            Source::Client => client_source(client, address),
        };
        let started = net::start_connect(address, source).and_then(|(socket, refused)| {
            let token = token(key, Side::Upstream, session.number);
            self.poller.add_stream(&socket, token).map_err(|_| Errno::NOMEM)?;
            fault = fault.take().or(refused.map(|error| SourceFault::Refused(error.into())));
            Ok(socket)
        });
        if let Some(fault) = fault
            && session.listener.is_news(&fault)
        {
            self.outbox.push(Event::SourceUnusable { listener: session.listener.id(), fault });
        }
        match started {
            Ok(socket) => {
                search.socket_waits = 0;
                session.upstream = Some(socket);
                session.is_unix[Side::Upstream as usize] = matches!(address, Address::Unix(_));
                session.phase = Phase::Connecting;
                self.deadlines.set(key, now + settings.timeouts.connect);
            }
            Err(error) if net::is_shortage(error) => {
                search.socket_waits = search.socket_waits.saturating_add(1);
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
        let (Some(search), Some(lease)) = (self.searches.get(session.search), &session.lease)
        else {
            return;
        };
        search.address += 1;
        search.addresses_tried += 1;
        if usize::from(search.addresses_tried) < lease.backend().addresses.len() {
            self.connect(key, now);
        } else {
            self.backend_failed(key, error, now);
        }
    }

    fn backend_failed(&mut self, key: usize, error: Errno, now: Instant) {
        let session = &mut self.sessions[key];
        let (Some(search), Some(lease)) = (self.searches.get(session.search), session.lease.take())
        else {
            return;
        };
        let timed_out = error == Errno::TIMEDOUT;
        search.last_failure =
            Some(if timed_out { CloseReason::ConnectTimeout } else { CloseReason::ConnectRefused });
        let place = search.attempt.place().unwrap_or_default();
        let backend = Arc::clone(lease.backend());
        backend.state.tally(self.index).count_failure();
        let change = search.pool.report(&mut search.attempt, &lease, Outcome::Failure, now);
        drop(lease); // its place is free for others at once
        let listener = session.listener.id();
        let steps = session.listener.settings().observe.steps;
        if steps {
            let (tier, index) = place;
            self.tell(Event::Trace(Trace::Failed { tier, index, timed_out }));
        }
        self.tell(Event::ConnectFailed(Arc::clone(&backend)));
        if let Some(change) = change {
            let error = Some(error.into());
            self.tell(Event::Backend { listener, backend, place, change, error });
        }
        self.try_next(key, now);
    }

    /// The backend answered: relaying begins.
    pub(crate) fn connected(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let (Some(search), Some(lease)) = (self.searches.get(session.search), &session.lease)
        else {
            return;
        };
        session.phase = Phase::Relaying;
        session.link.on_connected(now);
        session.connect_micros =
            u32::try_from(now.since(session.started).as_micros()).unwrap_or(u32::MAX - 1);
        drop(search.connecting.take());
        let settings = session.listener.settings();
        let first = session.link.deadline(&settings.timeouts).unwrap_or(now + KEEP_ALIVE_AFTER);
        self.deadlines.set(key, first.min(now + KEEP_ALIVE_AFTER));
        let change = search.pool.report(&mut search.attempt, lease, Outcome::Success, now);
        let backend = lease.backend();
        if backend.addresses.len() > 1 {
            let answering = usize::from(search.address) % backend.addresses.len();
            backend.state.set_preferred(answering);
        }
        let place = search.attempt.place().unwrap_or_default();
        let backend = change.map(|change| (change, Arc::clone(backend)));
        let listener = Arc::clone(&session.listener);
        self.made_room(&listener);
        if settings.observe.steps {
            self.tell(Event::Trace(Trace::Connected { index: place.1 }));
        }
        let listener = listener.id();
        if let Some((change, backend)) = backend {
            self.tell(Event::Backend { listener, backend, place, change, error: None });
        }
    }

    /// The backend went away before the first byte: as if it had not answered.
    pub(crate) fn start_over(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        session.upstream = None;
        session.upstream_writes = 0;
        session.phase = Phase::Connecting;
        session.connect_micros = u32::MAX;
        if let Some(search) = self.searches.get(session.search) {
            search.connecting = Some(Connecting::new(&session.listener));
        }
        let fresh = Link::new(Ready::default(), Ready::default(), SpliceMode::Never, now);
        let link = std::mem::replace(&mut session.link, fresh);
        session.link = link.to_another(Ready::default(), now);
        self.backend_failed(key, Errno::CONNRESET, now);
    }
}

/// The client's address as one to connect from, or why the system is to choose.
fn client_source(client: &Client, backend: &Address) -> (net::Source, Option<SourceFault>) {
    let Some(client) = client.plain_address() else {
        return (net::Source::System, Some(SourceFault::NoAddress));
    };
    match backend {
        Address::Ip(backend) if backend.is_ipv4() == client.is_ipv4() => {
            (net::Source::Foreign(client), None)
        }
        _ => (net::Source::System, Some(SourceFault::Family)),
    }
}

impl Search {
    pub fn new(pool: Arc<Pool>, client: Client, seed: u64, connecting: Connecting) -> Self {
        Self {
            pool,
            attempt: Attempt::new(client, seed),
            address: 0,
            addresses_tried: 0,
            socket_waits: 0,
            last_failure: None,
            connecting: Some(connecting),
        }
    }

    /// Tier and place of the backend taken last.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.attempt.place()
    }

    fn trace(&self) -> Trace {
        let (tier, index) = self.attempt.place().unwrap_or_default();
        // The reject backend is behind all tiers.
        let rules = self.pool.tiers.get(tier);
        let is_hash = rules.is_some_and(|rules| rules.policy == Policy::Hash);
        let hash = is_hash.then(|| self.attempt.client_hash());
        Trace::Trying { tier, index, of: rules.map_or(1, |rules| rules.backends.len()), hash }
    }
}
