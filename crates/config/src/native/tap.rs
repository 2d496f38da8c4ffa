//! What can be watched of sessions: the query of `GET /v1/tap`, and the options of `ctl tap`.

use super::ClientNetwork;
use crate::duration::Span;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

/// Which sessions to watch, and how much of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct TapQuery {
    /// The number of an open session [default: those that begin from now on]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(conflicts_with_all = ["listener", "client", "sessions"])]
    pub session: Option<u64>,
    /// Only new sessions of this listener: its name, port or address
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "LISTENER")]
    pub listener: Option<String>,
    /// Only new sessions of clients with this address, in this network, or of unix sockets
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "CLIENTS")]
    pub client: Option<ClientNetwork>,
    /// End after this many sessions
    #[arg(long, value_name = "N", default_value_t = SESSIONS)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(SESSIONS_MAX)))]
    pub sessions: u32,
    /// Show this many bytes of each session, such as 64k or 1M
    #[arg(long, value_name = "SIZE", default_value_t = BYTES)]
    pub bytes: ByteCount,
    /// End after this time
    #[serde(rename = "for", serialize_with = "as_text", deserialize_with = "from_text")]
    #[arg(long = "for", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = crate::duration::parse_nonzero_duration)]
    pub time: Span,
}

const SESSIONS: u32 = 10;
const SESSIONS_MAX: u32 = 1000;
const BYTES: ByteCount = ByteCount(64 << 10);
const BYTES_MAX: u32 = 1 << 30;
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for TapQuery {
    fn default() -> Self {
        let (session, listener, client) = (None, None, None);
        let time = Span(Duration::from_secs(60));
        Self { session, listener, client, sessions: SESSIONS, bytes: BYTES, time }
    }
}

impl TapQuery {
    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        if self.session.is_some() && (self.listener.is_some() || self.client.is_some()) {
            return Err(
                "`session` is one that is open; it takes neither `listener` nor `client`".into()
            );
        }
        if !(1..=SESSIONS_MAX).contains(&self.sessions) {
            return Err(format!("`sessions` is a number from 1 to {SESSIONS_MAX}"));
        }
        if self.time.0.is_zero() || self.time.0 > TIME_MAX {
            return Err("`for` is longer than zero, and at most 24h".to_owned());
        }
        Ok(())
    }
}

/// A number of bytes: `1500`, `64k` or `1M`, with units of 1024 and of 1024 times that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteCount(pub u32);

impl FromStr for ByteCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1 << 10),
            None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse::<u32>().ok().filter(|_| is_number);
        let count = count.and_then(|count| count.checked_mul(unit));
        count.filter(|count| (1..=BYTES_MAX).contains(count)).map(Self).ok_or_else(|| {
            "a size is a number of bytes such as 1500, 64k or 1M, from 1 to 1024M".to_owned()
        })
    }
}

impl Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            count if count.is_multiple_of(1 << 20) => write!(f, "{}M", count >> 20),
            count if count.is_multiple_of(1 << 10) => write!(f, "{}k", count >> 10),
            count => count.fmt(f),
        }
    }
}

impl TryFrom<String> for ByteCount {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteCount> for String {
    fn from(count: ByteCount) -> Self {
        count.to_string()
    }
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u32, &str)>) {
        let count = text.parse::<ByteCount>().ok();
        assert_eq!(
            count.map(|it| (it.0, it.to_string())),
            expected.map(|(n, t)| (n, t.to_owned()))
        );
    }

    #[test]
    fn sizes_have_units() {
        check("1", Some((1, "1")));
        check("1500", Some((1500, "1500")));
        check("64k", Some((65_536, "64k")));
        check("1024K", Some((1 << 20, "1M")));
        check("1024M", Some((1 << 30, "1024M")));
        for text in ["", "0", "k", "-1", "+1", "1.5k", "64kB", "1025M", "99999999999", "4194304k"] {
            check(text, None);
        }
    }
}
