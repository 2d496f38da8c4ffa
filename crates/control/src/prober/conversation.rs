//! The connection of one probe.

mod encrypted;
#[cfg(test)]
mod tests;

use super::{Question, Target};
use encrypted::Encrypted;
use probing::{Advice, Dialogue, Probe, Progress};
use relay::{Details, Origin, datagram_header, write_header};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::datagram;
use sys::epoll::Event;
use sys::net::{self, Acknowledge, Source};
use terms::{Address, ConnectFailure, TlsFault};
use tls::Connectors;

/// A connection, and how far the dialogue over it has come.
pub(super) struct Conversation {
    socket: OwnedFd,
    address: Address,
    dialogue: Dialogue,
    /// The connection's TLS, if it has any.
    tls: Option<Encrypted>,
    /// What has not been sent yet.
    send: Vec<u8>,
    /// How many bytes have been received, with those of TLS.
    received: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Talking,
    /// A datagram is to answer.
    Asking,
    /// The outcome is known; what is left is to end politely.
    Leaving {
        has_finished: bool,
    },
}

/// What comes of an event.
pub(super) enum Heard {
    Nothing,
    /// The limit for one event has been reached. There may be more to read, for which no other event
    /// comes by itself.
    Much,
    Passed,
    Failed(String),
    /// The connection has ended on both sides.
    End,
}

