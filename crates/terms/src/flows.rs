//! What ends a UDP flow.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// What ends a UDP flow, and when its first datagrams go to another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRules {
    /// The silence after which a flow ends. Default 30 s.
    pub timeout: Duration,
    /// The number of datagrams from the client after which the next one begins another flow, with a
    /// backend of its own. Default: no limit.
    pub requests: Option<NonZeroU32>,
    /// The number of answers to each datagram from the client; when they have passed, the flow ends.
    /// Default: not known.
    pub responses: Option<NonZeroU32>,
    /// How long to wait for the first answer before the first datagrams go to the next backend, and
    /// how long later ones are kept for the case that ICMP rejects them. Default: forever, and not at
    /// all.
    pub retry_after: Option<Duration>,
    /// How a client is recognized after its address has changed. Default: not at all.
    pub hash_on: Option<HashOn>,
}

/// How a client is recognized, besides by its address: by the first bytes of the connection id that
/// QUIC packets to a server carry. Written `quic-cid:16`, or `quic-cid` for 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashOn {
    cid_bytes: u8,
}

impl HashOn {
    /// With fewer bytes, different clients would have the same ids.
    pub const CID_BYTES_MIN: u8 = 4;
    /// The longest connection id of QUIC. Source: RFC 9000, 17.2.
    pub const CID_BYTES_MAX: u8 = 20;
    /// Enough to tell all clients apart, if ids are random.
    const CID_BYTES_DEFAULT: u8 = 8;

    /// The first `bytes` bytes of connection ids; `None` if that is too few or too many.
    #[must_use]
    pub fn quic_cid(bytes: u8) -> Option<Self> {
        let range = Self::CID_BYTES_MIN..=Self::CID_BYTES_MAX;
        range.contains(&bytes).then_some(Self { cid_bytes: bytes })
    }

    /// The number of bytes.
    #[must_use]
    pub fn cid_bytes(self) -> usize {
        usize::from(self.cid_bytes)
    }
}

impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quic-cid:{}", self.cid_bytes)
    }
}

/// What is no [`HashOn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHashOn;

impl fmt::Display for InvalidHashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "write quic-cid, or quic-cid:N with the number of bytes that the connection ids of your \
             servers have: {} to {}",
            HashOn::CID_BYTES_MIN,
            HashOn::CID_BYTES_MAX
        )
    }
}

impl std::error::Error for InvalidHashOn {}

impl FromStr for HashOn {
    type Err = InvalidHashOn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("quic-cid").ok_or(InvalidHashOn)?;
        if rest.is_empty() {
            return Ok(Self { cid_bytes: Self::CID_BYTES_DEFAULT });
        }
        let bytes = rest.strip_prefix(':').ok_or(InvalidHashOn)?;
        let is_number = bytes.bytes().all(|it| it.is_ascii_digit()) && !bytes.starts_with('0');
        let bytes = if is_number { bytes.parse().ok() } else { None };
        bytes.and_then(Self::quic_cid).ok_or(InvalidHashOn)
    }
}

impl FlowRules {
    /// The default of [`FlowRules::timeout`].
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
}

impl Default for FlowRules {
    fn default() -> Self {
        Self {
            timeout: Self::DEFAULT_TIMEOUT,
            requests: None,
            responses: None,
            retry_after: None,
            hash_on: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, bytes: Option<usize>) {
        let read = text.parse::<HashOn>();
        assert_eq!(read.map(HashOn::cid_bytes).ok(), bytes, "{text}");
        if let Ok(read) = read {
            assert_eq!(read.to_string().parse(), Ok(read));
        }
    }

    #[test]
    fn hash_on_says_how_many_bytes() {
        check("quic-cid", Some(8));
        check("quic-cid:4", Some(4));
        check("quic-cid:20", Some(20));
        for wrong in ["", "quic", "quic-cid:", "quic-cid:3", "quic-cid:21", "quic-cid:08"] {
            check(wrong, None);
        }
        check("quic-cid:+8", None);
        check("quic-cid8", None);
        check("quic-cid:999", None);
    }
}
