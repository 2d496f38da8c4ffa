//! Headers of the PROXY protocol in datagrams: a proxy says whose each of them is, and we say so to
//! backends.
//!
//! A header is part of its datagram, so none is waited for, and each datagram has one. Clients that
//! share a proxy's socket differ in it. Answers go to the proxy without a header: its own socket, or the
//! question, shows it whose they are. dnsdist does all of this in the same way.
//! Source: HAProxy's `proxy-protocol.txt`, section 2.2.

use super::flow::Introduction;
use crate::announced::unique_id;
use balancing::ProxyPeers;
use relay::{FlowKey, Header, Origin, datagram_header, read_datagram_header};
use std::net::SocketAddr;
use sys::datagram::Datagram;
use terms::SendProxy;

/// What a datagram is, and whose.
pub(super) struct Request<'a> {
    pub key: FlowKey,
    /// What a proxy says about it.
    pub header: Option<Header<'a>>,
    /// What the client has sent.
    pub bytes: &'a [u8],
    /// How it was marked on its way (ECN).
    pub ecn: u8,
}

/// What a datagram that has come to a door is; `None` if it is to be dropped. With `proxies`, only
/// they are heard, and must say who the client is.
pub(super) fn read<'a>(
    door: usize,
    datagram: Datagram<'a>,
    proxies: Option<&ProxyPeers>,
) -> Option<Request<'a>> {
    let Datagram { bytes, peer, local, ecn } = datagram;
    let Some(proxies) = proxies else {
        let key = FlowKey { door, client: peer, proxy: None, local };
        return Some(Request { key, header: None, bytes, ecn });
    };
    if !proxies.contains(Some(peer)) {
        return None;
    }
    let header = read_datagram_header(bytes).ok()?;
    let client = match header.origin {
        Origin::Peer => peer,
        Origin::Client { client, .. } => client,
        Origin::UnixClient => return None, // one without an address has no flow
    };
    let key = FlowKey { door, client, proxy: Some(peer), local };
    Some(Request { key, header: Some(header), bytes: bytes.get(header.bytes..)?, ecn })
}

/// Composes the header for a backend that expects this form, or none. `own_address` is where the
/// client's datagrams arrive, and `own_id` the flow's id, unless a proxy has announced others.
pub(super) fn introduce(
    introduction: &mut Option<Box<Introduction>>,
    format: Option<SendProxy>,
    client: SocketAddr,
    own_address: Option<SocketAddr>,
    own_id: impl FnOnce() -> String,
) {
    let Some(format) = format else {
        if let Some(introduction) = introduction {
            introduction.header = Box::default();
        }
        return;
    };
    let introduction = introduction.get_or_insert_default();
    let announced = introduction.announced.as_ref();
    let origin = match announced.and_then(|it| it.destination).or(own_address) {
        Some(destination) => Origin::client(client, destination),
        None => Origin::Peer,
    };
    let header = datagram_header(format, origin, unique_id(announced, &own_id()));
    introduction.header = header.unwrap_or_default().into();
}
