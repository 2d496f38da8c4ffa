//! Reports what happens.

use crate::Instance;
use crate::log::{LogTarget, LogWriter};
use crate::status::EndOf;
use crate::unserved::{Unserved, Warning};
use balancing::{AdminState, BackendChange};
use dataplane::{Ended, Event, Trouble};
use sys::process::{Facility, Priority, open_syslog};
use telemetry::{Level, Line, LineFormat, Stamp, Value};
use terms::CloseReason;

/// Receives everything that happens, and reports it in the way of its personality.
pub trait Reporter: Send {
    /// Something happened in the data plane.
    fn event(&mut self, event: &Event, instance: &Instance);
    /// Something happened in the control plane: a start, a command, an end.
    fn note(&mut self, line: &Line<'_>);
    /// This many events were dropped, because they arrived faster than they could be reported.
    fn dropped(&mut self, events: u64) {
        let fields = &[("events", Value::Count(events))];
        let message = "events dropped: they came faster than they could be logged";
        self.note(&Line { level: Level::Warn, message, fields });
    }
    /// Reports what was held back and is due. Called every few seconds.
    fn tick(&mut self, _instance: &Instance) {}
    /// A batch is complete: write what was gathered.
    fn flush(&mut self) {}
    /// The process is about to exit: wait for unwritten lines, but not for long.
    fn finish(&mut self) {}
}

/// The native log: one line per ended session and per change, on standard error or, in the
/// background, in the system log.
pub struct LogReporter {
    format: LineFormat,
    to_syslog: bool,
    stamp: Stamp,
    out: String,
    writer: LogWriter,
    unserved: Unserved,
}

impl LogReporter {
    /// A log in this format. If lines go to the system log, this connects to it, which must happen
    /// before the process changes its root directory.
    #[must_use]
    pub fn new(format: LineFormat, to_syslog: bool) -> Self {
        let target = match to_syslog {
            true => {
                open_syslog(c"evenkeel", Facility::Daemon);
                LogTarget::Syslog
            }
            false => LogTarget::Stderr,
        };
        let writer = LogWriter::new(target, move |lines| {
            let message = "log lines dropped: they were not read in time";
            let fields = &[("lines", Value::Count(lines))];
            let line = Line { level: Level::Warn, message, fields };
            match to_syslog {
                true => line.without_time() + "\n",
                false => {
                    let mut text = String::new();
                    line.write(format, sys::clock::wall_nanos(), &mut Stamp::default(), &mut text);
                    text
                }
            }
        });
        let (stamp, out, unserved) = (Stamp::default(), String::new(), Unserved::default());
        Self { format, to_syslog, stamp, out, writer, unserved }
    }

    fn ended(&mut self, ended: &Ended, instance: &Instance) {
        let listener = instance.listener_name(ended.listener);
        let nobody = "-";
        let (client, peer) = (EndOf(ended.client), EndOf(ended.peer));
        let mut fields = Vec::with_capacity(16); // all that there can be
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
        match &ended.backend {
            Some(backend) => fields.push(("backend", Value::Text(&backend.name))),
            None => fields.push(("backend", Value::Text(&nobody))),
        }
        if let Some(source) = &ended.source {
            fields.push(("source", Value::Text(source)));
        }
        fields.extend([("reason", Value::Text(&ended.reason))]);
        if let Some(failure) = ended.tls.as_ref().and_then(|tls| tls.failure.as_ref()) {
            fields.push(("error", Value::Text(failure)));
        }
        fields.extend([
            ("sent", Value::Count(ended.sent_bytes)),
            ("received", Value::Count(ended.received_bytes)),
        ]);
        if let Some(connect) = ended.connect {
            fields.push(("connect", Value::Time(connect)));
        }
        fields.push(("duration", Value::Time(ended.duration)));
        self.note(&Line { level: Level::Info, message: "session ended", fields: &fields });
        let now = sys::clock::now();
        if let Some(warning) = self.unserved.add(ended.listener, ended.reason, now) {
            self.unserved(&warning, instance);
        }
        if let Some(backend) = &ended.backend
            && backend.state.admin() == AdminState::Draining
            && backend.state.sessions() == 0
        {
            let fields = [("backend", Value::Text(&backend.name))];
            self.note(&Line { level: Level::Info, message: "backend drained", fields: &fields });
        }
    }
}

impl LogReporter {
    fn unserved(&mut self, warning: &Warning, instance: &Instance) {
        let listener = instance.listener_name(warning.listener);
        let fields = [
            ("listener", Value::Text(&listener)),
            ("reason", Value::Text(&warning.reason)),
            ("sessions", Value::Count(warning.sessions)),
        ];
        let message = match warning.reason {
            CloseReason::ProxyInvalid | CloseReason::ProxyTimeout => {
                "proxies have not announced their clients; accept-proxy takes no others"
            }
            CloseReason::Limit => "all backends have as many sessions as their limits allow",
            _ => "no backend has served these sessions",
        };
        self.note(&Line { level: Level::Warn, message, fields: &fields });
    }
}

impl Reporter for LogReporter {
    fn event(&mut self, event: &Event, instance: &Instance) {
        match event {
            Event::Ended(ended) => self.ended(ended, instance),
            Event::Backend { listener, backend, change, failure, .. } => {
                let (level, message) = match change {
                    BackendChange::Quarantined => (Level::Warn, "backend quarantined"),
                    BackendChange::Recovered => (Level::Info, "backend recovered"),
                    BackendChange::AutoDisabled => {
                        (Level::Error, "backend failed and was disabled; enable it with ctl")
                    }
                };
                let listener = instance.listener_name(*listener);
                let mut fields = vec![
                    ("listener", Value::Text(&listener)),
                    ("backend", Value::Text(&backend.name)),
                ];
                if let Some(failure) = failure {
                    fields.push(("error", Value::Text(failure)));
                }
                self.note(&Line { level, message, fields: &fields });
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
                self.note(&Line { level, message, fields: &[] });
            }
            Event::TroubleOver(trouble) => {
                let message = match trouble {
                    Trouble::Descriptors => "the shortage is over: new clients are accepted again",
                    Trouble::Ports => "local ports are free again",
                    Trouble::Flows => "there is room for UDP flows again",
                };
                self.note(&Line { level: Level::Info, message, fields: &[] });
            }
            Event::SourceUnusable { listener, fault } => {
                let listener = instance.listener_name(*listener);
                let fields = [("listener", Value::Text(&listener)), ("error", Value::Text(fault))];
                let message = "cannot connect to backends from clients' addresses";
                self.note(&Line { level: Level::Warn, message, fields: &fields });
            }
            // Only the classics ask for these.
            Event::ConnectFailed(_)
            | Event::Trace(_)
            | Event::Request { .. }
            | Event::Block { .. } => {}
        }
    }

    fn note(&mut self, line: &Line<'_>) {
        if self.to_syslog {
            let priority = match line.level {
                Level::Error => Priority::Error,
                Level::Warn => Priority::Warning,
                Level::Info => Priority::Info,
            };
            self.writer.line(priority, &line.without_time());
        } else {
            line.write(self.format, sys::clock::wall_nanos(), &mut self.stamp, &mut self.out);
        }
    }

    fn tick(&mut self, instance: &Instance) {
        for warning in self.unserved.due(sys::clock::now()) {
            self.unserved(&warning, instance);
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.writer.write(&self.out);
            self.out.clear();
        }
    }

    fn finish(&mut self) {
        self.flush();
        self.writer.finish();
    }
}
