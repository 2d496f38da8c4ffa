//! pen's traffic log: `CLIENT SECONDS SERVER DATA` in a file, `+ CLIENT SERVER DATA` on the network.

use super::{Millis, escape::PEN_DATA_MAX, split_word};

/// One line of the log file: something a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The client's address.
    pub client: &'a [u8],
    /// When the balancer read it.
    pub instant: Millis,
    /// The server's address.
    pub server: &'a [u8],
    /// The first line of what was read, at most 100 bytes.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads a line. `None` when a field is missing, and for clients without an address (those
    /// on a Unix socket).
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (client, rest) = split_word(line)?;
        let (seconds, rest) = split_word(rest.trim_ascii_start())?;
        let (server, data) = split_word(rest.trim_ascii_start())?;
        let data = data.trim_ascii_start();
        if client.is_empty() || data.is_empty() || seconds.is_empty() || seconds.len() > 12 {
            return None;
        }
        let mut number = 0;
        for byte in seconds {
            number = number * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        }
        let data = &data[..data.len().min(PEN_DATA_MAX)];
        Some(Self { client, instant: number * 1000, server, data })
    }
}

/// A datagram that announces what a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// The client's address.
    pub client: &'a [u8],
    /// The server's address.
    pub server: &'a [u8],
    /// The first line of what was read.
    pub request: &'a [u8],
}

impl<'a> Announcement<'a> {
    /// Reads a datagram that begins with `+`; `None` when a field is missing or empty.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let rest = datagram.strip_prefix(b"+")?.trim_ascii_start();
        let (client, rest) = split_word(rest)?;
        let (server, rest) = split_word(rest.trim_ascii_start())?;
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let request = rest[..end].trim_ascii_start();
        (!request.is_empty() && !client.contains(&b'\n') && !server.contains(&b'\n'))
            .then_some(Self { client, server, request })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_four_fields() {
        let entry = Entry::parse(b"::1 1739209611 10.0.0.1 GET /a b").unwrap();
        assert_eq!(entry.client, b"::1");
        assert_eq!(entry.instant, 1_739_209_611_000);
        assert_eq!(entry.server, b"10.0.0.1");
        assert_eq!(entry.data, b"GET /a b");
        assert_eq!(Entry::parse(b"a 1 /run/app.sock x").unwrap().server, b"/run/app.sock");
    }

    #[test]
    fn lines_that_lack_a_field_are_refused() {
        for line in [
            "",
            "garbage",
            "192.0.2.1 notanumber 10.0.0.1 GET /",
            "192.0.2.1 1 10.0.0.1 ",
            "192.0.2.1 1 10.0.0.1",
            " 1739209611 10.0.0.1 GET /",
            "+ 192.0.2.1 10.0.0.1 GET /",
            "192.0.2.1 9999999999999 10.0.0.1 GET /",
            "192.0.2.1 -5 10.0.0.1 GET /",
        ] {
            assert_eq!(Entry::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn an_announcement_has_three_fields_and_ends_with_the_line() {
        let found = Announcement::parse(b"+ 192.0.2.1 ::1 GET /a HTTP/1.1\nrest").unwrap();
        assert_eq!(found.request, b"GET /a HTTP/1.1");
        assert_eq!(found.server, b"::1");
        for datagram in ["", "+", "+ a\n", "+ a b\n", "+ a b \n", "a b c d"] {
            assert_eq!(Announcement::parse(datagram.as_bytes()), None, "{datagram}");
        }
    }
}
