//! SMTP, IMAP and POP3: the server greets, and the client's commands are lines.
//!
//! Before TLS, a client is told no more than that there is TLS, and can do nothing else. Any other
//! command is refused, as RFC 3207 section 4 has it; passwords are thus not asked for.

use super::{Request, Text};
use std::borrow::Cow;
use terms::Starttls;

/// A line of a client, at most.
const COMMAND_BYTES_MAX: usize = 1024;
/// The tag of an IMAP command, at most.
const TAG_BYTES_MAX: usize = 64;

/// What the server says first; `None` if the client speaks first.
pub(super) fn greeting(protocol: Starttls) -> Option<&'static [u8]> {
    match protocol {
        Starttls::Smtp => Some(b"220 evenkeel ESMTP\r\n"),
        Starttls::Imap => {
            Some(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] evenkeel ready\r\n")
        }
        Starttls::Pop3 => Some(b"+OK evenkeel ready\r\n"),
        Starttls::Postgresql | Starttls::Ldap => None,
    }
}

/// The first line of these bytes with its end; `Err` with whether it may still come.
pub(super) fn first_line(bytes: &[u8], most: usize) -> Result<&[u8], bool> {
    match bytes.iter().take(most).position(|byte| *byte == b'\n') {
        Some(end) => Ok(&bytes[..=end]),
        None => Err(bytes.len() < most),
    }
}

/// What a client asks for.
pub(super) fn request(protocol: Starttls, bytes: &[u8]) -> Request {
    let line = match first_line(bytes, COMMAND_BYTES_MAX) {
        Ok(line) => line,
        // No command has such bytes, but a ClientHello has: there is nothing to wait for.
        Err(_) if bytes.iter().any(|byte| *byte < b' ' && *byte != b'\r') => {
            return Request::Invalid;
        }
        Err(true) => return Request::Incomplete(bytes.len() + 1),
        Err(false) => return Request::Invalid,
    };
    let text = line.trim_ascii();
    if !text.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        return Request::Invalid;
    }
    match protocol {
        Starttls::Imap => imap(text, line.len()),
        Starttls::Pop3 => pop3(text, line.len()),
        _ => smtp(text, line.len()),
    }
}

fn smtp(line: &[u8], length: usize) -> Request {
    let (verb, rest) = word(line);
    let other = |text: &'static str| Request::Other(length, text.as_bytes().into());
    match verb.as_str() {
        "EHLO" => other("250-evenkeel\r\n250 STARTTLS\r\n"),
        "HELO" => other("250 evenkeel\r\n"),
        "STARTTLS" if rest.is_empty() => Request::Tls(length, b"220 2.0.0 Begin TLS\r\n".into()),
        "STARTTLS" => other("501 5.5.4 STARTTLS has no parameters\r\n"),
        "NOOP" | "RSET" => other("250 2.0.0 OK\r\n"),
        "QUIT" => Request::Goodbye(length, b"221 2.0.0 Bye\r\n".into()),
        _ => other("530 5.7.0 Must issue a STARTTLS command first\r\n"),
    }
}

fn imap(line: &[u8], length: usize) -> Request {
    let (tag, rest) = split(line);
    let is_tag = |byte: &u8| byte.is_ascii_graphic() && !b"+(){%*\"\\".contains(byte);
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX || !tag.iter().all(is_tag) {
        return Request::Other(length, b"* BAD a command begins with a tag\r\n".into());
    }
    let answer = |before: &str, after: &str| -> Text {
        Cow::Owned([before.as_bytes(), tag, after.as_bytes()].concat())
    };
    let (verb, rest) = word(rest);
    match (verb.as_str(), rest.is_empty()) {
        ("STARTTLS", true) => Request::Tls(length, answer("", " OK begin TLS\r\n")),
        ("CAPABILITY", true) => {
            let before = "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n";
            Request::Other(length, answer(before, " OK done\r\n"))
        }
        ("NOOP", true) => Request::Other(length, answer("", " OK done\r\n")),
        ("LOGOUT", true) => Request::Goodbye(length, answer("* BYE\r\n", " OK bye\r\n")),
        _ => Request::Other(length, answer("", " NO [PRIVACYREQUIRED] STARTTLS comes first\r\n")),
    }
}

fn pop3(line: &[u8], length: usize) -> Request {
    let (verb, rest) = word(line);
    let other = |text: &'static str| Request::Other(length, text.as_bytes().into());
    match (verb.as_str(), rest.is_empty()) {
        ("STLS", true) => Request::Tls(length, b"+OK begin TLS\r\n".into()),
        ("CAPA", true) => other("+OK\r\nSTLS\r\n.\r\n"),
        ("QUIT", true) => Request::Goodbye(length, b"+OK bye\r\n".into()),
        _ => other("-ERR STLS comes first\r\n"),
    }
}

/// The first word in capitals, and what follows it.
fn word(line: &[u8]) -> (String, &[u8]) {
    let (word, rest) = split(line);
    (String::from_utf8_lossy(word).to_ascii_uppercase(), rest)
}

fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii_start())
}
