//! A search for a backend, by a session or by a flow: places are taken, and results reported.

use crate::event::{Event, TlsSummary, Trace};
use crate::listener::{Connecting, Listener};
use crate::tools::Tools;
use balancing::{Attempt, Backend, Client, Lease, Outcome, Policy, Pool};
use relay::Search;
use std::net::SocketAddr;
use std::sync::Arc;
use terms::{CloseReason, ConnectFailure, Instant, ListenerId};

/// A search for a backend: where it goes on if a connect fails.
pub(crate) struct Searching {
    /// What to do next.
    pub rules: Search,
    pub pool: Arc<Pool>,
    pub attempt: Attempt,
    /// Held by a session until the backend has answered.
    pub connecting: Option<Connecting>,
    /// The backend that failed last.
    pub failed: Option<Arc<Backend>>,
    /// The TLS of the last connection that failed, if there was any. Once its backend is the one
    /// that failed last, this is there only if that was for TLS, and has the reason.
    pub failed_tls: Option<Box<TlsSummary>>,
}

impl Searching {
    /// The search of a client of this listener in this pool. `number` is that of the session.
    pub fn new(
        listener: &Listener,
        pool: Arc<Pool>,
        client: Option<SocketAddr>,
        number: u64,
        tools: &Tools,
    ) -> Self {
        let mut client = Client::new(client);
        client.country = client.address.and_then(|address| listener.country(&pool, address));
        let attempt = Attempt::new(client, tools.shared.seed ^ number);
        Self {
            rules: Search::default(),
            pool,
            attempt,
            connecting: None,
            failed: None,
            failed_tls: None,
        }
    }

    /// Tier and place of the backend taken last.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.attempt.place()
    }

    /// The trace of a connect that begins.
    pub fn trace(&self) -> Trace {
        let (tier, index) = self.attempt.place().unwrap_or_default();
        // The reject backend comes after all tiers.
        let rules = self.pool.tiers.get(tier);
        let is_hash = rules.is_some_and(|rules| rules.policy == Policy::Hash);
        let hash = is_hash.then(|| self.attempt.client_hash());
        Trace::Trying { tier, index, of: rules.map_or(1, |rules| rules.backends.len()), hash }
    }

    /// Takes a place at the next backend, if one is left.
    pub fn choose(&mut self, tools: &Tools, now: Instant) -> Option<Lease> {
        let Some(lease) = self.pool.next_backend(&mut self.attempt, now) else {
            self.rules.on_none_left(match self.attempt.is_denied() {
                true => CloseReason::Denied,
                false if self.pool.is_full(now) => CloseReason::Limit,
                false => CloseReason::NoBackend,
            });
            return None;
        };
        let backend = lease.backend();
        backend.state.tally(tools.worker).count_attempt();
        self.rules.on_offer(backend.addresses.len(), backend.state.preferred());
        Some(lease)
    }

    /// Reports that the backend has failed, and returns its place.
    pub fn report_failure(
        &mut self,
        listener: ListenerId,
        lease: Lease,
        failure: ConnectFailure,
        tools: &mut Tools,
        now: Instant,
    ) {
        let place = self.place().unwrap_or_default();
        let backend = Arc::clone(lease.backend());
        backend.state.tally(tools.worker).count_failure(failure.kind());
        let change = self.pool.report(&mut self.attempt, &lease, Outcome::Failure, now);
        drop(lease); // its place is free for others at once
        self.rules.on_reported();
        self.failed = Some(Arc::clone(&backend));
        self.failed_tls = explained(self.failed_tls.take(), failure);
        tools.outbox.tell(Event::ConnectFailed(Arc::clone(&backend)));
        if let Some(change) = change {
            let failure = Some(failure);
            tools.outbox.tell(Event::Backend { listener, backend, place, change, failure });
        }
    }

    /// Reports that the backend has answered.
    pub fn report_success(
        &mut self,
        listener: ListenerId,
        lease: &Lease,
        tools: &mut Tools,
        now: Instant,
    ) {
        let change = self.pool.report(&mut self.attempt, lease, Outcome::Success, now);
        let backend = lease.backend();
        if backend.addresses.len() > 1 {
            backend.state.set_preferred(self.rules.address());
        }
        if let Some(change) = change {
            let (backend, place) = (Arc::clone(backend), self.place().unwrap_or_default());
            tools.outbox.tell(Event::Backend { listener, backend, place, change, failure: None });
        }
    }
}

/// The TLS of a backend, with the reason in the words of the line about the backend; `None` if the
/// `failure` was another one.
fn explained(tls: Option<Box<TlsSummary>>, failure: ConnectFailure) -> Option<Box<TlsSummary>> {
    let reason = match failure {
        ConnectFailure::Tls(fault) => fault.to_string(),
        ConnectFailure::NoTls => failure.to_string(),
        _ => return None,
    };
    let mut tls = tls.unwrap_or_default();
    tls.failure = Some(reason);
    Some(tls)
}
