//! The first part of a session's life: choosing a backend and connecting to it.
//!
//! `relay::Search` has the rules; this module carries its steps out.

use crate::addresses::Addresses;
use crate::announcing::announce;
use crate::asking::ask;
use crate::event::{Event, SourceFault, Trace};
use crate::listener::{Connecting, Listener, Settings};
use crate::response::Response;
use crate::searches::Searches;
use crate::secure::{Loss, Secure};
use crate::securing::with_tls;
use crate::session::{NOT_YET, Next, Session, State, Upstream};
use crate::token::Token;
use crate::tools::Tools;
use balancing::Client;
use relay::{Fault, Incarnation, Link, Ready, SearchStep};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use sys::net::{self, Acknowledge};
use terms::{
    Address, ConnectFailure, Encryption, Instant, SendProxy, Side, Source, SpliceMode, TlsFault,
};
use tls::Channel;

/// Steps that a search may take in one turn, enough for some twenty backends that fail at once.
const STEPS_PER_TURN: usize = 64;

/// Continues the search until it has to wait, or has had its share of the turn.
pub(crate) fn seek(
    session: &mut Session,
    key: usize,
    searches: &mut Searches,
    tools: &mut Tools,
    now: Instant,
) -> Next {
    let settings = session.listener.settings();
    for _ in 0..STEPS_PER_TURN {
        let (State::Seeking { search }
        | State::Waiting { search, .. }
        | State::Connecting { search, .. }) = &session.state
        else {
            return Next::Turn; // connected by now
        };
        match searches.get(search).rules.next_step(&settings.timeouts) {
            SearchStep::Choose => choose(session, searches, tools, &settings, now),
            SearchStep::Connect(address) => {
                connect(session, key, address, searches, tools, &settings, now);
            }
            SearchStep::Report(failure) => {
                report(session, failure, searches, tools, &settings, now);
            }
            SearchStep::Wait(until) => return Next::At(until),
            SearchStep::GiveUp(reason) => return Next::End(reason, Some(settings.cut)),
            SearchStep::Relay => return Next::Turn,
        }
    }
    Next::Turn
}

/// Takes a place at the next backend.
fn choose(
    session: &mut Session,
    searches: &mut Searches,
    tools: &mut Tools,
    settings: &Settings,
    now: Instant,
) {
    session.change(|state| {
        let State::Seeking { search } = state else { return state };
        let searching = searches.get(&search);
        let Some(lease) = searching.choose(tools, now) else { return State::Seeking { search } };
        if settings.observe.steps {
            tools.outbox.tell(Event::Trace(searching.trace()));
        }
        State::Waiting { search, lease }
    });
}

/// Begins to connect to an address of the backend.
fn connect(
    session: &mut Session,
    key: usize,
    address: usize,
    searches: &mut Searches,
    tools: &mut Tools,
    settings: &Settings,
    now: Instant,
) {
    let (number, listener) = (session.number, Arc::clone(&session.listener));
    session.addresses.keep_source(None); // it was that of an earlier connection
    session.change(|state| {
        let State::Waiting { search, lease } = state else { return state };
        let searching = searches.get(&search);
        let address = &lease.backend().addresses[address];
        let incarnation = searching.rules.incarnation();
        let (source, mut fault) = source(settings, searching.attempt.client(), address);
        let token = Token::upstream(key, number, incarnation);
        match open(address, source, token, tools, &mut fault, now) {
            Ok(socket) => {
                searching.rules.on_started(now);
                let is_unix = matches!(address, Address::Unix(_));
                let upstream =
                    Upstream { socket, incarnation, writes: 0, is_introduced: false, is_unix };
                tell_fault(fault, &listener, tools);
                State::Connecting { search, lease, upstream }
            }
            Err(failure) => {
                match failure {
                    ConnectFailure::NoSocket => tools.run_out_of_descriptors(now),
                    ConnectFailure::NoPort => tools.run_out_of_ports(address, source, now),
                    _ => {}
                }
                searching.rules.on_failed(incarnation, failure, &settings.timeouts, now);
                tell_fault(fault, &listener, tools);
                State::Waiting { search, lease }
            }
        }
    });
}

