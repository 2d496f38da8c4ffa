//! LDAP: the StartTLS operation, and its result.
//!
//! Only as much of BER is read as a message needs for which this is to be decided: RFC 4511, section
//! 5.1 restricts it to definite lengths.

use super::Request;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
/// `[APPLICATION 23]` and `[APPLICATION 24]`: RFC 4511, section 4.12.
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
/// `requestName`, which is `[0]`.
const REQUEST_NAME: u8 = 0x80;
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// The request with the message id 1, as a backend gets it.
pub(super) const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// A message that asks for TLS or grants it has at most so many bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A part of a message.
struct Element<'b> {
    tag: u8,
    content: &'b [u8],
    /// What follows it.
    rest: &'b [u8],
}

/// Why there is no such element.
enum Missing {
    /// So many bytes are needed.
    Incomplete(usize),
    /// It is not of the kind.
    Other,
}

/// What a client asks for.
pub(super) fn request(bytes: &[u8]) -> Request {
    match read_request(bytes) {
        Ok((length, id)) => {
            let result = [ENUMERATED, 1, 0, 4, 0, 4, 0];
            let mut answer = vec![SEQUENCE, (2 + id.len() + 2 + result.len()) as u8];
            answer.extend([INTEGER, id.len() as u8]);
            answer.extend(id);
            answer.extend([EXTENDED_RESPONSE, result.len() as u8]);
            answer.extend(result);
            Request::Tls(length, answer.into())
        }
        Err(Missing::Incomplete(needed)) => Request::Incomplete(needed),
        Err(Missing::Other) => Request::None,
    }
}

/// The length of a request for TLS, and its message id.
fn read_request(bytes: &[u8]) -> Result<(usize, &[u8]), Missing> {
    let message = message(bytes, EXTENDED_REQUEST)?;
    let name = element(message.operation).ok().filter(|it| it.tag == REQUEST_NAME);
    match name {
        Some(name) if name.content == START_TLS && name.rest.is_empty() => {
            Ok((message.length, message.id))
        }
        _ => Err(Missing::Other),
    }
}

/// The length of a backend's answer to [`REQUEST`], if it grants TLS; `None` if it is not complete.
///
/// # Errors
/// If it is anything else.
pub(super) fn granted(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let message = match message(bytes, EXTENDED_RESPONSE) {
        Ok(message) => message,
        Err(Missing::Incomplete(_)) => return Ok(None),
        Err(Missing::Other) => return Err(()),
    };
    let result = element(message.operation).map_err(|_| ())?;
    let is_success = result.tag == ENUMERATED && result.content == [0];
    if is_success && message.id == [1] { Ok(Some(message.length)) } else { Err(()) }
}

struct Message<'b> {
    id: &'b [u8],
    operation: &'b [u8],
    length: usize,
}

/// The first message, if it is this operation. That it is another one is known before it is
/// complete.
fn message(bytes: &[u8], operation: u8) -> Result<Message<'_>, Missing> {
    let (tag, header, length) = header(bytes)?;
    if tag != SEQUENCE {
        return Err(Missing::Other);
    }
    let inner = &bytes[header..];
    let needed = header.saturating_add(length);
    let Some(whole) = inner.get(..length) else {
        return Err(match inner {
            inner if !may_begin(inner, operation) => Missing::Other,
            inner if inner.len() < BEGINNING_BYTES => {
                Missing::Incomplete(needed.min(header + BEGINNING_BYTES))
            }
            _ if needed > MESSAGE_BYTES_MAX => Missing::Other,
            _ => Missing::Incomplete(needed),
        });
    };
    let inside = |bytes| element(bytes).map_err(|_| Missing::Other);
    let id = inside(whole)?;
    let found = inside(id.rest)?;
    if !may_begin(whole, operation) || needed > MESSAGE_BYTES_MAX {
        return Err(Missing::Other);
    }
    Ok(Message { id: id.content, operation: found.content, length: needed })
}

/// Whether such a message can begin like this: with a message id, and the tag of the operation.
fn may_begin(inner: &[u8], operation: u8) -> bool {
    let id_length = inner.get(1).copied().unwrap_or(1);
    inner.first().is_none_or(|tag| *tag == INTEGER)
        && (1..=4).contains(&id_length)
        && inner.get(2 + usize::from(id_length)).is_none_or(|tag| *tag == operation)
}

/// The longest message id, with its tag and its length, and the tag of the operation.
const BEGINNING_BYTES: usize = 7;

fn element(bytes: &[u8]) -> Result<Element<'_>, Missing> {
    let (tag, header, length) = header(bytes)?;
    let end = header.saturating_add(length);
    let content = bytes.get(header..end).ok_or(Missing::Incomplete(end))?;
    Ok(Element { tag, content, rest: &bytes[end..] })
}

/// Tag, length of the header and length of the content.
fn header(bytes: &[u8]) -> Result<(u8, usize, usize), Missing> {
    let [tag, first, rest @ ..] = bytes else {
        return Err(Missing::Incomplete(2));
    };
    let count = match first {
        0..=0x7f => return Ok((*tag, 2, usize::from(*first))),
        0x81..=0x84 => usize::from(first - 0x80),
        _ => return Err(Missing::Other),
    };
    let digits = rest.get(..count).ok_or(Missing::Incomplete(2 + count))?;
    let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    Ok((*tag, 2 + count, length))
}
