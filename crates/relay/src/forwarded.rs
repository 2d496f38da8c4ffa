//! Adds the client's address to HTTP/1 requests: `X-Forwarded-Proto` and `X-Forwarded-For`.
//!
//! A [`Forwarded`] reads the bytes from one client piece by piece, finds the end of each request's
//! head, and inserts the missing headers there. It follows bodies (RFC 9112, sections 6 and 7), so
//! that text inside a body that looks like a request is left alone. Data that is not certainly
//! HTTP/1 passes unchanged, and so does everything after it: a tunnel (`CONNECT`, `Upgrade`),
//! HTTP/2, a head that does not parse, and a body whose length is ambiguous, which is how requests
//! are smuggled past a proxy.
//!
//! Only the end of a head's line is held back, at most three bytes, until the next byte shows
//! whether the head ends there; the headers go before it. Nobody can answer half a head, and an end
//! of file or anything unexpected releases the bytes. Source: pen(1), `-H`.

mod head;

use head::{Body, Field, Head, is_token};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::net::IpAddr;

/// A client's stream of requests, and how far it has been understood. Another process can continue
/// it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forwarded {
    client: Option<IpAddr>,
    /// Whether they come through TLS.
    is_tls: bool,
    state: State,
    head: Head,
    /// The end of a head's last line, and perhaps half of an empty line.
    held: [u8; HELD_MAX],
    #[serde(deserialize_with = "held_len")]
    held_len: u8,
}

/// The part that the next byte belongs to.
///
/// ~~~text
///   Start -> Method -> Target -> Version -> (LineEnd) -> LineStart -> Name -> Value
///     ^                                        ^            |  ^                |
///     |                                        '------------|--|----------------'
///     '---- no body, or its end: Counted, Chunk... <--------'  '-- empty line: headers go in
///
///   anything unexpected: Untouched, for ever
/// ~~~
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Untouched,
    Start,
    /// After the CR of an empty line between requests.
    StartLf,
    Method,
    Target {
        is_empty: bool,
    },
    /// After this many bytes of `HTTP/1.x`.
    Version(u8),
    /// After a CR in a head, which is held back.
    LineEnd,
    /// After a line of a head, whose end is held back.
    LineStart,
    /// After the CR of a line that may be empty.
    HeadEnd,
    Name,
    Value,
    /// Before this many bytes of a body.
    Counted(u64),
    ChunkSize {
        size: u64,
        digits: u8,
    },
    ChunkExtension(u64),
    ChunkSizeLf(u64),
    ChunkData(u64),
    ChunkCr,
    ChunkLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    TrailersLf,
}

/// Reads the number of bytes held back, which is bounded.
fn held_len<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let len = u8::deserialize(from)?;
    let fits = usize::from(len) <= HELD_MAX;
    fits.then_some(len).ok_or_else(|| serde::de::Error::custom("more is held back than can be"))
}

/// A line end and half of another.
const HELD_MAX: usize = 3;
/// Longer heads pass unchanged, and so does everything after them.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The size of reads while a head may follow: headers make a piece grow at most sevenfold.
const HEAD_READ_BYTES: usize = 64 << 10;
const VERSION: &[u8] = b"HTTP/1.";

impl Forwarded {
    /// For the requests of this client, which may come through TLS. A client of a Unix socket has no
    /// address.
    #[must_use]
    pub fn new(client: Option<IpAddr>, is_tls: bool) -> Self {
        Self {
            is_tls,
            client: client.map(|client| client.to_canonical()),
            state: State::Start,
            head: Head::default(),
            held: [0; HELD_MAX],
            held_len: 0,
        }
    }

