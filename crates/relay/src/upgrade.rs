//! How a client comes to TLS, and how the backend is then brought to where its client is.
//!
//! A client may begin with TLS at once, or ask for it in plain text. The balancer cannot know the
//! backend before the ClientHello, and a client sends that only after its request was granted. So
//! the balancer grants it in the backend's stead, greeting the client first where the protocol has
//! the server speak first. It then reads the hello, and [`Asking`] brings the backend to the same
//! point before anything is passed on.
//!
//! Plain text that an attacker adds to either side of such a request could later pass for something
//! that TLS protects (as in CVE-2011-0411, CVE-2021-23214 and CVE-2021-23222), so whatever comes
//! with a request for TLS or with its answer ends the connection. Nothing that was said before TLS
//! is remembered.
//!
//! Sources: PostgreSQL's documentation, "Message Flow", sections on SSL and GSSAPI encryption; RFC
//! 3207 (SMTP), RFC 9051 section 6.2.1 (IMAP), RFC 2595 section 4 (POP3), RFC 4511 section 4.14
//! (LDAP).

mod asking;
mod ldap;
mod lines;
mod postgresql;

#[cfg(test)]
mod tests;

pub use asking::{ASKING_BYTES_MAX, Asking, AskingStep};

use crate::client_hello::{ClientHello, Opening, read_client_hello};
use std::borrow::Cow;
use terms::Starttls;

/// A client on its way to TLS.
///
/// ~~~text
///                request for TLS: yes
///   Plain ---------------------------------> Granted --ClientHello--> a pool by its name
///    |  ^                                       '-----anything else--> refused
///    |  '-- another request: no, or not yet
///    |
///    |--ClientHello--> a pool by its name      (not after a greeting)
///    '--anything else--> the listener's own pool    (not after a greeting)
/// ~~~
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: Option<Starttls>,
    is_granted: bool,
    /// What the client was told so far.
    answers: u8,
}

/// What to do about what a client has sent so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeStep<'b> {
    /// Wait until at least so many bytes have come, more than there are.
    Wait(usize),
    /// Take so many bytes off, and send this answer.
    Answer(usize, Cow<'static, [u8]>),
    /// Take so many bytes off, and send this answer, which is the last one: the client has said
    /// goodbye.
    Goodbye(usize, Cow<'static, [u8]>),
    /// TLS begins.
    Hello(ClientHello<'b>),
    /// The client does not want TLS.
    Plain,
    /// The client does what its protocol does not allow.
    Refuse,
}

/// An answer to a client.
type Text = Cow<'static, [u8]>;

/// What a request before TLS brings.
enum Request {
    /// It is not complete; so many bytes are needed.
    Incomplete(usize),
    /// The first so many bytes ask for TLS, and this is the answer.
    Tls(usize, Text),
    /// They ask for something else.
    Other(usize, Text),
    /// They are the client's last words.
    Goodbye(usize, Text),
    /// They are no request that can be answered before TLS.
    None,
    /// They are not the protocol.
    Invalid,
}

/// So many answers in plain text a client gets.
const ANSWERS_MAX: u8 = 32;

impl Upgrade {
    /// Of a client that has sent nothing yet.
    #[must_use]
    pub fn new(protocol: Option<Starttls>) -> Self {
        Self { protocol, is_granted: false, answers: 0 }
    }

    /// What the client is told before it has said anything, once.
    pub fn greeting(&mut self) -> Option<&'static [u8]> {
        let greeting = lines::greeting(self.protocol?)?;
        (self.answers == 0).then(|| {
            self.answers = 1;
            greeting
        })
    }

    /// The protocol by which the client has been granted TLS, so that the backend has to be asked.
    #[must_use]
    pub fn granted(&self) -> Option<Starttls> {
        self.protocol.filter(|_| self.is_granted)
    }

    /// Whether the client has been told something that no backend would repeat, so that it can only
    /// go on to TLS.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.is_granted || self.has_greeting()
    }

    fn has_greeting(&self) -> bool {
        self.protocol.and_then(lines::greeting).is_some()
    }

    /// What to do about the bytes that have come since the last answer. As [`read_client_hello`], it
    /// may move them.
    pub fn next_step<'b>(&mut self, bytes: &'b mut [u8]) -> UpgradeStep<'b> {
        let request = match self.protocol.filter(|_| !self.is_granted) {
            None => Request::None,
            Some(Starttls::Postgresql) => postgresql::request(bytes, self.answers > 0),
            Some(Starttls::Ldap) => ldap::request(bytes),
            Some(protocol) => lines::request(protocol, bytes),
        };
        if !matches!(request, Request::Incomplete(_) | Request::None) {
            if self.answers == ANSWERS_MAX {
                return UpgradeStep::Refuse;
            }
            self.answers += 1;
        }
        match request {
            Request::Incomplete(needed) => UpgradeStep::Wait(needed),
            // What follows it in plain text was not for TLS to protect.
            Request::Tls(length, _) if length < bytes.len() => UpgradeStep::Refuse,
            Request::Tls(length, text) => {
                self.is_granted = true;
                UpgradeStep::Answer(length, text)
            }
            Request::Other(length, text) => UpgradeStep::Answer(length, text),
            Request::Goodbye(length, text) => UpgradeStep::Goodbye(length, text),
            Request::Invalid => UpgradeStep::Refuse,
            Request::None => match read_client_hello(bytes) {
                Opening::Incomplete(needed) => UpgradeStep::Wait(needed),
                Opening::Hello(hello) => UpgradeStep::Hello(hello),
                Opening::Other if self.is_granted => UpgradeStep::Refuse,
                Opening::Other => UpgradeStep::Plain,
            },
        }
    }
}
