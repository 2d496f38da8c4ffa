//! Where agents are, and what they are asked: the configuration.

use crate::ProbeError;
use crate::text::{Value, words};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// How a backend's agent is asked.
///
/// Written as a port or an address, and then `send=TEXT` if the agent wants to be asked something.
/// In the text, `{backend}` stands for what the backend is called.
///
/// ```
/// use probing::AgentCheck;
/// let check: AgentCheck = "192.0.2.9:9100 send=\"{backend}\\n\"".parse().unwrap();
/// assert_eq!(check.question("db1"), b"db1\n");
/// assert!("0".parse::<AgentCheck>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentCheck {
    /// Where it is.
    pub at: AgentAddress,
    /// What it is sent first.
    send: Vec<u8>,
}

/// Where an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentAddress {
    /// At this port of the backend's address.
    Port(u16),
    /// Here, for all backends.
    Fixed(SocketAddr),
}

impl AgentCheck {
    /// What the agent is sent about a backend that is called this.
    #[must_use]
    pub fn question(&self, backend: &str) -> Vec<u8> {
        let mut question = Vec::new();
        let mut rest = &*self.send;
        while let Some(at) = rest.windows(PLACE.len()).position(|it| it == PLACE) {
            question.extend_from_slice(&rest[..at]);
            question.extend_from_slice(backend.as_bytes());
            rest = &rest[at + PLACE.len()..];
        }
        question.extend_from_slice(rest);
        question
    }
}

const PLACE: &[u8] = b"{backend}";
/// The longest text that is sent.
const SEND_MAX: usize = 1024;

impl FromStr for AgentCheck {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let text = text.trim();
        let (at, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let port = |it: u16| Some(it).filter(|it| *it > 0);
        let at = match (at.parse(), at.parse::<SocketAddr>()) {
            (Ok(it), _) => port(it).map(AgentAddress::Port),
            (_, Ok(it)) => port(it.port()).map(|_| AgentAddress::Fixed(it)),
            _ => None,
        };
        let at = at.ok_or_else(|| {
            let what = "an agent is at a port of the backend, such as 9100, or at an address for \
                        all backends, such as 192.0.2.9:9100";
            ProbeError::Text(what.to_owned())
        })?;
        let mut words = words(rest).map_err(ProbeError::Text)?;
        let send = match words.pop() {
            None => Vec::new(),
            Some(word) if word.key == "send" && words.is_empty() => word.value.unwrap_or_default(),
            Some(_) => {
                let what = "after the place of an agent, there may be send=TEXT";
                return Err(ProbeError::Text(what.to_owned()));
            }
        };
        if send.len() > SEND_MAX {
            let what = format!("an agent is sent at most {SEND_MAX} bytes");
            return Err(ProbeError::Text(what));
        }
        Ok(Self { at, send })
    }
}

/// The text that [`FromStr`] reads.
impl fmt::Display for AgentCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            AgentAddress::Port(port) => write!(f, "{port}")?,
            AgentAddress::Fixed(address) => write!(f, "{address}")?,
        }
        match &*self.send {
            [] => Ok(()),
            send => write!(f, " send={}", Value(send)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        match text.parse::<AgentCheck>() {
            Ok(check) => assert_eq!(check.to_string(), expected),
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
        }
    }

    #[test]
    fn agents_are_read_and_written() {
        for text in ["9100", "192.0.2.9:80", "[::1]:80 send=a", "7 send=\"{backend} \\xff\\n\""] {
            check(text, text);
        }
        check(" 9100  send=\"\" ", "9100");
        for text in ["", "0", "65536", "a:80", "::1", "192.0.2.9", "192.0.2.9:0", "send=a"] {
            check(text, "an agent is at a port");
        }
        check("9100 x", "send=TEXT");
        check("9100 send=a send=b", "send=TEXT");
        check("9100 send=\"a", "does not end");
        check(&format!("9100 send={}", "a".repeat(1025)), "at most 1024 bytes");
    }

    #[test]
    fn questions_name_the_backend() {
        let question = |text: &str| text.parse::<AgentCheck>().unwrap().question("b{backend}");
        assert_eq!(question("1 send={backend}/{backend}"), b"b{backend}/b{backend}");
        assert_eq!(question("1 send={back"), b"{back");
        assert_eq!(question("1"), b"");
    }
}
