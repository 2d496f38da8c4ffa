//! Sessions that we answer ourselves, with a fixed page and no backend.
//!
//! Source: penctl(1), `dummy`. The answer goes out with the client's first bytes, followed by an
//! end of file. What the client still sends is read and dropped until it ends, too: closing earlier
//! would be a reset, which can overtake the answer.

use crate::session::{Next, Session, State};
use crate::tools::{BUDGET, Tools};
use sys::{Errno, net};
use terms::{CloseReason, Cut, Instant};

/// Fifteen bytes of page.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/html\r\n\r\n\
    Hello, world!\r\n";

/// Waits for the first bytes.
pub(crate) fn begin(session: &Session, now: Instant) -> Next {
    let idle = session.listener.settings().timeouts.idle;
    idle.map_or(Next::Event, |idle| Next::At(now + idle))
}

/// Answers the first bytes, and drops the others.
pub(crate) fn go_on(session: &mut Session, tools: &mut Tools, now: Instant) -> Next {
    let State::Answering { answered } = session.state else { return Next::Event };
    let mut has_answered = answered;
    let mut left = BUDGET;
    let next = loop {
        if left == 0 {
            break Next::Turn;
        }
        match net::receive(session.downstream(), &mut tools.buffer) {
            Ok(0) if has_answered => break Next::End(CloseReason::Answered, None),
            Ok(0) => break Next::End(CloseReason::ClientFin, None),
            Ok(count) => {
                left = left.saturating_sub(count);
                if !has_answered {
                    // A send queue that is new has room for so little.
                    let _ = net::transmit(session.downstream(), ANSWER);
                    net::finish(session.downstream());
                    has_answered = true;
                }
            }
            Err(Errno::AGAIN) => break Next::Event,
            Err(_) if has_answered => break Next::End(CloseReason::Answered, None),
            Err(_) => break Next::End(CloseReason::ClientReset, None),
        }
    };
    session.state = State::Answering { answered: has_answered };
    match next {
        Next::Event | Next::Turn if has_answered && !answered => {
            Next::TurnAt(now + session.listener.settings().timeouts.linger)
        }
        next => next,
    }
}

/// Nothing was said, or the client does not end although it was answered.
pub(crate) fn handle_deadline(session: &Session) -> Next {
    let answered = matches!(session.state, State::Answering { answered: true });
    let reason = if answered { CloseReason::Answered } else { CloseReason::IdleTimeout };
    Next::End(reason, Some(Cut::Close))
}
