//! Evenkeel's own log: one line per ended session, as text or as JSON.
//!
//! ~~~text
//! 2026-01-02T03:04:05.678Z info session ended client=192.0.2.1:51000 backend=10.0.0.1:80 ...
//! {"time":"2026-01-02T03:04:05.678Z","level":"info","message":"session ended","client":...}
//! ~~~
//!
//! Both are read leniently: keys in any order, unknown keys ignored, missing ones tolerated but
//! for the client.

use std::borrow::Cow;
use std::time::Duration;

use super::{Connection, Endpoint, Millis, stamp};
use crate::options::Span;

const ENDED: &[u8] = b" session ended";

/// Reads the text form.
pub fn parse_text(line: &[u8]) -> Option<Connection> {
    let at = memchr::memmem::find(line, ENDED)?;
    let end = stamp::parse_rfc3339(line[..at].split(|b| *b == b' ').next()?)?;
    let mut fields = Fields::default();
    for (key, value) in Pairs(&line[at + ENDED.len()..]) {
        fields.take(key, &value);
    }
    fields.connection(end)
}

/// Reads the JSON form.
pub fn parse_json(line: &[u8]) -> Option<Connection> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    if object.get("message")?.as_str()? != "session ended" {
        return None;
    }
    let mut fields = Fields::default();
    for (key, value) in &object {
        match value {
            serde_json::Value::String(text) => fields.take(key.as_bytes(), text.as_bytes()),
            serde_json::Value::Number(n) => fields.take(key.as_bytes(), n.to_string().as_bytes()),
            _ => {}
        }
    }
    fields.connection(stamp::parse_any(object.get("time")?.as_str()?.as_bytes())?)
}

#[derive(Default)]
struct Fields {
    client: Option<Endpoint>,
    backend: Option<Endpoint>,
    source: Option<Endpoint>,
    duration: Option<Duration>,
}

impl Fields {
    fn take(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"client" => self.client = Endpoint::parse(value),
            b"backend" => self.backend = Endpoint::parse(value),
            b"source" => self.source = Endpoint::parse(value),
            b"duration" => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                self.duration = text.parse::<Span>().ok().map(|span| span.0);
            }
            _ => {}
        }
    }

    fn connection(self, end: Millis) -> Option<Connection> {
        let millis = self.duration.map_or(0, |d| d.as_millis().min(1 << 50) as Millis);
        Some(Connection {
            start: end - millis,
            end: Some(end),
            client: self.client?,
            backend: self.backend,
            source: self.source,
        })
    }
}

/// `key=value` pairs, values with blanks in double quotes.
struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
            let end = rest.iter().position(|b| matches!(b, b'=' | b' ')).unwrap_or(rest.len());
            let key = &rest[..end];
            match &rest[end..] {
                [b'=', b'"', quoted @ ..] => {
                    let (value, rest) = unquote(quoted);
                    self.0 = rest;
                    return Some((key, value));
                }
                [b'=', plain @ ..] => {
                    let end = memchr::memchr(b' ', plain).unwrap_or(plain.len());
                    self.0 = &plain[end..];
                    return Some((key, Cow::Borrowed(&plain[..end])));
                }
                // A word without a value.
                other => self.0 = other,
            }
        }
    }
}

/// The value up to the closing quote, and what follows it.
fn unquote(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (Cow::Owned(value), &text[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, b)| *b)),
            other => value.push(*other),
        }
    }
    (Cow::Owned(value), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Connection {
        Connection {
            start: 1_767_323_044_428,
            end: Some(1_767_323_045_678),
            client: Endpoint::parse(b"192.0.2.1:51000").unwrap(),
            backend: Endpoint::parse(b"[2001:db8::1]:80"),
            source: Endpoint::parse(b"[2001:db8::9]:40000"),
        }
    }

    #[test]
    fn the_text_form() {
        let line = "2026-01-02T03:04:05.678Z info session ended session=7 listener=web \
            client=192.0.2.1:51000 backend=[2001:db8::1]:80 source=[2001:db8::9]:40000 \
            reason=\"a \\\"b\\\" client=x\" sent=1 received=2 connect=0.001 duration=1.25 extra";
        assert_eq!(parse_text(line.as_bytes()), Some(expected()));
        assert_eq!(parse_text(line.replace("=1.25", "=1250ms").as_bytes()), Some(expected()));
    }

    #[test]
    fn the_json_form() {
        let line = r#"{"time":"2026-01-02T03:04:05.678Z","level":"info","message":"session ended",
            "client":"192.0.2.1:51000","backend":"[2001:db8::1]:80",
            "source":"[2001:db8::9]:40000","sent":1,"duration":1.25,"new":{"a":[]}}"#;
        assert_eq!(parse_json(line.as_bytes()), Some(expected()));
    }

    #[test]
    fn only_the_client_and_the_time_are_needed() {
        let found = parse_text(b"2026-01-02T03:04:05Z info session ended client=192.0.2.1");
        assert_eq!(found.unwrap().client.to_string(), "192.0.2.1");
        for line in [
            "2026-01-02T03:04:05Z info session ended backend=10.0.0.1:80",
            "2026-01-02T03:04:05Z info session started client=192.0.2.1:1",
            "yesterday info session ended client=192.0.2.1:1",
            " session ended client=192.0.2.1:1",
            "2026-01-02T03:04:05Z info session ended client=\"192.0.2.1:\\",
        ] {
            assert_eq!(parse_text(line.as_bytes()), None, "{line}");
        }
        assert_eq!(parse_json(br#"{"message":"session ended","client":"192.0.2.1:1"}"#), None);
        assert_eq!(parse_json(br#"{"time":"2026-01-02T03:04:05Z","message":"x"}"#), None);
    }
}
