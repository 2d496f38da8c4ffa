//! Decides what a session does next: order, half-close, reset, buffers, time-outs.
//!
//! Pure: A [`Search`] finds a backend that answers. Then a [`Link`] decides, and [`pump`] performs
//! its steps on a [`Wire`], which is the worker's system calls or a simulation's queues.
//! [`Deadlines`] holds the timers, and [`read_header`] reads the header that the PROXY protocol puts
//! before a client's first byte. [`read_client_hello`] finds the name that a TLS client asks for,
//! [`Upgrade`] has how it came to that, and [`Asking`] how a backend does. A [`LinkState`] lets
//! another process continue a link. `balancing` chooses backends; descriptors and events belong to
//! `dataplane`. Start at [`Link`].

#![forbid(unsafe_code)]

mod client_hello;
mod deadlines;
mod flows;
mod forwarded;
mod link;
mod link_state;
mod proxy_header;
mod pump;
mod search;
mod stream;
mod upgrade;

pub use client_hello::{CLIENT_HELLO_BYTES_MAX, ClientHello, Opening, read_client_hello};
pub use deadlines::Deadlines;
pub use flows::{
    Flow, FlowCounts, FlowIds, FlowKey, FlowTable, IDS_MAX, IdStep, ToServer, id_of_server,
    id_to_server,
};
pub use forwarded::Forwarded;
pub use link::{Link, Ready, Step, Verdict};
pub use link_state::LinkState;
pub use proxy_header::{
    ClientCertificate, ClientTls, Details, HEADER_BYTES_MAX, Header, InvalidHeader, Origin,
    UNIQUE_ID_BYTES_MAX, datagram_header, read_datagram_header, read_header, write_header,
};
pub use pump::{Fault, Pumped, Received, Urgent, Wire, pump};
pub use search::{Incarnation, Search, SearchStep};
pub use upgrade::{ASKING_BYTES_MAX, Asking, AskingStep, Upgrade, UpgradeStep};

/// The largest read, and the capacity a pipe should have.
pub const READ_BYTES_MAX: usize = 1 << stream::READ_LOG2_MAX;