fn open(
    address: &Address,
    source: net::Source,
    token: Token,
    tools: &Tools,
    fault: &mut Option<SourceFault>,
    now: Instant,
) -> Result<OwnedFd, ConnectFailure> {
    if tools.shared.is_our_own(address) {
        return Err(ConnectFailure::Loop);
    }
    if tools.portless.contains(address, source, now) {
        return Err(ConnectFailure::NoPort);
    }
    let (socket, refused) = net::start_connect(address, source, Acknowledge::WithData)?;
    let watched = tools.poller.add_stream(&socket, token.to_number());
    watched.map_err(|_| ConnectFailure::NoSocket)?;
    *fault = fault.take().or(refused.map(|error| SourceFault::Refused(error.into())));
    Ok(socket)
}

pub(crate) fn tell_fault(fault: Option<SourceFault>, listener: &Listener, tools: &mut Tools) {
    if let Some(fault) = fault
        && listener.is_news(&fault)
    {
        tools.outbox.tell(Event::SourceUnusable { listener: listener.id(), fault });
    }
}

/// The local address for a connection to this backend, and the fault if it is not the one asked
/// for.
pub(crate) fn source(
    settings: &Settings,
    client: &Client,
    backend: &Address,
) -> (net::Source, Option<SourceFault>) {
    match settings.source {
        Source::System => (net::Source::System, None),
        Source::Fixed(source) => (net::Source::Own(source), None),
        Source::Client => match (client.plain_address(), backend) {
            (None, _) => (net::Source::System, Some(SourceFault::NoAddress)),
            (Some(client), Address::Ip(backend)) if backend.is_ipv4() == client.is_ipv4() => {
                (net::Source::Foreign(client), None)
            }
            _ => (net::Source::System, Some(SourceFault::Family)),
        },
    }
}

/// Reports a backend that failed, and returns its place.
fn report(
    session: &mut Session,
    failure: ConnectFailure,
    searches: &mut Searches,
    tools: &mut Tools,
    settings: &Settings,
    now: Instant,
) {
    let listener = session.listener.id();
    session.change(|state| {
        let State::Waiting { search, lease } = state else { return state };
        let searching = searches.get(&search);
        if settings.observe.steps {
            let (tier, index) = searching.place().unwrap_or_default();
            let timed_out = matches!(failure, ConnectFailure::TimedOut | ConnectFailure::Busy);
            tools.outbox.tell(Event::Trace(Trace::Failed { tier, index, timed_out }));
        }
        lease.backend().state.latency().observe(settings.timeouts.connect, now);
        searching.report_failure(listener, lease, failure, tools, now);
        State::Seeking { search }
    });
}

/// What comes of an event of a connect in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The search goes on, or waits.
    Nothing,
    /// A step of the TLS handshake is to be taken: see [`shake`].
    Shake,
    /// The session is connected now.
    Connected,
}

/// Handles an event of a connect in progress.
pub(crate) fn handle_event(
    session: &mut Session,
    incarnation: Incarnation,
    ready: Ready,
    searches: &mut Searches,
    tools: &mut Tools,
    now: Instant,
) -> Heard {
    let settings = session.listener.settings();
    if let Some(secure) = session.upstream_tls_mut() {
        secure.seen.add(ready);
        return Heard::Shake;
    }
    let State::Connecting { search, lease, upstream } = &session.state else {
        return Heard::Nothing;
    };
    let encryption = lease.backend().encryption.clone();
    let searching = searches.get(search);
    let send_proxy = lease.backend().send_proxy.or(searching.pool.send_proxy);
    let rules = &mut searching.rules;
    let address = &lease.backend().addresses[rules.address()];
    let socket = upstream.socket.as_fd();
    if !rules.is_current(incarnation) {
        return Heard::Nothing; // left behind by an earlier connection
    }
    if ready.failed {
        let failure = net::take_failure(socket, address);
        rules.on_failed(incarnation, failure, &settings.timeouts, now);
    } else if ready.writable && is_own_end(socket, address, &mut session.addresses) {
        rules.on_failed(incarnation, ConnectFailure::Refused, &settings.timeouts, now);
    } else if ready.writable || upstream.is_introduced {
        let took = now.since(rules.since());
        match introduce(session, send_proxy, tools) {
            Ok(true) => match encryption {
                Some(encryption) => match begin_tls(session, &encryption, ready, tools) {
                    Ok(()) => {}
                    Err(failure) => {
                        rules.on_failed(incarnation, failure, &settings.timeouts, now);
                    }
                },
                None if rules.on_answered(incarnation, now) => {
                    // More may have come with what was taken off.
                    let ready = Ready { readable: ready.readable || session.was_asked(), ..ready };
                    session.link.handle_ready(Side::Upstream, ready);
                    connected(session, took, searches, tools, &settings, now);
                    return Heard::Connected;
                }
                None => {}
            },
            Ok(false) => {}
            Err(failure) => rules.on_failed(incarnation, failure, &settings.timeouts, now),
        }
    }
    drop_if_over(session, searches);
    Heard::Nothing
}