impl Conversation {
    /// Begins to connect. `advice` is what the target has said before, if it is an agent.
    pub fn begin(
        target: &Target,
        advice: &Advice,
        nonce: u64,
        connectors: &Connectors,
    ) -> Result<Self, ConnectFailure> {
        let definition = &target.definition;
        if let Question::Probe(probe) = &definition.question
            && probe.is_datagram()
        {
            return Self::begin_datagrams(target, probe, nonce);
        }
        let encrypt = |it| Encrypted::new(connectors, it).ok_or(TlsFault::Unprepared);
        let tls = definition.encryption.as_ref().map(encrypt).transpose();
        let tls = tls.map_err(ConnectFailure::Tls)?;
        let source = definition.source.map_or(Source::System, Source::Own);
        let (socket, _) = net::start_connect(&target.address, source, Acknowledge::AtOnce)?;
        let host = match &target.address {
            Address::Ip(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        let mut send = Vec::new();
        if let Some(form) = definition.header {
            write_header(form, Origin::Peer, &Details::default(), &mut send);
        }
        let dialogue = match &definition.question {
            Question::Probe(probe) => Dialogue::new(probe, &host, nonce),
            Question::Agent(question) => Dialogue::with_agent(question, advice.clone()),
            Question::Command { .. } => return Err(ConnectFailure::NoAddress), // it is run instead
        };
        let address = target.address.clone();
        Ok(Self { socket, address, dialogue, tls, send, received: 0, phase: Phase::Connecting })
    }

    /// Sends a datagram. TLS does not go with it, and the PROXY header only if it is one for
    /// datagrams.
    fn begin_datagrams(target: &Target, probe: &Probe, nonce: u64) -> Result<Self, ConnectFailure> {
        let address = match &target.address {
            Address::Ip(address) => *address,
            Address::Unix(_) => return Err(ConnectFailure::NoAddress),
        };
        let definition = &target.definition;
        let source = definition.source.map_or(Source::System, Source::Own);
        let (socket, _) = datagram::connect_udp(address, source)?;
        let mut dialogue = Dialogue::new(probe, &address.to_string(), nonce);
        let header = definition.header;
        let header = header.and_then(|form| datagram_header(form, Origin::Peer, &[]));
        let mut query = header.unwrap_or_default();
        let _ = dialogue.start(&mut query); // an answer is always waited for
        // What the socket does not take now is lost, as it may be on the way.
        let _ = net::transmit(socket.as_fd(), &query);
        let (address, phase) = (target.address.clone(), Phase::Asking);
        Ok(Self { socket, address, dialogue, tls: None, send: Vec::new(), received: 0, phase })
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the connection has been made.
    pub fn is_connected(&self) -> bool {
        self.phase != Phase::Connecting
    }

    /// What an agent has advised.
    pub fn advice(&self) -> Option<&Advice> {
        self.dialogue.advice()
    }

    /// Goes as far as this event allows. `buffer` is for what is read.
    pub fn handle(&mut self, event: Event, buffer: &mut [u8]) -> Heard {
        match self.phase {
            Phase::Connecting if event.is_failed() => {
                Heard::Failed(net::take_failure(self.socket(), &self.address).to_string())
            }
            Phase::Connecting if !event.is_writable() => Heard::Nothing,
            Phase::Connecting => {
                self.phase = Phase::Talking;
                let progress = match &mut self.tls {
                    Some(tls) => tls.begin(&mut self.send),
                    None => self.dialogue.start(&mut self.send),
                };
                match progress {
                    Progress::Waiting => self.talk(buffer),
                    Progress::Passed => Heard::Passed,
                    Progress::Failed(why) => Heard::Failed(why),
                }
            }
            Phase::Talking => self.talk(buffer),
            Phase::Asking => self.listen(buffer),
            Phase::Leaving { .. } => match self.leave(buffer) {
                true => Heard::End,
                false => Heard::Nothing,
            },
        }
    }

    /// Reads datagrams until one is the answer.
    fn listen(&mut self, buffer: &mut [u8]) -> Heard {
        for _ in 0..READS_MAX {
            match net::receive(self.socket.as_fd(), buffer) {
                Ok(count) => match self.dialogue.read_datagram(&buffer[..count], &mut self.send) {
                    Progress::Waiting => {}
                    Progress::Passed => return Heard::Passed,
                    Progress::Failed(why) => return Heard::Failed(why),
                },
                Err(error) if is_later(&error.into()) => return Heard::Nothing,
                Err(error) => {
                    let failure = datagram::peer_failure(error);
                    let failure = failure.map(|failure| failure.to_string());
                    return failure.map_or(Heard::Nothing, Heard::Failed);
                }
            }
        }
        Heard::Failed("floods us with datagrams that are no answers".to_owned())
    }

    /// Reads what has arrived, but only so much at a time: other backends must not wait for this one.
    fn talk(&mut self, buffer: &mut [u8]) -> Heard {
        for _ in 0..READS_MAX {
            if let Err(error) = self.flush() {
                return Heard::Failed(format!("connection lost: {error}"));
            }
            match net::receive(self.socket.as_fd(), buffer) {
                Ok(0) => {
                    let is_in_handshake = self.tls.as_ref().is_some_and(Encrypted::is_shaking);
                    if is_in_handshake {
                        return Heard::Failed(ConnectFailure::Tls(TlsFault::Ended).to_string());
                    }
                    return match self.dialogue.end() {
                        Progress::Waiting => Heard::Nothing,
                        Progress::Passed => Heard::Passed,
                        Progress::Failed(why) => Heard::Failed(why),
                    };
                }
                Ok(count) => {
                    self.received += count;
                    let (dialogue, send) = (&mut self.dialogue, &mut self.send);
                    let progress = match &mut self.tls {
                        Some(tls) => tls.read(&buffer[..count], dialogue, send),
                        None => dialogue.read(&buffer[..count], send),
                    };
                    match progress {
                        Progress::Waiting if self.received > RECEIVED_MAX => {
                            let kilobytes = RECEIVED_MAX >> 10;
                            let why = format!("has sent {kilobytes} kB without an answer");
                            return Heard::Failed(why);
                        }
                        Progress::Waiting => {}
                        Progress::Passed => return Heard::Passed,
                        Progress::Failed(why) => {
                            let _ = self.flush(); // an alert, perhaps
                            return Heard::Failed(why);
                        }
                    }
                }
                Err(error) if is_later(&error.into()) => return Heard::Nothing,
                Err(error) => {
                    let error = std::io::Error::from(error);
                    return Heard::Failed(format!("connection lost: {error}"));
                }
            }
        }
        Heard::Much
    }

    /// Ends the connection: sends what is left and then an end of file, and reads to the end.
    /// Returns whether it is over; otherwise an event will come.
    pub fn leave(&mut self, buffer: &mut [u8]) -> bool {
        if matches!(self.phase, Phase::Connecting | Phase::Asking) {
            return true; // there is nothing to end
        }
        let has_finished = matches!(self.phase, Phase::Leaving { has_finished: true });
        if let Some(tls) = self.tls.take() {
            tls.close(&mut self.send);
        }
        let Ok(has_sent) = self.flush() else { return true };
        if has_sent && !has_finished {
            net::finish(self.socket.as_fd());
        }
        self.phase = Phase::Leaving { has_finished: has_finished || has_sent };
        // A server that talks on and on is not listened to for ever.
        for _ in 0..READS_MAX {
            match net::receive(self.socket.as_fd(), buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !is_later(&error.into()),
            }
        }
        true
    }

    /// Sends what the socket takes; returns whether that was all.
    fn flush(&mut self) -> std::io::Result<bool> {
        while !self.send.is_empty() {
            match net::transmit(self.socket.as_fd(), &self.send) {
                Ok(count) => drop(self.send.drain(..count)),
                Err(error) if is_later(&error.into()) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

fn is_later(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

/// The maximum number of reads that are made at a time.
const READS_MAX: usize = 64;
/// The maximum number of bytes that a backend may send before the outcome. A dialogue has a lower
/// limit of its own. This one is for TLS, which allows any number of messages that the dialogue never
/// sees.
const RECEIVED_MAX: usize = 256 << 10;
