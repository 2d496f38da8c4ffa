//! Logs of servers that receive the PROXY protocol and write its header down.
//!
//! There is no standard for such a line. What is needed of it: a time stamp at its beginning, the
//! header `PROXY TCP4 CLIENT SERVER CLIENTPORT SERVERPORT` (or TCP6) anywhere, and, if the
//! connection's own peer is in the log, that peer as `ADDRESS:PORT` somewhere before the header.

use super::{Connection, Endpoint, Millis, stamp};

/// Reads a line that holds a PROXY protocol header of version 1.
pub fn parse(line: &[u8]) -> Option<Connection> {
    let at = memchr::memmem::find(line, b"PROXY TCP")?;
    let (before, header) = line.split_at(at);
    let mut words =
        header.split(|b| matches!(b, b' ' | b'\r' | b'"' | b'\\' | b'\'' | b'\t')).skip(2);
    let client = Endpoint::parse(words.next()?)?;
    let server = Endpoint::parse(words.next()?)?;
    let client_port = number(words.next()?)?;
    let server_port = number(words.next()?)?;
    Some(Connection {
        start: instant(before)?,
        end: None,
        client: Endpoint { port: Some(client_port), ..client },
        backend: Some(Endpoint { port: Some(server_port), ..server }),
        source: peer(before),
    })
}

/// The stamp that the line begins with: in brackets, of one word, or of two.
fn instant(before: &[u8]) -> Option<Millis> {
    let before = before.trim_ascii_start();
    if let Some(rest) = before.strip_prefix(b"[") {
        return stamp::parse_any(&rest[..memchr::memchr(b']', rest)?]);
    }
    let mut blanks = memchr::memchr_iter(b' ', before);
    let first = blanks.next()?;
    stamp::parse_any(&before[..first])
        .or_else(|| stamp::parse_any(&before[..blanks.next().unwrap_or(before.len())]))
}

fn peer(before: &[u8]) -> Option<Endpoint> {
    before
        .split(|b| matches!(b, b' ' | b'=' | b',' | b';' | b'(' | b')' | b'"'))
        .filter_map(|word| Endpoint::parse(word.strip_suffix(b":").unwrap_or(word)))
        .find(|endpoint| endpoint.port.is_some())
}

fn number(word: &[u8]) -> Option<u16> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, start: Millis, source: Option<&str>) {
        let found = parse(line.as_bytes()).expect(line);
        assert_eq!(found.start, start, "{line}");
        assert_eq!(found.client.to_string(), "192.0.2.1:51000");
        assert_eq!(found.source.map(|s| s.to_string()).as_deref(), source, "{line}");
    }

    #[test]
    fn stamps_and_peers_in_the_usual_places() {
        let header = "PROXY TCP4 192.0.2.1 10.0.0.9 51000 80";
        let instant = 1_739_209_611_000;
        check(&format!("2025-02-10T17:46:51Z {header}"), instant, None);
        check(
            &format!("2025-02-10 17:46:51 [7] peer=10.0.0.9:4711 {header}\\r\\n"),
            instant,
            Some("10.0.0.9:4711"),
        );
        check(
            &format!("[10/Feb/2025:17:46:51 +0000] [2001:db8::1]:99: \"{header}\""),
            instant,
            Some("[2001:db8::1]:99"),
        );
        check(&format!("1739209611 {header}\r"), instant, None);
    }

    #[test]
    fn damaged_headers_are_refused() {
        for line in [
            "",
            "2025-02-10T17:46:51Z PROXY UNKNOWN",
            "2025-02-10T17:46:51Z PROXY TCP4 192.0.2.1",
            "2025-02-10T17:46:51Z PROXY TCP4 x 10.0.0.9 51000 80",
            "PROXY TCP4 1.1.1.1 2.2.2.2 3 4",
            "2025-02-10T17:46:51Z PROXY TCP4 192.0.2.1 10.0.0.9 70000 80",
            "[ PROXY TCP4 192.0.2.1 10.0.0.9 51000 80",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
