//! Access logs as JSON, one object per line, under the names that servers and people use.
//!
//! nginx, Apache and HAProxy write what their configuration says, so several names are tried for
//! each field; Caddy's nested `request` object is understood. The line itself stays as it is,
//! only the client's text is replaced in it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::access::{Access, Part, Request};
use super::{Millis, stamp};

const CLIENT: &[&str] = &[
    "remote_addr",
    "remote_ip",
    "client_ip",
    "clientip",
    "client",
    "remote_host",
    "remoteip",
    "http_client_ip",
    "ip",
];
const PORT: &[&str] = &["remote_port", "client_port", "src_port"];
const TIME: &[&str] =
    &["time", "timestamp", "@timestamp", "time_local", "time_iso8601", "msec", "ts", "date"];
const METHOD: &[&str] = &["method", "request_method", "http_method", "verb"];
const TARGET: &[&str] = &["request_uri", "uri", "url", "path", "target"];
const PROTOCOL: &[&str] = &["server_protocol", "protocol", "proto", "http_version"];

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// Reads a line; `None` when it is no object, or has no client or time.
pub fn parse(line: &[u8]) -> Option<Access> {
    let top: Object = serde_json::from_slice(line).ok()?;
    let inner: Option<Object> =
        top.get("request").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let find = |names: &[&str]| {
        let of = |object: &Object<'_>| {
            names.iter().find_map(|n| object.get(*n).map(|r| Raw::of(r, line)))
        };
        inner.as_ref().and_then(of).or_else(|| of(&top))
    };
    let client = find(CLIENT)?;
    let text = client.text(line)?;
    // Only the text between the quotes is replaced, so it must stand there without escapes.
    if text.is_empty() || client.inside().of(line) != text.as_bytes() {
        return None;
    }
    let request = match top.get("request").filter(|_| inner.is_none()) {
        Some(raw) => Raw::of(raw, line).text(line)?.into_owned(),
        None => {
            let parts =
                [METHOD, TARGET, PROTOCOL].map(|names| find(names).and_then(|r| r.text(line)));
            parts.iter().flatten().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ")
        }
    };
    Some(Access {
        instant: instant(&find(TIME)?.text(line)?)?,
        port: find(PORT).and_then(|r| r.text(line)?.parse().ok()),
        client: client.inside(),
        after_client: client.inside().1,
        stamp: None,
        request: Request::Made(request.into_bytes().into()),
    })
}

/// The field of an access-log line that some name of the list has, for JSON output.
pub fn field(line: &[u8], names: &[&str]) -> Option<serde_json::Value> {
    let top: HashMap<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    names.iter().find_map(|name| top.get(*name).cloned())
}

fn instant(text: &str) -> Option<Millis> {
    let text = text.trim_start_matches('[').trim_end_matches(']');
    stamp::parse_any(text.as_bytes()).or_else(|| {
        // Large bare numbers are milliseconds or finer.
        let number: f64 = text.parse().ok()?;
        let unit = match number {
            n if n.is_nan() || n < 0.0 => return None,
            n if n < 1e11 => 1e3,
            n if n < 1e14 => 1.0,
            n if n < 1e17 => 1e-3,
            _ => 1e-6,
        };
        Some((number * unit) as Millis)
    })
}

/// A value and where in the line it stands.
#[derive(Clone, Copy)]
struct Raw {
    start: usize,
    end: usize,
}

impl Raw {
    /// The value borrows from the line, so its place follows from the addresses.
    fn of(raw: &RawValue, line: &[u8]) -> Self {
        let start = raw.get().as_ptr() as usize - line.as_ptr() as usize;
        Self { start, end: start + raw.get().len() }
    }

    /// Without the quotes of a string.
    fn inside(self) -> Part {
        Part::new(self.start + 1, (self.end - 1).max(self.start + 1))
    }

    /// A string's text, or a number as it is written.
    fn text(self, line: &[u8]) -> Option<Cow<'_, str>> {
        let text = std::str::from_utf8(&line[self.start..self.end]).ok()?;
        match text.as_bytes().first()? {
            b'"' => serde_json::from_str::<Text<'_>>(text).ok().map(|t| t.0),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }
}

/// A string that borrows where it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, millis: Millis, request: &str, replaced: &str) {
        let access = parse(line.as_bytes()).expect("a good line");
        assert_eq!(access.instant, millis);
        assert_eq!(String::from_utf8_lossy(access.request(line.as_bytes())), request);
        let mut out = Vec::new();
        access.write(line.as_bytes(), b"192.0.2.1", false, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), replaced);
    }

    #[test]
    fn nginx_json_keeps_every_other_byte() {
        check(
            r#"{"time":"2025-02-10T17:46:51+00:00", "remote_addr":"10.0.0.9","request":"GET /\"x\" HTTP/1.1","n":1.50}"#,
            1_739_209_611_000,
            r#"GET /"x" HTTP/1.1"#,
            r#"{"time":"2025-02-10T17:46:51+00:00", "remote_addr":"192.0.2.1","request":"GET /\"x\" HTTP/1.1","n":1.50}"#,
        );
    }

    #[test]
    fn caddy_nests_its_request() {
        check(
            r#"{"ts":1739209611.25,"request":{"remote_ip":"10.0.0.9","remote_port":"51000","proto":"HTTP/2.0","method":"GET","uri":"/a"}}"#,
            1_739_209_611_250,
            "GET /a HTTP/2.0",
            r#"{"ts":1739209611.25,"request":{"remote_ip":"192.0.2.1","remote_port":"51000","proto":"HTTP/2.0","method":"GET","uri":"/a"}}"#,
        );
    }

    #[test]
    fn ports_and_stamps_of_several_kinds() {
        let line = br#"{"time_local":"[10/Feb/2025:17:46:51 +0000]","client":"10.0.0.9","remote_port":51000}"#;
        let access = parse(line).unwrap();
        assert_eq!((access.port, access.instant), (Some(51_000), 1_739_209_611_000));
        assert_eq!(access.request(line), b"");
        let line = br#"{"ts":1739209611250,"ip":"::1"}"#;
        assert_eq!(parse(line).unwrap().instant, 1_739_209_611_250);
    }

    #[test]
    fn what_is_not_an_access_line_is_refused() {
        for line in [
            "{}",
            "{",
            "[]",
            "3",
            r#"{"time":"x","client":"a"}"#,
            r#"{"client":"10.0.0.9"}"#,
            r#"{"time":"2025-02-10T17:46:51Z","client":7}"#,
            r#"{"time":"2025-02-10T17:46:51Z","client":""}"#,
            r#"{"time":"2025-02-10T17:46:51Z","client":"a\u0062"}"#,
            r#"{"time":"2025-02-10T17:46:51Z","client":null}"#,
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
