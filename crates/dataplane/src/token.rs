//! How the poller's events say where they belong.

use relay::Incarnation;
use terms::Side;

/// Where an event belongs, as one number.
///
/// ~~~text
///   sessions   0 | incarnation (8) | session number, low bits (23) | key (31) | side (1)
///   listeners  1 | key
///   the waker  all ones
/// ~~~
///
/// A key is a place in a slab, which another session may occupy by the time that an event is
/// handled. A session's upstream side may be another connection by then. The session number and
/// the incarnation show that an event is stale: each repeats only after more changes than one
/// batch of events can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Waker,
    Listener(usize),
    Session { key: usize, side: Side, number: u64, incarnation: Incarnation },
}

const LISTENER_BIT: u64 = 1 << 63;
const INCARNATION_SHIFT: u32 = 55;
const NUMBER_SHIFT: u32 = 32;
const NUMBER_MASK: u64 = (1 << (INCARNATION_SHIFT - NUMBER_SHIFT)) - 1;

impl Token {
    /// The token of a client's connection.
    pub fn downstream(key: usize, number: u64) -> Self {
        let incarnation = Incarnation::default();
        Self::Session { key, side: Side::Downstream, number, incarnation }
    }

    /// The token of a connection to a backend.
    pub fn upstream(key: usize, number: u64, incarnation: Incarnation) -> Self {
        Self::Session { key, side: Side::Upstream, number, incarnation }
    }

    pub fn to_number(self) -> u64 {
        match self {
            Self::Waker => u64::MAX,
            Self::Listener(key) => LISTENER_BIT | key as u64,
            Self::Session { key, side, number, incarnation } => {
                u64::from(incarnation.number()) << INCARNATION_SHIFT
                    | (number & NUMBER_MASK) << NUMBER_SHIFT
                    | (key as u64) << 1
                    | side as u64
            }
        }
    }

    #[inline]
    pub fn from_number(token: u64) -> Self {
        if token == u64::MAX {
            return Self::Waker;
        }
        if token & LISTENER_BIT != 0 {
            return Self::Listener((token & !LISTENER_BIT) as usize);
        }
        let side = if token & 1 == 0 { Side::Downstream } else { Side::Upstream };
        Self::Session {
            key: (token as u32 >> 1) as usize,
            side,
            number: token >> NUMBER_SHIFT & NUMBER_MASK,
            incarnation: Incarnation::from_number((token >> INCARNATION_SHIFT) as u8),
        }
    }
}

/// Whether a token's part of a session number is that of this session.
#[inline]
pub(crate) fn is_number_of(part: u64, session: u64) -> bool {
    part == session & NUMBER_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_event_it_is() {
        let second = Incarnation::default().next();
        let highest = Incarnation::from_number(255);
        for token in [
            Token::Waker,
            Token::Listener(7),
            Token::downstream(0, 1),
            Token::upstream((1 << 31) - 1, 12_345, second),
            Token::upstream(5, NUMBER_MASK, highest),
        ] {
            assert_eq!(Token::from_number(token.to_number()), token);
        }
    }

    #[test]
    fn another_socket_of_the_same_session_has_another_token() {
        let first = Incarnation::default();
        let tokens = [first, first.next()].map(|it| Token::upstream(3, 9, it).to_number());
        assert_ne!(tokens[0], tokens[1]);
    }
}
