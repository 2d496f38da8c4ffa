//! What happens, as lines of the log.

use crate::Instance;
use crate::shown::EndOf;
use balancing::{AdminState, BackendChange};
use dataplane::{Ended, Event, SessionInfo, TcpPath, Trouble};
use telemetry::{Level, Line, Value};

/// What is said about a session that has been connected to a backend, is still open, or has ended.
const SESSION_STARTED: &str = "session started";
const SESSION_OPEN: &str = "session open";
const SESSION_ENDED: &str = "session ended";
/// The message of a backend that gets no sessions any more, and has lost its last one.
pub(crate) const BACKEND_DRAINED: &str = "backend drained";

/// Whether a line is about one session.
pub(crate) fn is_about_session(line: &Line<'_>) -> bool {
    [SESSION_STARTED, SESSION_OPEN, SESSION_ENDED].contains(&line.message)
}

/// Passes the lines about an event to `out`; some events have none.
pub(crate) fn describe(event: &Event, instance: &Instance, out: &mut dyn FnMut(&Line<'_>)) {
    match event {
        Event::Started(session) => describe_session(SESSION_STARTED, session, instance, out),
        Event::Ended(ended) => describe_end(ended, instance, out),
        Event::Backend { listener, backend, change, failure, .. } => {
            let (level, message) = match change {
                BackendChange::Quarantined => (Level::Warn, "backend quarantined"),
                BackendChange::Recovered => (Level::Info, "backend recovered"),
                BackendChange::AutoDisabled => {
                    (Level::Error, "backend failed and was disabled; enable it with ctl")
                }
            };
            let listener = instance.listener_name(*listener);
            let mut fields =
                vec![("listener", Value::Text(&listener)), ("backend", Value::Text(&backend.name))];
            if let Some(failure) = failure {
                fields.push(("error", Value::Text(failure)));
            }
            out(&Line { level, message, fields: &fields });
        }
        Event::Trouble(trouble) => {
            let message = match trouble {
                Trouble::Descriptors => {
                    "out of descriptors or memory: new clients wait; raise the limit \
                     (ulimit -n, LimitNOFILE=) or set --max-sessions"
                }
                Trouble::Ports => {
                    "no local port is free for a connection to a backend: its sessions wait; \
                     widen net.ipv4.ip_local_port_range or add backends"
                }
                Trouble::Flows => {
                    "no room for more UDP flows: the ones that have been idle for longest end; \
                     raise --max-sessions or the limit of descriptors, or lower --flow-timeout"
                }
            };
            let is_coped_with = *trouble == Trouble::Flows;
            let level = if is_coped_with { Level::Warn } else { Level::Error };
            out(&Line { level, message, fields: &[] });
        }
        Event::TroubleOver(trouble) => {
            let message = match trouble {
                Trouble::Descriptors => "the shortage is over: new clients are accepted again",
                Trouble::Ports => "local ports are free again",
                Trouble::Flows => "there is room for UDP flows again",
            };
            out(&Line { level: Level::Info, message, fields: &[] });
        }
        Event::SourceUnusable { listener, fault } => {
            let listener = instance.listener_name(*listener);
            let fields = [("listener", Value::Text(&listener)), ("error", Value::Text(fault))];
            let message = "cannot connect to backends from clients' addresses";
            out(&Line { level: Level::Warn, message, fields: &fields });
        }
        // Only the classics ask for these.
        Event::ConnectFailed(_) | Event::Trace(_) | Event::Request { .. } | Event::Block { .. } => {
        }
    }
}

/// Passes the line about a session that has been open for long to `out`.
pub(crate) fn describe_open(
    session: &SessionInfo,
    instance: &Instance,
    out: &mut dyn FnMut(&Line<'_>),
) {
    describe_session(SESSION_OPEN, session, instance, out);
}

fn describe_session(
    message: &str,
    session: &SessionInfo,
    instance: &Instance,
    out: &mut dyn FnMut(&Line<'_>),
) {
    let listener = instance.listener_name(session.listener);
    let (client, peer) = (EndOf(session.client), EndOf(session.peer));
    let backend = session.backend.as_ref().map_or("-", |backend| &backend.name);
    let mut fields = Vec::with_capacity(18); // all that there can be
    fields.extend([
        ("session", Value::Count(session.session)),
        ("listener", Value::Text(&listener)),
        ("client", Value::Text(&client)),
    ]);
    if session.peer != session.client {
        fields.push(("peer", Value::Text(&peer)));
    }
    fields.extend(session.server_name.as_ref().map(|it| ("sni", Value::Text(it))));
    fields.extend(session.tls.as_ref().map(|it| ("tls", Value::Text(it))));
    fields.push(("backend", Value::Text(&backend)));
    fields.extend(session.source.as_ref().map(|it| ("source", Value::Text(it))));
    let connect = session.connect.map(|it| ("connect", Value::Time(it)));
    if message == SESSION_STARTED {
        fields.extend(connect);
        return out(&Line { level: Level::Info, message, fields: &fields });
    }
    fields.extend([
        ("sent", Value::Count(session.sent_bytes)),
        ("received", Value::Count(session.received_bytes)),
    ]);
    fields.extend(connect);
    fields.extend(session.first_byte.map(|it| ("first-byte", Value::Time(it))));
    fields.extend([("duration", Value::Time(session.age)), ("idle", Value::Time(session.idle))]);
    add_paths(&mut fields, session.client_path, session.backend_path);
    out(&Line { level: Level::Info, message, fields: &fields });
}

/// What the kernel knows of the paths to both peers.
fn add_paths(
    fields: &mut Vec<(&str, Value<'_>)>,
    client: Option<TcpPath>,
    backend: Option<TcpPath>,
) {
    let paths = [("rtt", "retransmits", client), ("backend-rtt", "backend-retransmits", backend)];
    for (rtt, retransmits, path) in paths {
        let Some(path) = path else { continue };
        fields.extend(path.round_trip().map(|it| (rtt, Value::Time(it))));
        if path.retransmits > 0 {
            fields.push((retransmits, Value::Count(path.retransmits.into())));
        }
    }
}

fn describe_end(ended: &Ended, instance: &Instance, out: &mut dyn FnMut(&Line<'_>)) {
    let listener = instance.listener_name(ended.listener);
    let nobody = "-";
    let (client, peer) = (EndOf(ended.client), EndOf(ended.peer));
    let mut fields = Vec::with_capacity(23); // all that there can be
    fields.extend([
        ("session", Value::Count(ended.session)),
        ("listener", Value::Text(&listener)),
        ("client", Value::Text(&client)),
    ]);
    if ended.peer != ended.client {
        fields.push(("peer", Value::Text(&peer)));
    }
    if let Some(name) = &ended.server_name {
        fields.push(("sni", Value::Text(name)));
    }
    if let Some((version, cipher)) = ended.tls.as_ref().and_then(|tls| tls.agreed.as_ref()) {
        fields.extend([("tls", Value::Text(version)), ("cipher", Value::Text(cipher))]);
    }
    if let Some(name) = ended.tls.as_ref().and_then(|tls| tls.peer_name.as_ref()) {
        fields.push(("client-name", Value::Text(name)));
    }
    match &ended.backend {
        Some(backend) => fields.push(("backend", Value::Text(&backend.name))),
        None => fields.push(("backend", Value::Text(&nobody))),
    }
    if let Some((version, _)) = ended.backend_tls.as_ref().and_then(|tls| tls.agreed.as_ref()) {
        fields.push(("backend-tls", Value::Text(version)));
    }
    if let Some(source) = &ended.source {
        fields.push(("source", Value::Text(source)));
    }
    fields.extend([("reason", Value::Text(&ended.reason))]);
    let failure = ended.tls_failure();
    if let Some(failure) = &failure {
        fields.push(("error", Value::Text(failure)));
    }
    fields.extend([
        ("sent", Value::Count(ended.sent_bytes)),
        ("received", Value::Count(ended.received_bytes)),
    ]);
    if let Some(connect) = ended.connect {
        fields.push(("connect", Value::Time(connect)));
    }
    if let Some(first_byte) = ended.first_byte {
        fields.push(("first-byte", Value::Time(first_byte)));
    }
    fields.push(("duration", Value::Time(ended.duration)));
    add_paths(&mut fields, ended.client_path, ended.backend_path);
    out(&Line { level: Level::Info, message: SESSION_ENDED, fields: &fields });
    // Of those that the kernel forwards, several may end before they are counted again.
    if let Some(backend) = &ended.backend
        && ended.had_place
        && !ended.was_forwarded()
        && backend.state.admin() == AdminState::Draining
        && backend.state.all_sessions() == 0
    {
        let fields = [("backend", Value::Text(&backend.name))];
        out(&Line { level: Level::Info, message: BACKEND_DRAINED, fields: &fields });
    }
}
