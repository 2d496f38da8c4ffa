//! What pen says of what happens: the traffic log, dumps, and who was blacklisted.

use super::facts::server_number;
use super::operation::Operation;
use crate::bare_reason;
use balancing::{Backend, BackendChange};
use classics::pen::replies::dump;
use control::{Instance, Reporter};
use dataplane::Event;
use std::sync::Arc;
use telemetry::{Level, Line};
use terms::Address;

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

    fn blacklisted(&self, backend: &Backend, instance: &Instance, error: Option<&std::io::Error>) {
        let number = server_number(&instance.pool(0), backend);
        let timed_out = error.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
        if timed_out {
            self.say(&format!("blacklisting server {number} because of connect timeout"));
            return;
        }
        if let Some(error) = error {
            self.say(&format!("Connect failed: {}", bare_reason(error)));
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
            Event::Backend { backend, change: BackendChange::Quarantined, error, .. } => {
                self.blacklisted(backend, instance, error.as_ref());
            }
            Event::SourceUnusable { fault, .. } => {
                self.say(&format!("transparent: connecting from our own address: {fault}"));
            }
            Event::Trouble(_) => {
                self.say("out of descriptors, memory or local ports; accepting waits");
            }
            Event::TroubleOver => self.say("accepting again"),
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
