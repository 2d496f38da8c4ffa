//! pen's reports of what happens: the traffic log, dumps, and blacklisted servers.

use super::facts::server_number;
use super::messages::Messages;
use super::operation::ReporterSettings;
use balancing::{Backend, BackendChange};
use classics::pen::replies::dump;
use control::{Instance, Reporter};
use dataplane::{Event, Trouble};
use sys::errors::reason;
use telemetry::{Level, Line};
use terms::{Address, ConnectFailure};
use tokio::sync::watch;

/// Receives events on the control thread.
pub struct PenReporter {
    messages: Messages,
    for_reporter: watch::Receiver<ReporterSettings>,
    /// Entries of this batch, for the traffic log.
    entries: Vec<u8>,
    /// Dumps of this batch.
    dumps: String,
}

/// How much text is gathered before it is handed over.
const GATHERED_BYTES_MAX: usize = 64 << 10;

impl PenReporter {
    pub fn new(messages: Messages, for_reporter: watch::Receiver<ReporterSettings>) -> Self {
        Self { messages, for_reporter, entries: Vec::new(), dumps: String::new() }
    }

    fn say(&self, text: &str) {
        self.messages.say(text);
    }

    fn blacklisted(&self, backend: &Backend, instance: &Instance, failure: Option<ConnectFailure>) {
        let number = server_number(&instance.pool(0), backend);
        let failure = failure.unwrap_or(ConnectFailure::Refused); // a connect is what failed
        if matches!(failure, ConnectFailure::TimedOut | ConnectFailure::Busy) {
            self.say(&format!("blacklisting server {number} because of connect timeout"));
            return;
        }
        let error = sys::net::system_error(failure);
        if let Some(errno) = error.raw_os_error().filter(|_| is_seen_at_once(backend, failure)) {
            let seconds = self.for_reporter.borrow().blacklist;
            self.say(&format!("Server {number} failed, retry in {seconds} sec: {errno}"));
            self.say(&format!("blacklisting server {number} because connect error {errno}"));
        } else {
            self.say(&format!("Connect failed: {}", reason(&error)));
            self.say(&format!("blacklisting server {number} because of connect failure"));
        }
    }
}

/// Whether the system call that begins a connect fails with this; otherwise it fails later. The
/// original has different words for the two.
fn is_seen_at_once(backend: &Backend, failure: ConnectFailure) -> bool {
    let is_unix = backend.addresses.iter().any(|it| matches!(it, Address::Unix(_)));
    is_unix || matches!(failure, ConnectFailure::NoRoute | ConnectFailure::NoAddress)
}

impl Reporter for PenReporter {
    fn event(&mut self, event: &Event, instance: &Instance) {
        if self.entries.len().max(self.dumps.len()) >= GATHERED_BYTES_MAX {
            self.flush();
        }
        match event {
            Event::Request { client, backend, bytes, .. } => {
                let client = client.map(|client| client.ip().to_canonical());
                let server = backend.addresses.first().map(shown).unwrap_or_default();
                self.for_reporter.borrow().log.add(&mut self.entries, client, &server, bytes);
            }
            Event::Block { bytes: Some(bytes), .. } if !bytes.is_empty() => {
                let ascii = self.for_reporter.borrow().ascii;
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
            Event::Trouble(Trouble::Flows) => {
                self.say("no room for more UDP clients; the oldest make room");
            }
            Event::TroubleOver(Trouble::Flows) => self.say("there is room for UDP clients again"),
            Event::TroubleOver(Trouble::Descriptors) => self.say("accepting again"),
            Event::TroubleOver(Trouble::Ports) => self.say("local ports are free again"),
            Event::Started(_)
            | Event::Ended(_)
            | Event::Backend { .. }
            | Event::Block { .. }
            | Event::ConnectFailed(_)
            | Event::Trace(_) => {}
        }
    }

    /// pen reports no start, stop, connection or command, but warnings and errors.
    fn note(&mut self, line: &Line<'_>) {
        if line.level != Level::Info {
            self.say(&line.without_time());
        }
    }

    fn dropped(&mut self, events: u64) {
        self.say(&format!("{events} events dropped: they came faster than they could be logged"));
    }

    fn flush(&mut self) {
        self.for_reporter.borrow().log.write(&mut self.entries);
        if !self.dumps.is_empty() {
            self.messages.dump(&self.dumps);
            self.dumps.clear();
        }
    }

    fn finish(&mut self) {
        self.flush();
        self.for_reporter.borrow().log.finish();
        self.messages.finish();
    }
}

/// A server's address without its port.
fn shown(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.ip().to_string(),
        Address::Unix(path) => path.display().to_string(),
    }
}
