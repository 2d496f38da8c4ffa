//! The state of a link as another process can continue it.

use crate::Link;
use crate::link::Ready;
use crate::stream::{Stream, StreamState};
use serde::{Deserialize, Serialize};
use terms::{Instant, Side, SpliceMode};

/// The state of a [`Link`] apart from the bytes that it holds back, which are
/// [`Link::residue`]. Nothing may be left in pipes: see [`Link::on_pipe_emptied`].
///
/// What is known about the connections goes along, because an event that has been seen does not come
/// again: an error that a write has taken cannot be found by the next read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    ready: [Ready; 2],
    streams: [StreamState; 2],
    /// Whether the client's end of file was read first; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_client_first: Option<bool>,
    /// When data last passed, on a clock that both processes have.
    last_activity: u64,
}

impl Link {
    /// The state for another process.
    #[must_use]
    pub fn state(&self) -> LinkState {
        LinkState {
            ready: self.ready,
            streams: self.streams.each_ref().map(Stream::state),
            is_client_first: self.first_end.map(|side| side == Side::Downstream),
            last_activity: self.last_activity.as_nanos(),
        }
    }

    /// Continues from a state, with the bytes that were held back from the client and from the
    /// backend. The events that the poller reports for sockets that are new to it must follow.
    #[must_use]
    pub fn resume(state: &LinkState, residues: [&[u8]; 2], mode: SpliceMode) -> Self {
        let last_activity = Instant::from_nanos(state.last_activity);
        let [up, down] = state.ready;
        let first_end = state.is_client_first.map(|is_client| match is_client {
            true => Side::Downstream,
            false => Side::Upstream,
        });
        let mut link = Self::new(up, down, mode, last_activity);
        link.first_end = first_end;
        for ((stream, state), residue) in link.streams.iter_mut().zip(&state.streams).zip(residues)
        {
            *stream = Stream::resume(state, residue, mode);
        }
        link
    }
}
