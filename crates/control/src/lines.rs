//! What happens, as lines of the log.

use crate::Instance;
use crate::status::EndOf;
use balancing::{AdminState, BackendChange};
use dataplane::{Ended, Event, Trouble};
use telemetry::{Level, Line, Value};

/// What is said about a session that has ended.
pub(crate) const SESSION_ENDED: &str = "session ended";

/// Passes the lines about an event to `out`; some events have none.
pub(crate) fn describe(event: &Event, instance: &Instance, out: &mut dyn FnMut(&Line<'_>)) {
    match event {
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
    let mut sides = [&ended.tls, &ended.backend_tls].into_iter().flatten();
    if let Some(failure) = sides.find_map(|tls| tls.failure.as_ref()) {
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
    let paths = [
        ("rtt", "retransmits", ended.client_path),
        ("backend-rtt", "backend-retransmits", ended.backend_path),
    ];
    for (rtt, retransmits, path) in paths {
        let Some(path) = path else { continue };
        fields.extend(path.round_trip().map(|it| (rtt, Value::Time(it))));
        if path.retransmits > 0 {
            fields.push((retransmits, Value::Count(path.retransmits.into())));
        }
    }
    out(&Line { level: Level::Info, message: SESSION_ENDED, fields: &fields });
    if let Some(backend) = &ended.backend
        && backend.state.admin() == AdminState::Draining
        && backend.state.sessions() == 0
    {
        let fields = [("backend", Value::Text(&backend.name))];
        out(&Line { level: Level::Info, message: "backend drained", fields: &fields });
    }
}
