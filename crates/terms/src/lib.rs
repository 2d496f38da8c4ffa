//! The terms that every crate uses: time, addresses, sides, close reasons, time-outs.
//!
//! Pure, and without rules other than how their text is read: a term belongs here if two crates that
//! do not know each other must agree on its meaning. Start at the term you are looking for.

#![forbid(unsafe_code)]

mod address;
mod backend;
mod ciphers;
mod client_certificates;
mod connect;
mod encryption;
mod flows;
mod instant;
mod limit;
mod listener;
mod proxy;
mod session;
mod starttls;
mod timeouts;

pub use address::{Address, Source};
pub use backend::BackendId;
pub use ciphers::{Ciphers, NoCiphers};
pub use client_certificates::ClientCertificates;
pub use connect::{ConnectFailure, FailureKind};
pub use encryption::{BackendTls, ConnectorId, Encryption, TlsFault};
pub use flows::{FlowRules, HashOn, InvalidHashOn};
pub use instant::Instant;
pub use limit::Limit;
pub use listener::ListenerId;
pub use proxy::SendProxy;
pub use session::{CloseReason, Cut, Phase, SessionOrder, Side, SpliceMode};
pub use starttls::Starttls;
pub use timeouts::{KeepAlive, Timeouts};