    /// How many of `size` bytes to read at once.
    #[must_use]
    pub fn read_size(&self, size: usize) -> usize {
        match self.state {
            State::Untouched => size,
            State::Counted(left) | State::ChunkData(left) => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                size.min(left.max(HEAD_READ_BYTES))
            }
            _ => size.min(HEAD_READ_BYTES),
        }
    }

    /// Whether bytes are held back.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.held_len > 0
    }

    /// Whether `input` passes unchanged, and is now taken into account. Otherwise it must be
    /// [rewritten](Self::rewrite).
    pub fn passes(&mut self, input: &[u8]) -> bool {
        match &mut self.state {
            State::Untouched => true,
            State::Counted(left) | State::ChunkData(left) if *left > input.len() as u64 => {
                *left -= input.len() as u64;
                true
            }
            _ => false,
        }
    }

    /// Appends the rewritten `input` to `output`.
    pub fn rewrite(&mut self, mut input: &[u8], output: &mut Vec<u8>) {
        while let Some((&byte, rest)) = input.split_first() {
            let count = match self.state {
                State::Untouched => input.len(),
                State::Counted(left) | State::ChunkData(left) => {
                    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
                }
                _ => {
                    self.take(byte, output);
                    input = rest;
                    continue;
                }
            };
            output.extend_from_slice(&input[..count]);
            input = &input[count..];
            self.state = match self.state {
                State::Counted(left) if left == count as u64 => State::Start,
                State::Counted(left) => State::Counted(left - count as u64),
                State::ChunkData(left) if left == count as u64 => State::ChunkCr,
                State::ChunkData(left) => State::ChunkData(left - count as u64),
                state => state,
            };
        }
    }

    /// Appends the bytes that were held back, because nothing more will arrive, or nothing that is
    /// understood.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.held[..usize::from(self.held_len)]);
        self.held_len = 0;
        self.state = State::Untouched;
    }

    fn take(&mut self, byte: u8, output: &mut Vec<u8>) {
        let next = if self.in_head() { self.take_of_head(byte, output) } else { self.follow(byte) };
        match next {
            // Of a head, a byte that is not held back passes after those that were.
            Some(State::LineEnd | State::LineStart | State::HeadEnd) => self.hold(byte),
            Some(_) => {
                self.release(output);
                output.push(byte);
            }
            None => {
                self.finish(output);
                output.push(byte);
            }
        }
        self.state = next.unwrap_or(State::Untouched);
    }

    fn in_head(&self) -> bool {
        use State::*;
        matches!(
            self.state,
            Method | Target { .. } | Version(_) | LineEnd | LineStart | HeadEnd | Name | Value
        )
    }

    /// One byte of a head; `None` if it cannot be one.
    fn take_of_head(&mut self, byte: u8, output: &mut Vec<u8>) -> Option<State> {
        self.head.bytes += 1;
        if self.head.bytes > HEAD_BYTES_MAX {
            return None;
        }
        Some(match (self.state, byte) {
            (State::Method, b' ') => {
                self.head.end_method();
                State::Target { is_empty: true }
            }
            (State::Method, _) if is_token(byte) => {
                self.head.word.push(byte);
                State::Method
            }
            (State::Target { is_empty: false }, b' ') => State::Version(0),
            (State::Target { .. }, 0..=b' ' | 127) => return None,
            (State::Target { .. }, _) => State::Target { is_empty: false },
            (State::Version(seen), _) if usize::from(seen) < VERSION.len() => {
                if byte != VERSION[usize::from(seen)] {
                    return None;
                }
                State::Version(seen + 1)
            }
            (State::Version(7), b'0'..=b'9') => {
                self.head.is_http_1_0 = byte == b'0';
                State::Version(8)
            }
            (State::Version(8) | State::Value, b'\r') => State::LineEnd,
            (State::Version(8) | State::Value | State::LineEnd, b'\n') => {
                self.head.end_line();
                State::LineStart
            }
            (State::Value, b'\t' | b' '..=126 | 128..) => {
                self.head.take_value(byte);
                State::Value
            }
            (State::LineStart, b'\r') => State::HeadEnd,
            (State::LineStart | State::HeadEnd, b'\n') => {
                self.insert(output);
                self.after_head()
            }
            (State::LineStart | State::Name, _) if is_token(byte) => {
                self.head.word.push(byte);
                State::Name
            }
            (State::Name, b':') => {
                self.head.end_name();
                State::Value
            }
            _ => return None,
        })
    }

    /// The state after the empty line.
    fn after_head(&self) -> State {
        match self.head.body() {
            Body::None => State::Start,
            Body::Counted(bytes) => State::Counted(bytes),
            Body::Chunked => State::ChunkSize { size: 0, digits: 0 },
            Body::Uncertain => State::Untouched,
        }
    }

    /// One byte between requests or of a body's framing; `None` if it cannot be one.
    fn follow(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            // RFC 9112, section 2.2: empty lines before a request are passed over.
            (State::Start, b'\r') => State::StartLf,
            (State::Start | State::StartLf, b'\n') => State::Start,
            (State::Start, _) if is_token(byte) => {
                self.head = Head::default();
                self.head.word.push(byte);
                State::Method
            }
            (State::ChunkSize { size, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                State::ChunkSize {
                    size: size.checked_mul(16)?.checked_add(digit.into())?,
                    digits: digits.saturating_add(1),
                }
            }
            (State::ChunkSize { digits: 0, .. }, _) => return None,
            (State::ChunkSize { size, .. } | State::ChunkExtension(size), b'\r') => {
                State::ChunkSizeLf(size)
            }
            (State::ChunkSize { size, .. }, b';' | b' ' | b'\t') => State::ChunkExtension(size),
            (State::ChunkExtension(size), b'\t' | b' '..=126 | 128..) => {
                State::ChunkExtension(size)
            }
            (State::ChunkSizeLf(0), b'\n') => State::TrailerStart,
            (State::ChunkSizeLf(size), b'\n') => State::ChunkData(size),
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::ChunkSize { size: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::TrailersLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailersLf, b'\n') => State::Start,
            (State::TrailerStart | State::Trailer, b'\t' | b' '..=126 | 128..) => State::Trailer,
            _ => return None,
        })
    }

    /// Appends the missing headers. Each follows the end of the line before it, so that the head's
    /// own last line end comes after them.
    fn insert(&mut self, output: &mut Vec<u8>) {
        // Writing to a vector does not fail.
        if !self.head.has(Field::ForwardedProto) {
            let protocol = if self.is_tls { "https" } else { "http" };
            let _ = write!(output, "\r\nX-Forwarded-Proto: {protocol}");
        }
        if let Some(client) = self.client
            && !self.head.has(Field::ForwardedFor)
        {
            let _ = write!(output, "\r\nX-Forwarded-For: {client}");
        }
    }

    fn hold(&mut self, byte: u8) {
        if let Some(place) = self.held.get_mut(usize::from(self.held_len)) {
            *place = byte;
            self.held_len += 1;
        }
    }

    fn release(&mut self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.held[..usize::from(self.held_len)]);
        self.held_len = 0;
    }
}

#[cfg(test)]
mod tests;