/// Begins TLS with a backend that is connected.
fn begin_tls(
    session: &mut Session,
    encryption: &Encryption,
    seen: Ready,
    tools: &Tools,
) -> Result<(), ConnectFailure> {
    let unprepared = ConnectFailure::Tls(TlsFault::Unprepared);
    let connector = tools.shared.connectors.find(encryption.connector).ok_or(unprepared)?;
    let channel = Channel::connect(&connector, &encryption.name).map_err(|_| unprepared)?;
    let mut secure = Secure::new(channel);
    secure.seen = seen;
    session.extras.get_or_insert_default().tls.get_or_insert_default()[Side::Upstream as usize] =
        Some(secure);
    let begun = with_tls(session, tools, Side::Upstream, |it| it.begin());
    begun.unwrap_or(Err(Fault::Lost)).map_err(|_| ConnectFailure::Reset)
}

/// Takes a step of the TLS handshake with a backend.
pub(crate) fn shake(
    session: &mut Session,
    searches: &mut Searches,
    tools: &mut Tools,
    now: Instant,
) -> Heard {
    let settings = session.listener.settings();
    let mut buffer = std::mem::take(&mut tools.buffer);
    let shaken = with_tls(session, tools, Side::Upstream, |it| {
        let shaken = it.shake(&mut buffer);
        shaken.map_err(|fault| (fault, it.tls.loss().map(Loss::of_backend)))
    });
    tools.buffer = buffer;
    let State::Connecting { search, upstream, .. } = &session.state else { return Heard::Nothing };
    let incarnation = upstream.incarnation;
    let rules = &mut searches.get(search).rules;
    let took = now.since(rules.since());
    match shaken {
        Some(Ok(true)) if rules.on_answered(incarnation, now) => {
            let seen = session.tls(Side::Upstream).map(|it| it.seen).unwrap_or_default();
            // More may be there, or have been decrypted already.
            let seen = Ready { readable: true, ..seen };
            session.link.handle_ready(Side::Upstream, seen);
            connected(session, took, searches, tools, &settings, now);
            return Heard::Connected;
        }
        Some(Ok(true)) | None => {}
        Some(Ok(false)) => return Heard::Shake, // the rest of it may have arrived
        Some(Err((Fault::Lost, loss))) => {
            let failure = loss.unwrap_or(ConnectFailure::Reset);
            rules.on_failed(incarnation, failure, &settings.timeouts, now);
        }
        Some(Err(_)) => return Heard::Nothing,
    }
    drop_if_over(session, searches);
    Heard::Nothing
}

/// Does what has to be done before a backend that has answered gets the client's bytes: announces
/// the client, and asks for TLS. Returns whether that is done.
fn introduce(
    session: &mut Session,
    send_proxy: Option<SendProxy>,
    tools: &mut Tools,
) -> Result<bool, ConnectFailure> {
    let State::Connecting { upstream, .. } = &mut session.state else { return Ok(false) };
    if !std::mem::replace(&mut upstream.is_introduced, true) {
        session.begin_asking();
        if let Some(format) = send_proxy {
            announce(session, format, tools)?;
        }
    }
    let Session { state: State::Connecting { upstream, .. }, extras, .. } = session else {
        return Ok(false);
    };
    match extras.as_mut().and_then(|it| it.routed.as_mut()?.asking.as_mut()) {
        Some(asking) => ask(upstream.socket.as_fd(), asking, tools),
        None => Ok(true),
    }
}

