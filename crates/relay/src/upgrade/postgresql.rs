//! PostgreSQL: SSLRequest and GSSENCRequest, each of which must come alone.

use super::Request;
use std::borrow::Cow;

pub(super) const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
pub(super) const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
pub(super) const YES: &[u8] = b"S";
const NO: &[u8] = b"N";

/// What a client asks for. `is_second` is whether it has had an answer already.
pub(super) fn request(bytes: &[u8], is_second: bool) -> Request {
    let count = bytes.len();
    let begins = |request: &[u8]| request.starts_with(&bytes[..count.min(request.len())]);
    match (begins(SSL_REQUEST), begins(GSS_REQUEST)) {
        (false, false) => Request::None,
        (true, true) => Request::Incomplete(SSL_REQUEST.len()),
        (true, false) => Request::Tls(SSL_REQUEST.len(), Cow::Borrowed(YES)),
        (false, true) if is_second || count > GSS_REQUEST.len() => Request::Invalid,
        (false, true) => Request::Other(count, Cow::Borrowed(NO)),
    }
}
