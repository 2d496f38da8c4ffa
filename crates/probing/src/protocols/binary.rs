//! Protocols with one short exchange of bytes.

use super::{Read, Talk};

/// An anonymous bind. Source: RFC 4511, sections 4.2 and 4.3.
pub(super) struct Ldap;

impl Talk for Ldap {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        // Message 1: BindRequest, version 3, no name, an empty password.
        send.extend_from_slice(&[0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0]);
        Read::More
    }

    fn read(&mut self, received: &[u8], send: &mut Vec<u8>) -> Read {
        let Some(code) = result_code(received) else { return Read::More };
        send.extend_from_slice(&[0x30, 5, 2, 1, 2, 0x42, 0]); // message 2: UnbindRequest
        match code {
            // Anonymous clients may not be wanted; others are.
            Ok(SUCCESS | INAPPROPRIATE_AUTHENTICATION | UNWILLING) => Read::Passed,
            Ok(BUSY) => Read::Failed("answered: busy".to_owned()),
            Ok(UNAVAILABLE) => Read::Failed("answered: unavailable".to_owned()),
            Ok(code) => Read::Failed(format!("answered with result code {code}")),
            Err(()) => Read::answered(received),
        }
    }
}

const SUCCESS: u8 = 0;
const INAPPROPRIATE_AUTHENTICATION: u8 = 48;
const BUSY: u8 = 51;
const UNAVAILABLE: u8 = 52;
const UNWILLING: u8 = 53;

/// The result code of a BindResponse; `None` if it has not come yet.
fn result_code(bytes: &[u8]) -> Option<Result<u8, ()>> {
    let mut left = bytes;
    // A message, of which the first element is the id 1 and the second a BindResponse, of which the
    // first is the code.
    for (tag, content) in [(0x30, None), (2, Some(1)), (0x61, None), (0x0a, None)] {
        let (is, rest) = left.split_first()?;
        if *is != tag {
            return Some(Err(()));
        }
        let (length, rest) = rest.split_first()?;
        // Servers may write lengths in the long form.
        let long = if *length > 0x80 { usize::from(length & 0x7f) } else { 0 };
        left = rest.get(long..)?;
        if let Some(content) = content {
            let (is, rest) = left.split_first()?;
            if *is != content {
                return Some(Err(()));
            }
            left = rest;
        }
    }
    left.first().map(|code| Ok(*code))
}

/// CONNECT without a client id, and DISCONNECT.
/// Source: MQTT 3.1.1, sections 3.1, 3.2 and 3.14.
pub(super) struct Mqtt;

impl Talk for Mqtt {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        // Protocol MQTT, level 4, a clean session, keep-alive of 60 s.
        send.extend_from_slice(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00");
        Read::More
    }

    fn read(&mut self, received: &[u8], send: &mut Vec<u8>) -> Read {
        match received {
            [0x20, 2, _, code, ..] => {
                send.extend_from_slice(&[0xe0, 0]);
                match code {
                    // Accepted; or a user or a client id is wanted, which others have.
                    0 | 2 | 4 | 5 => Read::Passed,
                    3 => Read::Failed("answered: server unavailable".to_owned()),
                    code => Read::Failed(format!("answered with return code {code}")),
                }
            }
            [] | [0x20] | [0x20, 2] | [0x20, 2, _] => Read::More,
            other => Read::answered(other),
        }
    }
}
