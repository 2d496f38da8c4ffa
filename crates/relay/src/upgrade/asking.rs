//! Brings a backend to where its client is: past its greeting, and to TLS if it is to speak that.

use super::{ldap, lines, postgresql};
use terms::Starttls;

/// A backend that is to be brought to where its client is.
///
/// ~~~text
///   Begun --(the server speaks first)--> Greeted --SMTP: EHLO--> Presented --.
///     |                                   |   '---------- request ----------|
///     '------------- request -------------|----------------------------------'
///                                         |                                  v
///                                         '--no TLS--> done <--yes-- Asked (anything else: refused)
/// ~~~
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    protocol: Starttls,
    wants_tls: bool,
    stage: Stage,
    /// Lines read so far.
    lines: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been said.
    Begun,
    /// The server is to greet.
    Greeted,
    /// It is to answer the EHLO.
    Presented,
    /// It is to answer the request for TLS.
    Asked,
}

/// What to do about what a backend has sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskingStep {
    /// Wait for more.
    Wait,
    /// Take so many bytes off, send these, and ask again.
    Say(usize, &'static [u8]),
    /// Take so many bytes off. Everything that follows is the client's.
    Done(usize),
    /// It does not do what it is to do, or has said more than that.
    Refused,
}

/// A backend's line, at most: what it is able to do may be in one.
pub const ASKING_BYTES_MAX: usize = 8 << 10;
/// A backend's lines, at most.
const LINES_MAX: u8 = 100;

impl Asking {
    /// Of a backend that has just been connected to; `None` if it is where its client is.
    /// `wants_tls` is whether it is to speak TLS, which otherwise ends here.
    #[must_use]
    pub fn new(protocol: Starttls, wants_tls: bool) -> Option<Self> {
        let is_any = wants_tls || lines::greeting(protocol).is_some();
        is_any.then_some(Self { protocol, wants_tls, stage: Stage::Begun, lines: 0 })
    }

    /// Whether the backend is to speak TLS.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    /// What to do about the bytes that have come since the last step.
    pub fn next_step(&mut self, bytes: &[u8]) -> AskingStep {
        if self.stage == Stage::Begun {
            if lines::greeting(self.protocol).is_none() {
                return self.ask(0);
            }
            self.stage = Stage::Greeted;
        }
        match self.protocol {
            Starttls::Postgresql => match bytes {
                [] => AskingStep::Wait,
                bytes if bytes == postgresql::YES => AskingStep::Done(bytes.len()),
                _ => AskingStep::Refused,
            },
            Starttls::Ldap => match ldap::granted(bytes) {
                Ok(None) => AskingStep::Wait,
                Ok(Some(length)) if length == bytes.len() => AskingStep::Done(length),
                Ok(Some(_)) | Err(()) => AskingStep::Refused,
            },
            Starttls::Smtp | Starttls::Imap | Starttls::Pop3 => self.read_line(bytes),
        }
    }

    fn read_line(&mut self, bytes: &[u8]) -> AskingStep {
        let line = match lines::first_line(bytes, ASKING_BYTES_MAX) {
            Ok(line) => line,
            Err(true) => return AskingStep::Wait,
            Err(false) => return AskingStep::Refused,
        };
        self.lines += 1;
        let length = line.len();
        let expected: &[u8] = match (self.protocol, self.stage) {
            (Starttls::Pop3, _) => b"+OK",
            (Starttls::Imap, Stage::Asked) => b"1 OK",
            (Starttls::Imap, _) => b"* OK",
            (_, Stage::Presented) => b"250",
            (_, _) => b"220",
        };
        let goes_on = match self.protocol {
            // Another line of the same answer.
            Starttls::Smtp => line.starts_with(expected) && line.get(3) == Some(&b'-'),
            // Something else that the server has to say.
            Starttls::Imap => self.stage == Stage::Asked && line.starts_with(b"* "),
            _ => false,
        };
        let ends = |rest: &[u8]| rest.first().is_none_or(u8::is_ascii_whitespace);
        match (line.strip_prefix(expected), self.stage) {
            _ if self.lines > LINES_MAX => AskingStep::Refused,
            _ if goes_on => AskingStep::Say(length, b""),
            (Some(rest), _) if !ends(rest) => AskingStep::Refused,
            (None, _) => AskingStep::Refused,
            (Some(_), Stage::Asked) if length < bytes.len() => AskingStep::Refused,
            (Some(_), Stage::Asked) => AskingStep::Done(length),
            (Some(_), _) if !self.wants_tls => AskingStep::Done(length),
            (Some(_), Stage::Greeted) if self.protocol == Starttls::Smtp => {
                self.stage = Stage::Presented;
                AskingStep::Say(length, b"EHLO evenkeel\r\n")
            }
            (Some(_), _) => self.ask(length),
        }
    }

    /// Asks for TLS.
    fn ask(&mut self, taken: usize) -> AskingStep {
        self.stage = Stage::Asked;
        AskingStep::Say(
            taken,
            match self.protocol {
                Starttls::Postgresql => postgresql::SSL_REQUEST,
                Starttls::Ldap => ldap::REQUEST,
                Starttls::Smtp => b"STARTTLS\r\n",
                Starttls::Imap => b"1 STARTTLS\r\n",
                Starttls::Pop3 => b"STLS\r\n",
            },
        )
    }
}
