//! How a client comes to TLS, and how the backend is then brought there: at once, or by a request
//! in plain text that is answered in its stead.
//!
//! The balancer cannot know the backend before the ClientHello, and a client sends that only after
//! its request was granted. So the balancer grants it, reads the hello, and asks the backend
//! ([`request`]) before it passes anything on. Plain text that an attacker adds
//! to either side of such a request could later pass for something that TLS protects (as in
//! CVE-2021-23214 and CVE-2021-23222), so whatever comes with a request or with its answer ends the
//! connection.
//!
//! Source: PostgreSQL's documentation, "Message Flow", sections on SSL and GSSAPI encryption.

#[cfg(test)]
mod tests;

use crate::client_hello::{ClientHello, Opening, read_client_hello};
use terms::Starttls;

/// A client on its way to TLS.
///
/// ~~~text
///            SSLRequest: S
///   Plain ------------------> Granted --ClientHello--> a pool by its name
///    |  ^                        '-----anything else--> refused
///    |  '-- GSSENCRequest: N (once)
///    |
///    |--ClientHello--> a pool by its name
///    '--anything else--> the listener's own pool
/// ~~~
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: Option<Starttls>,
    is_granted: bool,
    has_asked_for_gss: bool,
}

/// What to do about what a client has sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeStep<'b> {
    /// Wait until at least so many bytes have come, more than there are.
    Wait(usize),
    /// Take so many bytes off, all that have come, and send this answer.
    Answer(usize, &'static [u8]),
    /// TLS begins.
    Hello(ClientHello<'b>),
    /// The client does not want TLS.
    Plain,
    /// The client does what its protocol does not allow.
    Refuse,
}

/// What a backend answers to a request for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing yet.
    Wait,
    /// So many bytes, which are all that it has sent: it is ready for TLS.
    Granted(usize),
    /// It does not want TLS, or has sent more than an answer.
    Refused,
}

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const YES: &[u8] = b"S";
const NO: &[u8] = b"N";

/// The number of bytes that [`grant`] looks at.
pub const GRANT_BYTES: usize = 2;

impl Upgrade {
    /// Of a client that has sent nothing yet.
    #[must_use]
    pub fn new(protocol: Option<Starttls>) -> Self {
        Self { protocol, is_granted: false, has_asked_for_gss: false }
    }

    /// The protocol by which the client has been granted TLS, so that the backend has to be asked.
    #[must_use]
    pub fn granted(&self) -> Option<Starttls> {
        self.protocol.filter(|_| self.is_granted)
    }

    /// What to do about the bytes that have come since the last answer. As [`read_client_hello`], it
    /// may move them.
    pub fn next_step<'b>(&mut self, bytes: &'b mut [u8]) -> UpgradeStep<'b> {
        if self.protocol == Some(Starttls::Postgresql) && !self.is_granted {
            let count = bytes.len();
            let begins = |request: &[u8]| request.starts_with(&bytes[..count.min(request.len())]);
            match (begins(SSL_REQUEST), begins(GSS_REQUEST)) {
                (false, false) => {}
                (true, true) => return UpgradeStep::Wait(SSL_REQUEST.len()),
                _ if count > SSL_REQUEST.len() => return UpgradeStep::Refuse,
                (true, false) => {
                    self.is_granted = true;
                    return UpgradeStep::Answer(count, YES);
                }
                (false, true) if self.has_asked_for_gss => return UpgradeStep::Refuse,
                (false, true) => {
                    self.has_asked_for_gss = true;
                    return UpgradeStep::Answer(count, NO);
                }
            }
        }
        match read_client_hello(bytes) {
            Opening::Incomplete(needed) => UpgradeStep::Wait(needed),
            Opening::Hello(hello) => UpgradeStep::Hello(hello),
            Opening::Other if self.is_granted => UpgradeStep::Refuse,
            Opening::Other => UpgradeStep::Plain,
        }
    }
}

/// The request for TLS that a backend is sent.
#[must_use]
pub fn request(protocol: Starttls) -> &'static [u8] {
    match protocol {
        Starttls::Postgresql => SSL_REQUEST,
    }
}

/// What the first bytes of a backend mean that was sent a [`request`]. A backend that is ready for
/// TLS waits for the ClientHello.
#[must_use]
pub fn grant(protocol: Starttls, bytes: &[u8]) -> Grant {
    match (protocol, bytes) {
        (_, []) => Grant::Wait,
        (Starttls::Postgresql, bytes) if bytes == YES => Grant::Granted(YES.len()),
        (Starttls::Postgresql, _) => Grant::Refused,
    }
}
