//! What a proxy has said about a session or a flow.

use relay::{Header, Origin};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What a proxy's header says besides the client's address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Announced {
    /// The proxy's own address.
    pub peer: Option<SocketAddr>,
    /// The address that the client connected to; `None` if it has none.
    pub destination: Option<SocketAddr>,
    /// The id that the proxy gave the session or flow; empty if it gave none.
    pub unique_id: Box<[u8]>,
}

impl Announced {
    /// What this peer's header says.
    pub fn by(peer: Option<SocketAddr>, header: &Header<'_>) -> Self {
        let destination = match header.origin {
            Origin::Client { destination, .. } => Some(destination),
            Origin::Peer | Origin::UnixClient => None,
        };
        Self { peer, destination, unique_id: header.unique_id.unwrap_or_default().into() }
    }
}

/// The id by which a backend is told of a session or flow: the proxy's, or else our own.
pub(crate) fn unique_id<'a>(announced: Option<&'a Announced>, own: &'a str) -> &'a [u8] {
    match announced {
        Some(announced) if !announced.unique_id.is_empty() => &announced.unique_id,
        _ => own.as_bytes(),
    }
}
