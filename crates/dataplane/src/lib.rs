//! Worker threads, one event loop per core, which perform what the pure crates decide.
//!
//! A [`DataPlane`] receives listening sockets with their [`Listener`]s and reports what happens as
//! batches of [`Event`]s. It knows nothing about configuration text, names or admin sockets. A
//! session belongs to one worker; everything that workers share is listed in `ARCHITECTURE.md`.
//! Start at `worker.rs`, which has the turn; `session.rs` draws a session's life.

#![forbid(unsafe_code)]

mod addresses;
mod announced;
mod announcing;
mod answering;
mod arrivals;
mod asking;
mod call;
mod chores;
mod connect;
mod datagrams;
mod established;
mod event;
mod handshaking;
#[cfg(all(loom, test))]
mod interleavings;
mod ledger;
mod listener;
mod listening;
mod listing;
mod mover;
mod moving;
mod outbox;
mod pipes;
mod plane;
mod relaying;
mod response;
mod retiring;
mod room;
mod routing;
mod searches;
mod searching;
mod secure;
mod securing;
mod session;
mod sessions;
mod shared;
mod shortage;
mod spin;
mod sync;
mod tap;
mod token;
mod tools;
mod wire;
mod worker;

pub use event::{
    Ended, Event, FORWARDED, REQUEST_BYTES_MAX, SessionInfo, SourceFault, TcpPath, TlsSummary,
    Trace, Trouble,
};
pub use ledger::ListenerTotals;
pub use listener::{Countries, Listener, Observe, Routing, Settings, Termination};
pub use listing::{Aged, ClientFilter, Figures, SessionFilter, Turns, Victims};
pub use mover::Mover;
pub use moving::{
    FlowState, Freezing, FreezingFlows, Moving, MovingFlow, Portion, Selection, SessionState,
    Staying,
};
pub use plane::{DataPlane, Options, RollCall};
pub use retiring::Recall;
pub use shared::DoorId;
pub use tap::{Tap, TapEnd, TapFilter, TapLimits, Tapped};
