//! The records of a ClientHello, and the message in them.
//!
//! ~~~text
//!   record:    22 | version (2) | length (2) | a part of the message
//!   message:   1 | length (3) | the hello
//! ~~~

use super::CLIENT_HELLO_BYTES_MAX;

/// What the records have of the message.
pub(super) enum Joined<'b> {
    /// As in [`Opening`](super::Opening).
    Incomplete(usize),
    /// All of the hello.
    Whole(&'b [u8]),
    Other,
}

const HANDSHAKE: u8 = 22;
const MAJOR_VERSION: u8 = 3;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER_BYTES: usize = 5;
const RECORD_BYTES_MAX: usize = 1 << 14;
const MESSAGE_HEADER_BYTES: usize = 4;

/// Moves the parts of the message together, behind the header of the first record.
pub(super) fn join(bytes: &mut [u8]) -> Joined<'_> {
    let seen = bytes.len().min(CLIENT_HELLO_BYTES_MAX);
    let bytes = &mut bytes[..seen];
    let (mut at, mut joined) = (0, 0);
    loop {
        let missing = match message_bytes(&bytes[RECORD_HEADER_BYTES.min(seen)..], joined) {
            Some(whole) if joined < whole => whole - joined,
            Some(whole) => {
                let start = RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES;
                return Joined::Whole(&bytes[start..RECORD_HEADER_BYTES + whole]);
            }
            None => return Joined::Other,
        };
        let length = match record_bytes(&bytes[at..]) {
            Ok(Some(length)) => length,
            Ok(None) => return incomplete(at + RECORD_HEADER_BYTES + missing),
            Err(NotARecord) => return Joined::Other,
        };
        let start = at + RECORD_HEADER_BYTES;
        let end = seen.min(start + length);
        bytes.copy_within(start..end, RECORD_HEADER_BYTES + joined);
        joined += end - start;
        at = start + length;
        if at > seen {
            // The message may be complete before its record is.
            match message_bytes(&bytes[RECORD_HEADER_BYTES..], joined) {
                Some(whole) if joined < whole => {
                    let header = if whole - joined > at - seen { RECORD_HEADER_BYTES } else { 0 };
                    return incomplete(seen + whole - joined + header);
                }
                Some(_) => at = seen,
                None => return Joined::Other,
            }
        }
    }
}

fn incomplete<'b>(needed: usize) -> Joined<'b> {
    match needed <= CLIENT_HELLO_BYTES_MAX {
        true => Joined::Incomplete(needed),
        false => Joined::Other,
    }
}

struct NotARecord;

/// The length of a record after its header, if that is there.
fn record_bytes(bytes: &[u8]) -> Result<Option<usize>, NotARecord> {
    let beginning = [HANDSHAKE, MAJOR_VERSION];
    if bytes.iter().zip(beginning).any(|(byte, expected)| *byte != expected) {
        return Err(NotARecord);
    }
    let Some([.., high, low]) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes([*high, *low])) {
        // An empty one would be no progress, and is not allowed (RFC 8446, section 5.1).
        length @ 1..=RECORD_BYTES_MAX => Ok(Some(length)),
        _ => Err(NotARecord),
    }
}

/// The length of a message with its header, as far as its first `joined` bytes say; `None` if it is
/// not a hello.
fn message_bytes(message: &[u8], joined: usize) -> Option<usize> {
    let header = &message[..joined.min(MESSAGE_HEADER_BYTES)];
    match *header {
        [CLIENT_HELLO, high, middle, low] => {
            let length = u32::from_be_bytes([0, high, middle, low]);
            Some(MESSAGE_HEADER_BYTES + usize::try_from(length).ok()?)
        }
        [] | [CLIENT_HELLO, ..] => Some(MESSAGE_HEADER_BYTES),
        _ => None,
    }
}
