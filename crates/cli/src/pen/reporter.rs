//! What pen says of what happens: the traffic log, dumps, and who was blacklisted.

use super::facts::server_number;
use super::operation::Operation;
use crate::bare_reason;
use balancing::{Backend, BackendChange};
use classics::pen::replies::dump;
use control::{Instance, Reporter};
use dataplane::{Event, Trouble};
use std::sync::Arc;
use telemetry::{Level, Line};
use terms::{Address, ConnectFailure};

/// Hears of events on the control thread.
pub struct PenReporter {
    operation: Arc<Operation>,
    /// Dumps of this batch.
    dumps: String,
}

impl PenReporter {
    pub fn new(operation: Arc<Operation>) -> Self {
        Self { operation, dumps: String::new() }
    }

    fn say(&self, text: &str) {
        self.operation.messages().say(text);
    }

    fn blacklisted(&self, backend: &Backend, instance: &Instance, failure: Option<ConnectFailure>) {
        let number = server_number(&instance.pool(0), backend);
        if matches!(failure, Some(ConnectFailure::TimedOut | ConnectFailure::Busy)) {
            self.say(&format!("blacklisting server {number} because of connect timeout"));
            return;
        }
        if let Some(failure) = failure {
            let error = sys::net::system_error(failure);
            self.say(&format!("Connect failed: {}", bare_reason(&error)));
        }
        self.say(&format!("blacklisting server {number} because of connect failure"));
    }
}

impl Reporter for PenReporter {
    fn event(&mut self, event: &Event, instance: &Instance) {
        match event {
            Event::Request { client, backend, bytes, .. } => {
                let client = client.map(|client| client.ip().to_canonical());
                let server = backend.addresses.first().map(shown).unwrap_or_default();
                self.operation.traffic().add(client, &server, bytes);
            }
            Event::Block { bytes: Some(bytes), .. } if !bytes.is_empty() => {
                let ascii = self.operation.settings().ascii;
                self.dumps.push_str(&dump(bytes, ascii));
            }
            Event::Backend { backend, change: BackendChange::Quarantined, failure, .. } => {
                self.blacklisted(backend, instance, *failure);
            }
            Event::SourceUnusable { fault, .. } => {
                self.say(&format!("transparent: connecting from our own address: {fault}"));
            }
            Event::Trouble(Trouble::Descriptors) => {
                self.say("out of descriptors or memory; accepting waits");
            }
            Event::Trouble(Trouble::Ports) => {
                self.say("no local port is free towards a server; its clients wait");
            }
            Event::TroubleOver(Trouble::Descriptors) => self.say("accepting again"),
            Event::TroubleOver(Trouble::Ports) => self.say("local ports are free again"),
            Event::Ended(_)
            | Event::Backend { .. }
            | Event::Block { .. }
            | Event::ConnectFailed(_)
            | Event::Trace(_) => {}
        }
    }

    /// pen tells of no start, stop, connection or command, but of what should not be.
    fn note(&mut self, line: &Line<'_>) {
        if line.level != Level::Info {
            self.say(&line.without_time());
        }
    }

    fn flush(&mut self) {
        self.operation.traffic().flush();
        if !self.dumps.is_empty() {
            self.operation.messages().print(&self.dumps);
            self.dumps.clear();
        }
    }
}

/// A server's address without its port.
fn shown(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.ip().to_string(),
        Address::Unix(path) => path.display().to_string(),
    }
}
