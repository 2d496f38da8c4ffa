//! Protocols in which the server greets, or answers a word, with lines of text.

use super::{Read, Talk, line};

/// A dialogue in lines: a table.
pub(super) struct Lines {
    /// What is sent first.
    begin: &'static [u8],
    /// What each answer must be, and what is sent after it.
    steps: &'static [Step],
    /// What is sent after an answer that was wrong.
    goodbye: &'static [u8],
    done: usize,
}

type Step = (fn(&[u8]) -> Line, &'static [u8]);

/// What a line is.
enum Line {
    Good,
    /// Another line follows.
    Continued,
    Bad,
}

impl Lines {
    /// Source: RFC 5321, sections 4.1.1.1 and 4.2. The name is none that can exist (RFC 6761).
    pub fn smtp() -> Self {
        const STEPS: &[Step] = &[(code, b"EHLO probe.invalid\r\n"), (code, QUIT)];
        Self { begin: b"", steps: STEPS, goodbye: QUIT, done: 0 }
    }

    /// Source: RFC 9051, sections 6.1.3 and 7.1.
    pub fn imap() -> Self {
        const STEPS: &[Step] = &[(imap, LOGOUT)];
        Self { begin: b"", steps: STEPS, goodbye: LOGOUT, done: 0 }
    }

    /// Source: RFC 1939, sections 3 and 4.
    pub fn pop3() -> Self {
        const STEPS: &[Step] = &[(ok, QUIT)];
        Self { begin: b"", steps: STEPS, goodbye: QUIT, done: 0 }
    }

    /// Source: RFC 959, section 4.2.
    pub fn ftp() -> Self {
        const STEPS: &[Step] = &[(code, QUIT)];
        Self { begin: b"", steps: STEPS, goodbye: QUIT, done: 0 }
    }

    /// The version, before which there may be other lines. Source: RFC 4253, section 4.2.
    pub fn ssh() -> Self {
        const STEPS: &[Step] = &[(version, b"")];
        Self { begin: b"", steps: STEPS, goodbye: b"", done: 0 }
    }

    /// Source: memcached's protocol.txt, "version" and "quit".
    pub fn memcached() -> Self {
        const STEPS: &[Step] = &[(memcached, b"quit\r\n")];
        Self { begin: b"version\r\n", steps: STEPS, goodbye: b"quit\r\n", done: 0 }
    }
}

impl Talk for Lines {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(self.begin);
        Read::More
    }

    fn read(&mut self, received: &[u8], send: &mut Vec<u8>) -> Read {
        let Some((line, length)) = line(received) else { return Read::More };
        let Some((is, after)) = self.steps.get(self.done) else { return Read::Passed };
        match is(line) {
            Line::Continued => Read::Took(length),
            Line::Good => {
                send.extend_from_slice(after);
                self.done += 1;
                if self.done == self.steps.len() { Read::Passed } else { Read::Took(length) }
            }
            Line::Bad => {
                send.extend_from_slice(self.goodbye);
                Read::answered(line)
            }
        }
    }
}

/// A code of three digits, of which the first must be 2, as in SMTP and FTP.
fn code(line: &[u8]) -> Line {
    match line {
        [b'2', tens, ones, rest @ ..] if tens.is_ascii_digit() && ones.is_ascii_digit() => {
            match rest.first() {
                Some(b'-') => Line::Continued,
                None | Some(b' ') => Line::Good,
                Some(_) => Line::Bad,
            }
        }
        // A line of a longer answer need not have a code in FTP, but is indented then.
        [b' ', ..] => Line::Continued,
        _ => Line::Bad,
    }
}

fn imap(line: &[u8]) -> Line {
    let is_good = line.starts_with(b"* OK") || line.starts_with(b"* PREAUTH");
    if is_good { Line::Good } else { Line::Bad }
}

fn ok(line: &[u8]) -> Line {
    if line.starts_with(b"+OK") { Line::Good } else { Line::Bad }
}

fn version(line: &[u8]) -> Line {
    match line {
        _ if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") => Line::Good,
        // What sshd says to clients whom it does not want.
        _ if line.starts_with(b"SSH-") => Line::Bad,
        b"Exceeded MaxStartups" | b"Not allowed at this time" => Line::Bad,
        _ => Line::Continued,
    }
}

fn memcached(line: &[u8]) -> Line {
    if line.starts_with(b"VERSION ") { Line::Good } else { Line::Bad }
}

const QUIT: &[u8] = b"QUIT\r\n";
const LOGOUT: &[u8] = b"a LOGOUT\r\n";
