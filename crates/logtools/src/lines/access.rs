//! Access-log lines in the common and combined formats and their relatives.
//!
//! A line is CLIENT, blanks, MIDDLE up to `[`, STAMP, `]`, GAP up to `"`, REQUEST, `"` and REST.
//! [`super::json`] and [`super::pattern`] read other kinds into the same [`Access`]. The fields are remembered as offsets, so that a line can be kept in its read buffer until
//! its turn comes and is copied once, to the output.

use super::{Millis, stamp};

/// Where the parts of one line are. Use it only with the line it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// When the request came, by the server's clock.
    pub instant: Millis,
    /// The client's port, where the line has it in a field of its own.
    pub port: Option<u16>,
    pub(super) client: Part,
    /// Where the line goes on after the client and the blanks that follow it; equal to the
    /// client's end where what follows is not a blank.
    pub(super) after_client: u32,
    /// Where the stamp is; `None` when it is to stay as it is.
    pub(super) stamp: Option<Part>,
    pub(super) request: Request,
}

/// Which word of a line is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// The first, as in the common and combined formats.
    #[default]
    ClientFirst,
    /// The second, after the virtual host.
    VhostFirst,
}

/// The request of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// As it stands in the line, with the server's escapes.
    InLine(Part),
    /// Put together from several fields, or freed of JSON's escapes.
    Made(Box<[u8]>),
}

/// An offset pair; lines are shorter than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part(pub u32, pub u32);

impl Part {
    pub(super) fn new(from: usize, to: usize) -> Self {
        Self(from as u32, to as u32)
    }

    pub(super) fn of(self, line: &[u8]) -> &[u8] {
        &line[self.0 as usize..self.1 as usize]
    }
}

impl Access {
    /// Reads a line; `None` when a part is missing or empty (the request may be empty).
    pub fn parse(line: &[u8], layout: Layout) -> Option<Self> {
        let find = |byte, from: usize| memchr::memchr(byte, line.get(from..)?).map(|at| from + at);
        let client_start = match layout {
            Layout::ClientFirst => 0,
            Layout::VhostFirst => find(b' ', 0)? + 1,
        };
        let client_end = find(b' ', client_start)?;
        let blanks = line[client_end..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let middle_start = client_end + blanks;
        let middle_end = find(b'[', middle_start)?;
        let stamp_end = find(b']', middle_end)?;
        let quote = find(b'"', stamp_end)?;
        let request_end = closing_quote(line, quote + 1)?;
        let whole = client_end > client_start
            && middle_end > middle_start
            && quote > stamp_end + 1
            && line.len() > request_end + 1;
        if !whole {
            return None;
        }
        Some(Self {
            instant: stamp::parse_access(&line[middle_end + 1..stamp_end])?,
            port: None,
            client: Part::new(client_start, client_end),
            after_client: middle_start as u32,
            stamp: Some(Part::new(middle_end + 1, stamp_end)),
            request: Request::InLine(Part::new(quote + 1, request_end)),
        })
    }

    /// The client as the server saw it.
    pub fn client<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        self.client.of(line)
    }

    /// The request as the server wrote it, with its escapes.
    pub fn request<'a>(&'a self, line: &'a [u8]) -> &'a [u8] {
        match &self.request {
            Request::InLine(part) => part.of(line),
            Request::Made(text) => text,
        }
    }

    /// What follows the request's closing quote; nothing for lines of other kinds.
    pub fn rest<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match self.request {
            Request::InLine(part) => line.get(part.1 as usize + 1..).unwrap_or_default(),
            Request::Made(_) => &[],
        }
    }

    /// Appends the line with another client, its stamp in UTC unless it is to stay as it was.
    pub fn write(&self, line: &[u8], client: &[u8], keep_stamp: bool, out: &mut Vec<u8>) {
        let stamp = self.stamp.filter(|_| !keep_stamp);
        let (mut from, mut stamp_done) = (0, stamp.is_none());
        let put_stamp = |from: &mut usize, out: &mut Vec<u8>| {
            if let Some(part) = stamp {
                out.extend_from_slice(&line[*from..part.0 as usize]);
                stamp::write_access(out, self.instant);
                *from = part.1 as usize;
            }
        };
        if stamp.is_some_and(|part| part.0 < self.client.0) {
            put_stamp(&mut from, out);
            stamp_done = true;
        }
        out.extend_from_slice(&line[from..self.client.0 as usize]);
        out.extend_from_slice(client);
        if self.after_client > self.client.1 {
            out.push(b' ');
        }
        from = self.after_client as usize;
        if !stamp_done {
            put_stamp(&mut from, out);
        }
        out.extend_from_slice(&line[from..]);
    }
}

