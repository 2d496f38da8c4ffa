//! A connection's TLS between turns.

use crate::event::TlsSummary;
use relay::{Fault, Ready};
use std::cell::RefCell;
use std::fmt;
use terms::{ConnectFailure, TlsFault};
use tls::{Channel, Failure};

/// A connection's TLS. If it is idle, it has no buffer.
pub(crate) struct Secure {
    pub channel: Channel,
    /// An incomplete record that was received.
    pub held: Vec<u8>,
    /// Records that the socket did not take.
    pub unsent: Vec<u8>,
    /// The name of the server that the client has asked for.
    pub server_name: Option<Box<str>>,
    /// Whether the client has said all that it asks for.
    pub has_greeted: bool,
    /// Whether the close_notify is among what was sealed.
    is_closed: bool,
    /// Whether anything has been received.
    pub has_received: bool,
    /// Why nothing more can be received or sent.
    lost: Option<Loss>,
    /// What events have reported about a backend's connection during its handshake.
    pub seen: Ready,
    /// Whether a step of a backend's handshake is to be taken.
    pub is_queued: bool,
}

/// The end of a connection's TLS that was not agreed upon.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// The socket has failed.
    Socket,
    /// The peer's end of file came without a close_notify: what it sent may be incomplete.
    Truncated,
    /// The protocol was violated, or an alert came.
    Protocol(Failure),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket => f.write_str("the connection has failed"),
            Self::Truncated => f.write_str("the connection has ended without a close_notify"),
            Self::Protocol(failure) => failure.fmt(f),
        }
    }
}

impl Loss {
    /// What it says about a backend.
    pub fn of_backend(&self) -> ConnectFailure {
        match self {
            Self::Socket => ConnectFailure::Reset,
            Self::Truncated => ConnectFailure::Tls(TlsFault::Ended),
            Self::Protocol(failure) => ConnectFailure::Tls(failure.fault()),
        }
    }
}

/// A worker's memory for records, which all of its connections use one after another. It is taken
/// when the first one needs it.
pub(crate) type Records = RefCell<Vec<u8>>;

impl Secure {
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            held: Vec::new(),
            unsent: Vec::new(),
            server_name: None,
            has_greeted: false,
            is_closed: false,
            has_received: false,
            lost: None,
            seen: Ready::default(),
            is_queued: false,
        }
    }

    /// Why nothing more can be received or sent.
    pub fn loss(&self) -> Option<&Loss> {
        self.lost.as_ref()
    }

    /// What became of it. A reset needs no explanation.
    pub fn summary(&self, is_explained: bool) -> Box<TlsSummary> {
        let loss = self.loss().filter(|loss| is_explained && !matches!(loss, Loss::Socket));
        let (agreed, failure) = (self.channel.agreed(), loss.map(ToString::to_string));
        let peer_name = self.channel.peer_certificate().and_then(|it| it.name);
        Box::new(TlsSummary { agreed, peer_name, failure })
    }

    /// Whether no complete record has arrived yet, nor a part of one.
    pub fn is_untouched(&self) -> bool {
        self.held.is_empty() && !self.has_received
    }

    /// Whether it has been given up.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Whether there are records that the socket did not take.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() && self.lost.is_none()
    }

    /// Adds the close_notify to what is to be sent, once.
    pub fn close(&mut self) {
        if !self.is_closed && self.lost.is_none() {
            self.is_closed = true;
            self.channel.close(&mut self.unsent, &mut self.held);
        }
    }

    /// Gives the connection up. Its buffers are freed.
    pub fn lose(&mut self, loss: Loss) -> Fault {
        self.lost = Some(loss);
        self.held = Vec::new();
        self.unsent = Vec::new();
        Fault::Lost
    }
}