/// Whether a backend that is connected may not know so, since nothing has been sent to it yet.
pub(crate) fn is_to_be_acknowledged(session: &Session) -> bool {
    let is_silent = |it: &Upstream| it.is_introduced && it.writes == 0 && !it.is_unix;
    session.upstream().is_some_and(is_silent)
}

/// Whether a socket is connected to itself. That happens if nobody listens on a local port, and the
/// system chooses the same port for the connection (RFC 9293, "simultaneous open"). The local address,
/// which decides it, is kept in `addresses`.
fn is_own_end(socket: BorrowedFd<'_>, address: &Address, addresses: &mut Addresses) -> bool {
    let Address::Ip(address) = address else { return false };
    let source = net::local_address(socket);
    addresses.keep_source(source);
    source == Some(*address)
}

/// Handles a timer that fired before the backend answered.
pub(crate) fn handle_deadline(session: &mut Session, searches: &mut Searches, now: Instant) {
    let settings = session.listener.settings();
    let (State::Waiting { search, .. } | State::Connecting { search, .. }) = &session.state else {
        return;
    };
    searches.get(search).rules.on_deadline(&settings.timeouts, now);
    drop_if_over(session, searches);
}

/// Closes the socket of a connect that failed.
fn drop_if_over(session: &mut Session, searches: &mut Searches) {
    let was_connecting = matches!(session.state, State::Connecting { .. });
    session.change(|state| match state {
        State::Connecting { search, lease, upstream }
            if searches.get(&search).rules.incarnation() != upstream.incarnation =>
        {
            State::Waiting { search, lease }
        }
        state => state,
    });
    if was_connecting && let State::Waiting { search, .. } = &session.state {
        let tls = session.tls(Side::Upstream);
        searches.get(search).failed_tls = tls.map(|it| it.summary(true));
        session.drop_upstream_tls();
    }
}

/// Begins to relay, since the backend has answered, which `took` so long.
fn connected(
    session: &mut Session,
    took: Duration,
    searches: &mut Searches,
    tools: &mut Tools,
    settings: &Settings,
    now: Instant,
) {
    session.change(|state| match state {
        State::Connecting { search, lease, upstream } => {
            State::Relaying { search: Some(search), lease, upstream }
        }
        state => state,
    });
    session.link.on_connected(now);
    session.connect_micros =
        u32::try_from(now.since(session.started).as_micros()).unwrap_or(NOT_YET - 1);
    session.response = Response::begin(now.since(session.started), took);
    let State::Relaying { search: Some(search), lease, .. } = &session.state else { return };
    lease.backend().state.tally(tools.worker).count_connect(took);
    let searching = searches.get(search);
    drop(searching.connecting.take());
    tools.shared.made_room(&session.listener);
    if settings.observe.steps {
        let (_, index) = searching.place().unwrap_or_default();
        tools.outbox.tell(Event::Trace(Trace::Connected { index }));
    }
    searching.report_success(session.listener.id(), lease, tools, now);
}

/// Continues the search after a reset by the backend, if that counts as a failed connect. Returns
/// whether it does.
pub(crate) fn start_over(session: &mut Session, searches: &mut Searches, now: Instant) -> bool {
    let settings = session.listener.settings();
    let State::Relaying { search: Some(search), .. } = &session.state else { return false };
    let searching = searches.get(search);
    if !session.link.is_untouched() || !searching.rules.on_reset(&settings.timeouts, now) {
        return false;
    }
    searching.connecting = Some(Connecting::new(&session.listener));
    session.connect_micros = NOT_YET;
    session.response = Response::NONE;
    let fresh = Link::new(Ready::default(), Ready::default(), SpliceMode::Never, now);
    let link = std::mem::replace(&mut session.link, fresh);
    session.link = link.to_another(Ready::default(), now);
    session.change(|state| match state {
        State::Relaying { search: Some(search), lease, .. } => State::Waiting { search, lease },
        state => state,
    });
    session.drop_upstream_tls();
    true
}
