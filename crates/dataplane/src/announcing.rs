//! Headers of the PROXY protocol: a proxy announces its client to us, and we announce ours to a
//! backend.
//!
//! A header stays in the socket's queue until it is complete; before that, it is only peeked at. A
//! session that waits for one therefore holds nothing but its sockets, and the bytes after the
//! header are not touched. Source: HAProxy's `proxy-protocol.txt`.

use crate::announced::{Announced, unique_id};
use crate::session::{Next, Session, State};
use crate::tools::Tools;
use relay::{
    ClientCertificate, ClientTls, Details, HEADER_BYTES_MAX, InvalidHeader, Origin, Ready,
    read_header, write_header,
};
use std::os::fd::AsFd;
use sys::{Errno, net};
use terms::{CloseReason, ConnectFailure, Instant, SendProxy, Side};
use tls::Channel;

/// Waits for the header if the peer is one of the listener's proxies, and turns it away otherwise.
pub(crate) fn begin(session: &Session) -> Next {
    let settings = session.listener.settings();
    match &settings.accept_proxy {
        Some(proxies) if !proxies.contains(session.peer()) => {
            session.cut(CloseReason::ProxyUntrusted)
        }
        _ => wait(session),
    }
}

fn wait(session: &Session) -> Next {
    Next::At(session.started + session.listener.settings().timeouts.connect)
}

/// Removes the header from the socket's queue once it is complete. The client is known from then on.
pub(crate) fn go_on(session: &mut Session, tools: &mut Tools) -> Result<(), Next> {
    let buffer = &mut tools.buffer[..HEADER_BYTES_MAX];
    let seen = match net::peek(session.downstream(), buffer) {
        // A connection without a byte asks whether anyone is listening.
        Ok(0) => return Err(Next::End(CloseReason::ClientFin, None)),
        Ok(count) => &buffer[..count],
        Err(Errno::AGAIN) => return Err(wait(session)),
        Err(_) => return Err(session.cut(CloseReason::ClientReset)),
    };
    let header = match read_header(seen) {
        Ok(Some(header)) => header,
        Ok(None) if !session.link.is_hung_up(Side::Downstream) => return Err(wait(session)),
        Ok(None) | Err(InvalidHeader) => return Err(session.cut(CloseReason::ProxyInvalid)),
    };
    let client = match header.origin {
        Origin::Peer => session.client(),
        Origin::UnixClient => None,
        Origin::Client { client, .. } => Some(client),
    };
    let announced = Announced::by(session.peer(), &header);
    let bytes = header.bytes;
    if header.origin != Origin::Peer {
        session.announce(client, announced);
    }
    if net::discard(session.downstream(), bytes) {
        Ok(())
    } else {
        Err(session.cut(CloseReason::ClientReset))
    }
}

/// Ends the session if the header has not come in time.
pub(crate) fn handle_deadline(session: &Session, now: Instant) -> Next {
    match wait(session) {
        Next::At(until) if now < until => Next::At(until),
        _ => session.cut(CloseReason::ProxyTimeout),
    }
}

/// Announces the client to a backend that has just answered: before anything else, and in one packet
/// with the client's first bytes if there are any.
///
/// # Errors
/// As for a connect: without the header, the backend does not count as connected.
pub(crate) fn announce(
    session: &mut Session,
    format: SendProxy,
    tools: &mut Tools,
) -> Result<(), ConnectFailure> {
    let origin = origin(session);
    let own_id = tools.shared.unique_id(session.number);
    let id = unique_id(session.announced(), &own_id);
    let tls = session.tls(Side::Downstream).map(|it| &it.channel);
    let shown = tls.and_then(Channel::peer_certificate);
    let certificate = shown
        .as_ref()
        .map(|it| ClientCertificate { name: it.name.as_deref(), is_resumed: it.is_resumed });
    let tls = tls.and_then(|channel| {
        let (version, cipher) = channel.agreed()?;
        // The library writes `TLS13_` where the standard has `TLS_`.
        let cipher = cipher.strip_prefix("TLS13").map_or(cipher.into(), |it| format!("TLS{it}"));
        Some((version, cipher, channel.protocol()))
    });
    let tls = tls.as_ref().map(|(version, cipher, protocol)| ClientTls {
        version,
        cipher,
        protocol: *protocol,
        certificate,
    });
    let details = Details { unique_id: id, server_name: session.server_name(), tls };
    let header = &mut tools.rewritten;
    header.clear();
    write_header(format, origin, &details, header);
    let is_more_coming = has_bytes_to_send(session);
    let State::Connecting { upstream, .. } = &mut session.state else {
        return Ok(());
    };
    net::transmit_first(upstream.socket.as_fd(), header, is_more_coming)?;
    tools.clear_rewritten();
    if is_more_coming {
        session.link.handle_ready(Side::Downstream, Ready { readable: true, ..Ready::default() });
    } else {
        upstream.writes += 1; // so that the client's first bytes do not wait for its acknowledgement
    }
    Ok(())
}

/// Where the session comes from, as a backend is to see it.
fn origin(session: &Session) -> Origin {
    let destination = match session.announced() {
        Some(announced) => announced.destination,
        None => net::local_address(session.downstream()),
    };
    match (session.client(), destination) {
        (Some(client), Some(destination)) => Origin::client(client, destination),
        _ => Origin::UnixClient,
    }
}

/// Whether the backend gets bytes of the client as soon as it is connected.
fn has_bytes_to_send(session: &Session) -> bool {
    let extras = session.extras.as_ref();
    // Rewriting may hold bytes back, and what is there of TLS may be no bytes of the client.
    let encrypts = session.lease().is_some_and(|it| it.backend().encryption.is_some());
    let is_changed =
        encrypts || extras.is_some_and(|it| it.forwarded.is_some() || it.tls.is_some());
    let is_there = || matches!(net::peek(session.downstream(), &mut [0]), Ok(count) if count > 0);
    !is_changed && (!session.link.residue(Side::Downstream).is_empty() || is_there())
}
