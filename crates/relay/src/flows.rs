//! UDP flows: which one a datagram belongs to, when one ends, and which one makes room.
//!
//! A [`FlowTable`] finds flows and keeps them in order of use; a [`Flow`] counts what passes and says
//! when it is over. A search for a backend that answers is a [`Search`](crate::Search), as for
//! a session of TCP: the first datagram is the connect, and the first answer means that it succeeded.

mod flow;
mod table;

pub use flow::{Flow, FlowCounts};
pub use table::{FlowKey, FlowTable};
