//! Reports data that passes: `balance -p`, and pen's debugging.

use crate::event::{Event, REQUEST_BYTES_MAX};
use crate::listener::Observe;
use balancing::Backend;
use relay::{Fault, Received};
use std::net::SocketAddr;
use std::sync::Arc;
use terms::Side;

/// What is reported about a session's data, and for which session.
pub(crate) struct Watch<'a> {
    pub observe: Observe,
    pub client: Option<SocketAddr>,
    pub backend: &'a Arc<Backend>,
    /// Whether an end was reported: the original reports only the first.
    pub end_reported: &'a mut bool,
    pub events: &'a mut Vec<Event>,
}

/// The largest block reported: what the original balance reads at once.
const BLOCK_BYTES_MAX: usize = 32_768;

impl Watch<'_> {
    /// How much of `size` to read at once.
    pub fn read_size(&self, size: usize) -> usize {
        if self.observe.blocks { size.min(BLOCK_BYTES_MAX) } else { size }
    }

    /// Whether data from this side must pass through memory.
    pub fn sees(&self, from: Side) -> bool {
        self.observe.blocks || from == Side::Downstream
    }

    /// Reports the result of a read, or its failure.
    pub fn tell_block(&mut self, from: Side, bytes: &[u8], result: Result<Received, Fault>) {
        if !self.observe.blocks {
            return;
        }
        let bytes = match result {
            Ok(_) => Some(bytes.to_vec()),
            Err(Fault::Lost) => None,
            Err(_) => return,
        };
        let is_end = bytes.as_ref().is_none_or(Vec::is_empty);
        if is_end && std::mem::replace(self.end_reported, true) {
            return;
        }
        let backend = Arc::clone(self.backend);
        self.events.push(Event::Block { from, client: self.client, backend, bytes });
    }

    /// Reports a client's data that is passed on.
    pub fn tell_request(&mut self, bytes: &[u8]) {
        if self.observe.requests && !bytes.is_empty() {
            self.events.push(Event::Request {
                client: self.client,
                backend: Arc::clone(self.backend),
                bytes: bytes[..bytes.len().min(REQUEST_BYTES_MAX)].into(),
                whole_bytes: bytes.len(),
            });
        }
    }
}