/// Where the request ends: at the first quote that is not escaped, or, for servers that do not
/// escape and wrote a backslash at its end, at the first quote at all.
pub(crate) fn closing_quote(line: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(hit) = memchr::memchr2(b'"', b'\\', line.get(at..)?) {
        at += hit;
        if line[at] == b'"' {
            return Some(at);
        }
        at += 2;
        if at > line.len() {
            break;
        }
    }
    memchr::memchr(b'"', &line[from..]).map(|hit| from + hit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, client: &str, request: &str, rest: &str) {
        let access = Access::parse(line.as_bytes(), Layout::ClientFirst).expect("a good line");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(access.client(line.as_bytes())), client);
        assert_eq!(text(access.request(line.as_bytes())), request);
        assert_eq!(text(access.rest(line.as_bytes())), rest);
    }

    #[test]
    fn common_and_combined_lines() {
        check(
            r#"10.0.0.9 - - [10/Feb/2025:17:46:51 +0000] "GET / HTTP/1.1" 200 5"#,
            "10.0.0.9",
            "GET / HTTP/1.1",
            " 200 5",
        );
        check(
            r#"::1   - joe [10/Feb/2025:17:46:51 +0000]  "" 400 - "-" "\"]"#,
            "::1",
            "",
            r#" 400 - "-" "\"]"#,
        );
    }

    #[test]
    fn an_escaped_quote_does_not_end_the_request() {
        check(r#"a - - [10/Feb/2025:17:46:51] "GET /\"x\\" 200"#, "a", r#"GET /\"x\\"#, " 200");
        // A server that does not escape, and a request that ends in a backslash.
        check(r#"a - - [10/Feb/2025:17:46:51] "GET /x\" 200"#, "a", r"GET /x\", " 200");
    }

    #[test]
    fn the_client_is_replaced_and_the_stamp_is_utc() {
        let line = br#"10.0.0.9  - - [10/Feb/2025:18:46:51 +0100] "GET /" 200 5"#;
        let access = Access::parse(line, Layout::ClientFirst).unwrap();
        let mut out = Vec::new();
        access.write(line, b"192.0.2.1", false, &mut out);
        assert_eq!(out, br#"192.0.2.1 - - [10/Feb/2025:17:46:51 +0000] "GET /" 200 5"#);
        out.clear();
        access.write(line, b"192.0.2.1", true, &mut out);
        assert_eq!(out, br#"192.0.2.1 - - [10/Feb/2025:18:46:51 +0100] "GET /" 200 5"#);
    }

    #[test]
    fn with_a_virtual_host_in_front_the_second_word_is_the_client() {
        let line = br#"www:80 10.0.0.9 - - [10/Feb/2025:17:46:51 +0000] "GET /" 200 5"#;
        let access = Access::parse(line, Layout::VhostFirst).unwrap();
        let mut out = Vec::new();
        access.write(line, b"192.0.2.1", false, &mut out);
        assert_eq!(out, br#"www:80 192.0.2.1 - - [10/Feb/2025:17:46:51 +0000] "GET /" 200 5"#);
    }

    #[test]
    fn lines_that_lack_a_part_are_refused() {
        for line in [
            "",
            "   ",
            " - - [10/Feb/2025:17:46:51] \"GET /\" 1",
            "# Fields: none",
            "a - - no bracket \"GET /\" 1",
            "a - - [10/Feb/2025:17:46:51] \"open",
            "a - - [10/Feb/2025:17:46:51] none 1",
            "a - - [10/Feb/2025:17:46:51]\"GET /\" 1",
            "a - - [10/Feb/2025:17:46:51] \"GET /\"",
            "a [10/Feb/2025:17:46:51] \"GET /\" 1",
            "a - - [damaged] \"GET /\" 1",
            "a - - [10/Feb/2025:17:46:51] \"\\",
        ] {
            assert_eq!(Access::parse(line.as_bytes(), Layout::ClientFirst), None, "{line}");
        }
    }
}
