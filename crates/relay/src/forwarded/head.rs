//! What matters of a request's head: how long its body is, and which headers are there.

use serde::{Deserialize, Serialize};

/// A head as far as it was read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub bytes: usize,
    pub is_http_1_0: bool,
    /// The method, a header's name, or the value of a header that matters; in small letters.
    pub word: Word,
    /// The header whose value is being read.
    field: Option<Field>,
    /// A bit for each [`Field`] that is there.
    fields: u8,
    content_length: Option<u64>,
    is_tunnel: bool,
    is_uncertain: bool,
}

/// Headers that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Field {
    ContentLength,
    TransferEncoding,
    Upgrade,
    ForwardedProto,
    ForwardedFor,
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Counted(u64),
    Chunked,
    /// It can be understood in two ways, or is no body but a tunnel.
    Uncertain,
}

/// A short word; what is too long to matter is only known to be so.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Word {
    bytes: [u8; WORD_MAX],
    len: usize,
}

/// More than the longest name and than any sensible value.
const WORD_MAX: usize = 64;

impl Default for Word {
    fn default() -> Self {
        Self { bytes: [0; WORD_MAX], len: 0 }
    }
}

/// A word as another process reads it: what is known of it, and its length.
#[derive(Serialize, Deserialize)]
struct Written(Vec<u8>, usize);

impl From<Word> for Written {
    fn from(word: Word) -> Self {
        Self(word.bytes[..word.len.min(WORD_MAX)].to_vec(), word.len)
    }
}

impl From<Written> for Word {
    fn from(Written(bytes, len): Written) -> Self {
        let mut word = Self::default();
        word.bytes.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        word.len = len.min(WORD_MAX + 1);
        word
    }
}

impl Word {
    pub fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte.to_ascii_lowercase();
        }
        self.len = (self.len + 1).min(WORD_MAX + 1);
    }

    /// The word, after which another one begins; `None` if it was too long.
    fn end(&mut self) -> Option<&[u8]> {
        let len = std::mem::take(&mut self.len);
        self.bytes.get(..len)
    }
}

impl Head {
    pub fn end_method(&mut self) {
        self.is_tunnel = self.word.end() == Some(b"connect");
    }

    pub fn end_name(&mut self) {
        self.field = match self.word.end() {
            Some(b"content-length") => Some(Field::ContentLength),
            Some(b"transfer-encoding") => Some(Field::TransferEncoding),
            Some(b"upgrade") => Some(Field::Upgrade),
            Some(b"x-forwarded-proto") => Some(Field::ForwardedProto),
            Some(b"x-forwarded-for") => Some(Field::ForwardedFor),
            _ => None,
        };
    }

    pub fn take_value(&mut self, byte: u8) {
        if matches!(self.field, Some(Field::ContentLength | Field::TransferEncoding)) {
            self.word.push(byte);
        }
    }

    pub fn end_line(&mut self) {
        let Some(field) = self.field.take() else { return };
        let is_first = !self.has(field);
        self.fields |= 1 << field as u8;
        let value = self.word.end().map(<[u8]>::trim_ascii);
        match field {
            Field::ContentLength => {
                let length = value.and_then(parse_length);
                // The same length twice is harmless (RFC 9112, section 6.3).
                let agrees = is_first || self.content_length == length;
                self.is_uncertain |= length.is_none() || !agrees;
                self.content_length = length;
            }
            Field::TransferEncoding => {
                self.is_uncertain |= !is_first || !value.is_some_and(ends_chunked);
            }
            Field::Upgrade => self.is_tunnel = true,
            Field::ForwardedProto | Field::ForwardedFor => {}
        }
    }

    pub fn has(&self, field: Field) -> bool {
        self.fields & 1 << field as u8 != 0
    }

    /// Source: RFC 9112, section 6.3; what it leaves to the recipient is uncertain.
    pub fn body(&self) -> Body {
        let chunked = self.has(Field::TransferEncoding);
        match self.content_length {
            _ if self.is_tunnel || self.is_uncertain => Body::Uncertain,
            _ if chunked && (self.is_http_1_0 || self.has(Field::ContentLength)) => Body::Uncertain,
            _ if chunked => Body::Chunked,
            None | Some(0) => Body::None,
            Some(length) => Body::Counted(length),
        }
    }
}

/// Digits and nothing else: no sign, no list.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Whether the last coding of the list, and only that, is `chunked`.
fn ends_chunked(value: &[u8]) -> bool {
    let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    codings.next_back() == Some(b"chunked")
        && codings.all(|coding| coding != b"chunked" && !coding.is_empty())
}

/// Whether a byte may be in a method or a header's name (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
