//! UDP flows: which one a datagram belongs to, when one ends, and which one makes room.
//!
//! A [`FlowTable`] finds flows and keeps them in order of use; a [`Flow`] counts what passes and says
//! when it is over. A search for a backend that answers is a [`Search`](crate::Search), as for
//! a session of TCP: the first datagram is the connect, and the first answer means that it succeeded.
//! [`FlowIds`] says which connection ids of QUIC tell that a client has moved to another address.

mod flow;
mod ids;
mod quic;
mod table;

pub use flow::{Flow, FlowCounts};
pub use ids::{FlowIds, IDS_MAX, IdStep};
pub use quic::{ToServer, id_of_server, id_to_server};
pub use table::{FlowKey, FlowTable};
