//! Access logs of any layout, described the way the servers' own configurations do.
//!
//! A pattern is the `log_format` of nginx or the `LogFormat` of Apache: text with `$names` or
//! `%directives` in it. Three of them matter here (client, time, request); all others stand for
//! "anything up to the text that follows".

use super::access::{Access, Part, Request};
use super::stamp;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Text(Vec<u8>),
    Field(Field),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Client,
    Port,
    Time,
    Request,
    Other,
}

impl Pattern {
    /// Compiles a pattern. The error says what is missing.
    pub fn compile(text: &str) -> Result<Self, String> {
        let mut steps: Vec<Step> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '$' => 1 + word(&rest[1..]),
                '%' => directive(rest),
                _ => 0,
            };
            if length <= 1 {
                push_text(&mut steps, &rest[..first.len_utf8()]);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let field = field(&rest[..length]);
            if matches!(steps.last(), Some(Step::Field(_))) {
                return Err(format!("nothing parts '{}' from what is before it", &rest[..length]));
            }
            // Apache's %t brings its brackets.
            let brackets = &rest[..length] == "%t";
            if brackets {
                push_text(&mut steps, "[");
            }
            steps.push(Step::Field(field));
            if brackets {
                push_text(&mut steps, "]");
            }
            rest = &rest[length..];
        }
        for (needed, name) in [
            (Field::Client, "client ($remote_addr or %h)"),
            (Field::Time, "time ($time_local or %t)"),
        ] {
            if !steps.contains(&Step::Field(needed)) {
                return Err(format!("the pattern lacks the {name}"));
            }
        }
        Ok(Self { steps })
    }

    /// Reads a line that follows the pattern.
    pub fn parse(&self, line: &[u8]) -> Option<Access> {
        let mut at = 0;
        let (mut client, mut time, mut request, mut port) = (None, None, None, None);
        for (i, step) in self.steps.iter().enumerate() {
            let field = match step {
                Step::Text(text) => {
                    at += line.get(at..)?.starts_with(text).then_some(text.len())?;
                    continue;
                }
                Step::Field(field) => *field,
            };
            let end = match self.steps.get(i + 1) {
                Some(Step::Text(text)) => at + find_unescaped(&line[at..], text)?,
                _ => line.len(),
            };
            let part = Part::new(at, end);
            match field {
                Field::Client => client = client.or(Some(part)),
                Field::Time => time = time.or(Some(part)),
                Field::Request => request = request.or(Some(part)),
                Field::Port => port = std::str::from_utf8(part.of(line)).ok()?.parse().ok(),
                Field::Other => {}
            }
            at = end;
        }
        let (client, time) = (client.filter(|part| part.0 < part.1)?, time?);
        let text = time.of(line);
        Some(Access {
            instant: stamp::parse_any(text)?,
            port,
            client,
            after_client: client.1,
            stamp: stamp::parse_access(text).map(|_| time),
            request: request.map_or_else(|| Request::Made(Box::default()), Request::InLine),
        })
    }
}

fn field(name: &str) -> Field {
    match name {
        "$remote_addr" | "$realip_remote_addr" | "%h" | "%a" | "%{c}a" => Field::Client,
        "$remote_port" | "$realip_remote_port" | "%{remote}p" => Field::Port,
        "$time_local" | "$time_iso8601" | "$msec" | "%t" => Field::Time,
        "$request" | "%r" => Field::Request,
        _ => Field::Other,
    }
}

fn push_text(steps: &mut Vec<Step>, text: &str) {
    if let Some(Step::Text(last)) = steps.last_mut() {
        last.extend_from_slice(text.as_bytes());
    } else {
        steps.push(Step::Text(text.as_bytes().to_vec()));
    }
}

fn word(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// The length of an Apache directive such as `%h`, `%>s` or `%{User-Agent}i`.
fn directive(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 1;
    while matches!(bytes.get(length), Some(b'<' | b'>' | b'!' | b',' | b'0'..=b'9')) {
        length += 1;
    }
    if bytes.get(length) == Some(&b'{') {
        match text.find('}') {
            Some(end) => length = end + 1,
            None => return 1,
        }
    }
    if bytes.get(length) == Some(&b'^') {
        length += 2;
    }
    if bytes.get(length).is_some_and(u8::is_ascii_alphabetic) { length + 1 } else { 1 }
}

/// Where `text` begins in `line`; where it begins with a quote, an escaped quote does not count.
fn find_unescaped(line: &[u8], text: &[u8]) -> Option<usize> {
    let mut hits = memchr::memmem::find_iter(line, text);
    hits.find(|&hit| {
        let escapes = line[..hit].iter().rev().take_while(|b| **b == b'\\').count();
        text.first() != Some(&b'"') || escapes % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, line: &str, replaced: &str) {
        let pattern = Pattern::compile(pattern).expect("a good pattern");
        let access = pattern.parse(line.as_bytes()).expect("a good line");
        let mut out = Vec::new();
        access.write(line.as_bytes(), b"192.0.2.1", false, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), replaced);
        assert_eq!(access.request(line.as_bytes()), br#"GET /\"x"#);
    }

    #[test]
    fn nginx_and_apache_patterns() {
        check(
            r#"$host $remote_addr:$remote_port [$time_local] "$request" $status"#,
            r#"www 10.0.0.9:51000 [10/Feb/2025:18:46:51 +0100] "GET /\"x" 200"#,
            r#"www 192.0.2.1:51000 [10/Feb/2025:17:46:51 +0000] "GET /\"x" 200"#,
        );
        check(
            r#"%{X}i %t %>s "%r" %h"#,
            r#"- [10/Feb/2025:18:46:51 +0100] 200 "GET /\"x" 10.0.0.9"#,
            r#"- [10/Feb/2025:17:46:51 +0000] 200 "GET /\"x" 192.0.2.1"#,
        );
        // A stamp that is not of an access log stays as it is.
        check(
            r#"$time_iso8601|$remote_addr|$request"#,
            r#"2025-02-10T18:46:51+01:00|10.0.0.9|GET /\"x"#,
            r#"2025-02-10T18:46:51+01:00|192.0.2.1|GET /\"x"#,
        );
    }

    #[test]
    fn a_pattern_needs_a_client_a_time_and_text_between_fields() {
        for (pattern, complaint) in [
            ("$time_local", "lacks the client"),
            ("%h", "lacks the time"),
            ("$remote_addr$time_local", "nothing parts"),
            ("", "lacks"),
            ("%", "lacks"),
            ("%{open h $", "lacks"),
        ] {
            let error = Pattern::compile(pattern).expect_err(pattern);
            assert!(error.contains(complaint), "{pattern}: {error}");
        }
    }
}
