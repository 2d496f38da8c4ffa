//! Sessions that we answer ourselves, with a fixed page and no backend.
//!
//! Source: penctl(1), `dummy`. The answer goes out with the client's first bytes, and an end of file
//! behind it. What the client still sends is read and dropped until it ends, too: closing earlier
//! would be a reset, which can overtake the answer.

use crate::listener::Settings;
use crate::session::Phase;
use crate::worker::{BUDGET, Worker};
use sys::net;
use terms::{CloseReason, Cut, Instant};

/// Fifteen bytes of page.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/html\r\n\r\n\
    Hello, world!\r\n";

impl Worker {
    /// Waits for the first bytes of a session that no backend is asked for.
    pub(crate) fn begin_dummy(&mut self, key: usize, settings: &Settings, now: Instant) {
        self.sessions[key].phase = Phase::Dummy { answered: false };
        if let Some(idle) = settings.timeouts.idle {
            self.deadlines.set(key, now + idle);
        }
    }

    /// Answers the first bytes, and drops the others.
    pub(crate) fn serve_dummy(&mut self, key: usize, now: Instant) {
        let session = &mut self.sessions[key];
        let Phase::Dummy { mut answered } = session.phase else { return };
        let mut left = BUDGET;
        let reason = loop {
            if left == 0 {
                self.queue(key);
                return;
            }
            match net::receive(session.downstream(), &mut self.buffer) {
                Ok(0) if answered => break CloseReason::Answered,
                Ok(0) => break CloseReason::ClientFin,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    if !answered {
                        // A send queue that is new has room for so little.
                        let _ = net::transmit(session.downstream(), ANSWER);
                        net::finish(session.downstream());
                        answered = true;
                        session.phase = Phase::Dummy { answered };
                        let linger = session.listener.settings().timeouts.linger;
                        self.deadlines.set(key, now + linger);
                    }
                }
                Err(sys::Errno::AGAIN) => return,
                Err(_) if answered => break CloseReason::Answered,
                Err(_) => break CloseReason::ClientReset,
            }
        };
        self.end(key, reason, None, now);
    }

    /// Nothing was said, or the client does not end although it was answered.
    pub(crate) fn dummy_expired(&mut self, key: usize, answered: bool, now: Instant) {
        let reason = if answered { CloseReason::Answered } else { CloseReason::IdleTimeout };
        self.end(key, reason, Some(Cut::Close), now);
    }
}
