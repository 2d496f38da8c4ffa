//! One run of a probe.

use crate::protocols::{self, Read, Talk};
use crate::text::quoted;
use crate::{Advice, Probe};

/// One run of a probe over a connection that has been made.
///
/// What is to be sent is appended to a buffer. After the outcome is known, the connection is to be
/// ended politely: send what is left in the buffer, then an end of file, and read to the end, so
/// that the server sees neither a reset nor a client that has vanished.
///
/// A backend that has sent 16 kB without an outcome has failed.
///
/// ```
/// use probing::{Dialogue, Probe, Progress};
/// let mut send = Vec::new();
/// let mut dialogue = Dialogue::new(&Probe::Smtp, "192.0.2.1:25", 0);
/// assert_eq!(dialogue.start(&mut send), Progress::Waiting);
/// assert_eq!(dialogue.read(b"220 mx\r\n", &mut send), Progress::Waiting);
/// assert_eq!(dialogue.read(b"250 hello\r\n", &mut send), Progress::Passed);
/// assert_eq!(send, b"EHLO probe.invalid\r\nQUIT\r\n");
/// ```
pub struct Dialogue {
    protocol: Box<dyn Talk + Send>,
    /// All that has come over a connection, or the last datagram.
    received: Vec<u8>,
    /// How much of that has been dealt with.
    taken: usize,
}

/// How far a dialogue has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Waiting,
    /// The backend has answered as it should.
    Passed,
    /// It has not, for this reason.
    Failed(String),
}

/// The maximum number of bytes that a backend may send before its answer is complete. This includes
/// lines and messages that have been dealt with, because some protocols allow any number of them
/// before the one that matters.
const RECEIVED_MAX: usize = 16 << 10;

impl Dialogue {
    /// A dialogue that has not begun. `host` is the address of the backend, for a protocol that
    /// names it. `nonce` is a number that others cannot guess: answers to datagrams must have it.
    #[must_use]
    pub fn new(probe: &Probe, host: &str, nonce: u64) -> Self {
        Self { protocol: protocols::of(probe, host, nonce), received: Vec::new(), taken: 0 }
    }

    /// Likewise with an agent, which is sent `question`. What it has said before is `advice`.
    #[must_use]
    pub fn with_agent(question: &[u8], advice: Advice) -> Self {
        let protocol = Box::new(protocols::Agent::new(question, advice));
        Self { protocol, received: Vec::new(), taken: 0 }
    }

    /// The connection has been made.
    pub fn start(&mut self, send: &mut Vec<u8>) -> Progress {
        progress(&self.protocol.start(send)).unwrap_or(Progress::Waiting)
    }

    /// These bytes have come.
    pub fn read(&mut self, bytes: &[u8], send: &mut Vec<u8>) -> Progress {
        let room = RECEIVED_MAX - self.received.len();
        self.received.extend_from_slice(&bytes[..bytes.len().min(room)]);
        loop {
            let read = self.protocol.read(&self.received[self.taken..], send);
            match read {
                Read::Took(0) | Read::More if bytes.len() < room => return Progress::Waiting,
                Read::Took(0) | Read::More => {
                    let kilobytes = RECEIVED_MAX >> 10;
                    return Progress::Failed(format!("its answer is longer than {kilobytes} kB"));
                }
                Read::Took(count) => self.taken += count,
                Read::Passed | Read::Failed(_) => {
                    return progress(&read).unwrap_or(Progress::Waiting);
                }
            }
        }
    }

    /// A datagram has come. One that is no answer changes nothing.
    pub fn read_datagram(&mut self, bytes: &[u8], send: &mut Vec<u8>) -> Progress {
        self.received.clear();
        self.taken = 0;
        self.read(bytes, send)
    }

    /// The backend has ended the connection. Where that is not the end of an answer, the probe has
    /// failed.
    #[must_use]
    pub fn end(&mut self) -> Progress {
        let left = &self.received[self.taken..];
        let read = self.protocol.end(left);
        progress(&read).unwrap_or_else(|| {
            Progress::Failed(match left {
                [] => "closed the connection before its answer".to_owned(),
                received => format!("closed the connection after {}", quoted(received)),
            })
        })
    }

    /// What an agent whose dialogue has [passed](Progress::Passed) advises.
    #[must_use]
    pub fn advice(&self) -> Option<&Advice> {
        self.protocol.advice()
    }
}

fn progress(read: &Read) -> Option<Progress> {
    match read {
        Read::More | Read::Took(_) => None,
        Read::Passed => Some(Progress::Passed),
        Read::Failed(why) => Some(Progress::Failed(why.clone())),
    }
}
