//! TLS with clients, before a backend is looked for.
//!
//! The search begins after the handshake: the name that the client asks for, the protocol and its
//! certificate are then known when a backend is chosen and told about the client, and a client that
//! does not finish its handshake never takes a place at a backend.
//!
//! A step of a handshake can take a millisecond, so that only a few are made in one turn of the
//! worker. A session holds nothing but its socket until its client has sent something.

use crate::secure::{Loss, Secure};
use crate::session::{Next, Session};
use crate::tools::Tools;
use crate::wire::{Plain, Secured};
use relay::{Fault, Ready};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use terms::{CloseReason, Instant, Side};
use tls::Channel;

/// A worker's handshakes: which are to be continued, in the order in which something arrived, and
/// which have begun, in that order.
#[derive(Default)]
pub(crate) struct Handshakes {
    ready: VecDeque<usize>,
    begun: VecDeque<(usize, u64)>,
    /// Those of the sessions that are in a handshake.
    pub under_way: usize,
}

/// Handshakes that are continued in one turn.
pub(crate) const STEPS_PER_TURN: usize = 2;
/// Handshakes under way in one worker. When there are more, the oldest one ends: its client has had
/// the most time.
pub(crate) const UNDER_WAY_MAX: usize = 4096;

impl Handshakes {
    pub fn are_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Adds a session that something has arrived for.
    pub fn add(&mut self, key: usize) {
        self.ready.push_back(key);
    }

    /// The session to be continued next.
    pub fn next(&mut self) -> Option<usize> {
        self.ready.pop_front()
    }

    /// Adds a session that begins its handshake.
    pub fn begin(&mut self, key: usize, number: u64) {
        self.begun.push_back((key, number));
        self.under_way += 1;
    }

    /// The one that began first of those that `are_under_way`, if there are too many.
    pub fn too_many(&mut self, is_under_way: impl Fn(usize, u64) -> bool) -> Option<usize> {
        while let Some(&(key, number)) = self.begun.front() {
            if !is_under_way(key, number) {
                self.begun.pop_front();
            } else if self.under_way > UNDER_WAY_MAX {
                self.begun.pop_front();
                return Some(key);
            } else {
                break;
            }
        }
        None
    }
}

/// Waits for the client's first bytes.
pub(crate) fn begin(session: &Session, now: Instant) -> Next {
    let settings = session.listener.settings();
    let limit = settings.tls.as_ref().map(|it| it.timeout).unwrap_or_default();
    Next::At(now + limit)
}

/// Takes a step. The session can look for a backend after the last one.
pub(crate) fn go_on(session: &mut Session, tools: &mut Tools) -> Result<(), Next> {
    let Session { extras, downstream, listener, link, is_unix, .. } = session;
    let tls = extras.get_or_insert_default().tls.get_or_insert_default();
    let secure = match &mut tls[Side::Downstream as usize] {
        Some(secure) => secure,
        none => {
            let settings = listener.settings();
            let acceptor = settings.tls.as_ref().and_then(|it| it.acceptor.as_ref());
            let channel = acceptor.and_then(|it| Channel::accept(it).ok());
            match channel {
                Some(channel) => none.insert(Secure::new(channel)),
                None => return Err(session.cut(CloseReason::TlsFailed)),
            }
        }
    };
    let mut secured = Secured {
        socket: Plain::downstream(downstream.as_fd(), *is_unix),
        tls: secure,
        records: &tools.records,
        is_hung_up: link.is_hung_up(Side::Downstream),
    };
    match secured.shake(&mut tools.buffer) {
        Ok(true) => {
            // More may have been decrypted already, and no event tells of that.
            link.handle_ready(Side::Downstream, Ready { readable: true, ..Ready::default() });
            Ok(())
        }
        Ok(false) => Err(Next::Turn), // the rest of it may have arrived
        Err(Fault::Lost) => Err(match secure.loss() {
            // A connection without a byte asks whether anyone is listening.
            Some(Loss::Truncated) if secure.is_untouched() => {
                Next::End(CloseReason::ClientFin, None)
            }
            Some(Loss::Socket) => session.cut(CloseReason::ClientReset),
            _ => Next::End(CloseReason::TlsFailed, Some(terms::Cut::Close)),
        }),
        Err(_) => Err(Next::Event),
    }
}

/// Ends the session if the handshake has taken too long.
pub(crate) fn handle_deadline(session: &Session) -> Next {
    session.cut(CloseReason::TlsTimeout)
}
