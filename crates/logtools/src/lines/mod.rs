//! Parsers of log lines: bytes of one line in, fields out.
//!
//! Nothing here reads files or clocks, and nothing here panics: whatever does not fit is `None`,
//! and the caller counts it. Lines come without their newline; a CR before it is part of the line.
//! Instants are milliseconds since 1970 UTC ([`Millis`]).

pub mod access;
pub mod escape;
pub mod json;
pub mod pattern;
pub mod pen;
pub mod proxy;
pub mod session;
pub mod stamp;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Milliseconds since 1970 UTC.
pub type Millis = i64;

/// An address, perhaps with a port: how logs name a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address; an IPv4 address mapped into IPv6 is shown as IPv4.
    pub ip: IpAddr,
    /// The port, where the log has it.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Reads `ip`, `ip:port`, `v6`, `[v6]` and `[v6]:port`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { ip: address.ip().to_canonical(), port: Some(address.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let ip: IpAddr = bare.parse().ok()?;
        Some(Self { ip: ip.to_canonical(), port: None })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// One connection through the balancer, from a log that has the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// When it began.
    pub start: Millis,
    /// When it ended; `None` where the log has only its beginning.
    pub end: Option<Millis>,
    /// The true client.
    pub client: Endpoint,
    /// The server it went to.
    pub backend: Option<Endpoint>,
    /// What the server saw as its client: the balancer's own address towards it.
    pub source: Option<Endpoint>,
}

/// What one line of a balancer's log says about a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A request of a client, as in pen's log.
    Request(pen::Entry<'a>),
    /// A connection of a client.
    Connection(Connection),
}

impl<'a> Origin<'a> {
    /// Reads a line of pen's log, of our session log (text or JSON) or of a log with PROXY headers.
    /// Each line is recognised by itself, so that a file may have several kinds.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        if line.first() == Some(&b'{') {
            return session::parse_json(line).map(Self::Connection);
        }
        if let Some(entry) = pen::Entry::parse(line) {
            return Some(Self::Request(entry));
        }
        session::parse_text(line).or_else(|| proxy::parse(line)).map(Self::Connection)
    }
}

/// Splits at the first space: the word, and what follows the space.
pub(crate) fn split_word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', line)?;
    Some((&line[..at], &line[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_in_all_spellings() {
        #[track_caller]
        fn check(text: &str, shown: Option<&str>) {
            let parsed = Endpoint::parse(text.as_bytes()).map(|e| e.to_string());
            assert_eq!(parsed.as_deref(), shown, "{text}");
        }
        check("192.0.2.1", Some("192.0.2.1"));
        check("192.0.2.1:80", Some("192.0.2.1:80"));
        check("[2001:DB8::1]:80", Some("[2001:db8::1]:80"));
        check("[::1]", Some("::1"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("localhost:80", None);
        check("", None);
        check("192.0.2.1:99999", None);
    }

    #[test]
    fn each_kind_of_balancer_log_is_told_by_the_line() {
        let pen = Origin::parse(b"192.0.2.1 1739209611 10.0.0.1 GET / HTTP/1.1");
        assert!(matches!(pen, Some(Origin::Request(_))));
        for line in [
            "2026-01-02T03:04:05.678Z info session ended client=192.0.2.1:5 backend=10.0.0.1:80",
            r#"{"time":"2026-01-02T03:04:05Z","message":"session ended","client":"192.0.2.1:5"}"#,
            "2026-01-02T03:04:05Z PROXY TCP4 192.0.2.1 10.0.0.9 5 80",
        ] {
            let origin = Origin::parse(line.as_bytes());
            assert!(matches!(origin, Some(Origin::Connection(_))), "{line}");
        }
        assert_eq!(Origin::parse(b"garbage"), None);
    }
}
