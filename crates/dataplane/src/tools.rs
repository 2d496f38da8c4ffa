//! What a worker's sessions use one after another.

use crate::event::{Ended, Event, Trouble};
use crate::listener::Listener;
use crate::outbox::Outbox;
use crate::pipes::Pipes;
use crate::secure::Records;
use crate::shared::Shared;
use crate::shortage::{Portless, Shortages};
use crate::tap::Tap;
use balancing::Affinity;
use relay::READ_BYTES_MAX;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use sys::epoll::Poller;
use sys::net::Source;
use terms::{Address, Instant};

/// A worker's poller, buffer, pipes and so on. None of it belongs to one session.
pub(crate) struct Tools {
    /// The worker's number.
    pub worker: usize,
    pub shared: Arc<Shared>,
    /// Sessions and flows begun so far, from which their numbers follow.
    pub begun: u64,
    pub poller: Poller,
    pub buffer: Box<[u8]>,
    /// A header for a backend, or a client's bytes as they were rewritten, until they are written.
    pub rewritten: Vec<u8>,
    /// Where TLS records pass. Empty until a connection has some.
    pub records: Records,
    pub pipes: Pipes,
    pub outbox: Outbox,
    pub shortages: Shortages,
    pub portless: Portless,
    /// What is to be watched of sessions that get their backend.
    pub taps: Vec<Arc<Tap>>,
    /// Whether accepting is to pause, for want of file descriptors or memory.
    pub must_pause: bool,
}

/// Bytes a session may copy, or a quarter of those it may splice, before others have their turn.
pub(crate) const BUDGET: usize = READ_BYTES_MAX;
/// How much memory for rewritten requests is kept, in bytes. A burst of tiny ones needs more.
const REWRITTEN_KEPT: usize = 64 << 10;

impl Tools {
    pub fn new(worker: usize, shared: Arc<Shared>, poller: Poller, outbox: Outbox) -> Self {
        let pipes = Pipes::new(shared.pipes_most);
        Self {
            worker,
            shared,
            begun: 0,
            poller,
            // Fresh zeroed memory costs nothing until bulk data touches it.
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            rewritten: Vec::new(),
            records: Records::default(),
            pipes,
            outbox,
            shortages: Shortages::default(),
            portless: Portless::default(),
            taps: Vec::new(),
            must_pause: false,
        }
    }

    /// The number of the next session or flow to begin. Those before have lower ones.
    pub fn next_number(&self) -> u64 {
        self.begun * self.shared.workers.len() as u64 + self.worker as u64 + 1
    }

    /// Numbers sessions and flows from this number on.
    pub fn number_from(&mut self, number: u64) {
        self.begun = self.begun.max(number / self.shared.workers.len() as u64 + 1);
    }

    /// Deals with a lack of file descriptors or memory: gives back what can be spared, and has
    /// accepting pause.
    pub fn run_out_of_descriptors(&mut self, now: Instant) {
        self.pipes.shrink();
        self.shared.measure_descriptors();
        self.must_pause = true;
        self.shortages.note(Trouble::Descriptors, &mut self.outbox, now);
    }

    /// Deals with a lack of local ports towards a backend, which concerns only sessions for it.
    pub fn run_out_of_ports(&mut self, address: &Address, source: Source, now: Instant) {
        self.portless.add(address, source, now);
        self.shortages.note(Trouble::Ports, &mut self.outbox, now);
    }

    /// Gives back what a session took up, and reports its end. It has closed its sockets and
    /// returned its place at the backend.
    pub fn end_session(&mut self, listener: &Listener, affinity: Option<&Affinity>, ended: Ended) {
        self.shared.workers[self.worker].sessions.fetch_sub(1, Relaxed);
        self.report_end(listener, affinity, ended);
    }

    /// Likewise for a flow.
    pub fn end_flow(&mut self, listener: &Listener, ended: Ended) {
        self.shared.workers[self.worker].uncount_flow();
        self.report_end(listener, listener.pool().affinity.as_deref(), ended);
    }

    fn report_end(&mut self, listener: &Listener, affinity: Option<&Affinity>, ended: Ended) {
        if let Some(affinity) = affinity {
            let client = ended.client.map(|client| client.ip());
            affinity.add_bytes(client, ended.received_bytes, ended.sent_bytes);
        }
        if let (Some(backend), Some(path)) = (&ended.backend, ended.backend_path) {
            backend.state.tally(self.worker).count_path(path.round_trip(), path.retransmits);
        }
        listener.ledger(self.worker).count_end(&ended);
        listener.end_session();
        self.shared.made_room(listener);
        self.outbox.tell(Event::Ended(ended));
    }

    /// Forgets what was rewritten.
    pub fn clear_rewritten(&mut self) {
        self.rewritten.clear();
        self.rewritten.shrink_to(REWRITTEN_KEPT);
    }
}
