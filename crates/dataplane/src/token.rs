//! How the poller's events say where they belong.

use relay::Incarnation;
use terms::Side;

/// Where an event belongs, as one number.
///
/// ~~~text
///   sessions   0 | incarnation (8) | session number, low bits (23) | key (31) | side (1)
///   flows     10 | incarnation (8) | session number, low bits (23) | key (31)
///   listeners 110 | key
///   UDP doors 111 | key
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
    Session {
        key: usize,
        side: Side,
        number: u64,
        incarnation: Incarnation,
    },
    /// A UDP flow's socket towards its backend.
    Flow {
        key: usize,
        number: u64,
        incarnation: Incarnation,
    },
    /// A UDP socket that clients write to.
    Door(usize),
}

const OTHER_BIT: u64 = 1 << 63;
const LISTENER_BITS: u64 = 0b110 << 61;
const DOOR_BITS: u64 = 0b111 << 61;
const KIND_BITS: u64 = 0b111 << 61;
const INCARNATION_SHIFT: u32 = 55;
const NUMBER_SHIFT: u32 = 32;
const KEY_MASK: u64 = (1 << (NUMBER_SHIFT - 1)) - 1;
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
            Self::Listener(key) => LISTENER_BITS | key as u64,
            Self::Door(key) => DOOR_BITS | key as u64,
            Self::Flow { key, number, incarnation } => {
                OTHER_BIT
                    | u64::from(incarnation.number()) << (INCARNATION_SHIFT - 1)
                    | (number & NUMBER_MASK) << (NUMBER_SHIFT - 1)
                    | key as u64
            }
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
        if token & OTHER_BIT != 0 {
            return Self::from_other_number(token);
        }
        let side = if token & 1 == 0 { Side::Downstream } else { Side::Upstream };
        Self::Session {
            key: (token as u32 >> 1) as usize,
            side,
            number: token >> NUMBER_SHIFT & NUMBER_MASK,
            incarnation: Incarnation::from_number((token >> INCARNATION_SHIFT) as u8),
        }
    }

    fn from_other_number(token: u64) -> Self {
        let key = (token & !KIND_BITS) as usize;
        match token & KIND_BITS {
            LISTENER_BITS => Self::Listener(key),
            DOOR_BITS => Self::Door(key),
            _ => Self::Flow {
                key: (token & KEY_MASK) as usize,
                number: token >> (NUMBER_SHIFT - 1) & NUMBER_MASK,
                incarnation: Incarnation::from_number((token >> (INCARNATION_SHIFT - 1)) as u8),
            },
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
            Token::Door(9),
            Token::Flow { key: 0, number: 1, incarnation: second },
            Token::Flow { key: (1 << 31) - 1, number: NUMBER_MASK, incarnation: highest },
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
