//! What all sessions of a worker use in turn.

use crate::event::Trouble;
use crate::outbox::Outbox;
use crate::pipes::Pipes;
use crate::shared::Shared;
use crate::shortage::Shortages;
use relay::READ_BYTES_MAX;
use std::sync::Arc;
use sys::epoll::Poller;
use terms::Instant;

/// A worker's one poller, one buffer and so on; none of it belongs to a session.
pub(crate) struct Tools {
    /// Which worker.
    pub worker: usize,
    pub shared: Arc<Shared>,
    pub poller: Poller,
    pub buffer: Box<[u8]>,
    /// What a client's bytes were rewritten to, on their way out.
    pub rewritten: Vec<u8>,
    pub pipes: Pipes,
    pub outbox: Outbox,
    pub shortages: Shortages,
    /// Whether accepting is to pause, since there is no descriptor or memory for a session.
    pub must_pause: bool,
}

/// Bytes a session may move before others have their turn.
pub(crate) const BUDGET: usize = READ_BYTES_MAX;
/// Room for rewritten requests is kept up to so many bytes; a burst of tiny ones needs more.
const REWRITTEN_KEPT: usize = 64 << 10;

impl Tools {
    pub fn new(worker: usize, shared: Arc<Shared>, poller: Poller, outbox: Outbox) -> Self {
        let pipes = Pipes::new(shared.pipes_most);
        Self {
            worker,
            shared,
            poller,
            // Fresh zeroed memory costs nothing until bulk data touches it.
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            rewritten: Vec::new(),
            pipes,
            outbox,
            shortages: Shortages::default(),
            must_pause: false,
        }
    }

    /// There is no descriptor or memory for something: gives back what can be spared, and has
    /// accepting pause.
    pub fn run_out_of_descriptors(&mut self, now: Instant) {
        self.pipes.shrink();
        self.shared.measure_descriptors();
        self.must_pause = true;
        self.shortages.note(Trouble::Descriptors, &mut self.outbox, now);
    }

    /// There is no local port towards a backend, which only those who want to go there feel.
    pub fn run_out_of_ports(&mut self, now: Instant) {
        self.shortages.note(Trouble::Ports, &mut self.outbox, now);
    }

    /// Forgets what was rewritten.
    pub fn clear_rewritten(&mut self) {
        self.rewritten.clear();
        self.rewritten.shrink_to(REWRITTEN_KEPT);
    }
}
