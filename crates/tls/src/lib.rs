//! TLS on `rustls`, without files and sockets: what a listener terminates with, what connections to
//! backends begin with, and one connection's records.
//!
//! An [`Acceptor`] and a [`Connector`] are made of the contents of certificate files. A [`Channel`] turns records into
//! plain bytes and back; whoever owns the socket moves the records. Nothing here is touched, and
//! the cryptographic library is not loaded, unless a configuration asks for TLS. Start at
//! [`Channel`].

#![forbid(unsafe_code)]

mod acceptor;
mod channel;
mod clients;
mod connector;
mod connectors;
mod error;
mod identity;
mod names;
mod review;
mod tickets;
mod validity;

pub use acceptor::{Acceptor, CertificateFile, Material};
pub use channel::{Channel, Failure, Opened, PeerCertificate, RECORDS_ROOM, Shaken};
pub use clients::ClientsMaterial;
pub use connector::{Connector, ConnectorMaterial};
pub use connectors::Connectors;
pub use error::MaterialError;
pub use identity::{IdentityError, PemFile};
pub use review::{Concern, ConcernKind, EXPIRY_DAYS, review};
pub use tickets::Tickets;

#[cfg(test)]
mod tests;
