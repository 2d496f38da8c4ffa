//! Where metrics are pushed to.

use crate::operand::{Problem, parse_host};
use crate::{Collector, Host, Push};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is no collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectorError {
    /// HTTPS.
    #[error(
        "a collector is reached by plain HTTP; for one that is far away, let a collector on this \
         machine pass the metrics on by HTTPS, and give its address, such as http://127.0.0.1:4318"
    )]
    Https,
    /// Something else than a URL.
    #[error("a collector is written http://HOST:PORT/PATH, such as http://127.0.0.1:4318")]
    Form,
    /// The host.
    #[error("in the host of a collector: {0}")]
    Host(Problem),
    /// The port.
    #[error("{0:?} is not a port: a whole number from 1 to 65535")]
    Port(String),
    /// The path.
    #[error("{0:?} in the path of a collector cannot be sent: it would have to be written %{code:02X}", code = u32::from(*.0))]
    Path(char),
}

impl Push {
    /// How often metrics are pushed by default.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);
}

impl Collector {
    /// The port that is registered for OTLP over HTTP.
    pub const DEFAULT_PORT: u16 = 4318;

    /// Where requests go: the path with that of metrics.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{}/v1/metrics", self.path)
    }

    /// The host and the port, as `Host` has them in a request (RFC 9112, 3.2).
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        match host {
            Host::Address(std::net::IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Host::Address(address) => format!("{address}:{port}"),
            Host::Name(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Name(name) => format!("{name}:{port}"),
        }
    }
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        if text.starts_with("https:") {
            return Err(CollectorError::Https);
        }
        let rest = text.strip_prefix("http://").ok_or(CollectorError::Form)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = match authority.rfind(':') {
            Some(at) if !authority.ends_with(']') => (&authority[..at], Some(&authority[at + 1..])),
            _ => (authority, None),
        };
        let host = parse_host(host).map_err(CollectorError::Host)?;
        let wrong = |text: &str| CollectorError::Port(text.to_owned());
        let port = port.map_or(Ok(Self::DEFAULT_PORT), |text| {
            let is_number = text.bytes().all(|it| it.is_ascii_digit());
            let port = text.parse().ok().filter(|port| is_number && *port > 0);
            port.ok_or_else(|| wrong(text))
        })?;
        // What may be in a path as it is (RFC 3986, 3.3), and what is written with a percent sign.
        let is_fit = |it: &char| it.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(*it);
        if let Some(other) = path.chars().find(|it| !is_fit(it)) {
            return Err(CollectorError::Path(other));
        }
        Ok(Self { host, port, path: path.trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text and shows the result, or the error.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Collector>() {
            Ok(collector) => {
                assert_eq!(collector.to_string().parse(), Ok(collector.clone()));
                format!("{collector} {}", collector.target())
            }
            Err(error) => format!("error: {error}"),
        };
        assert!(shown.starts_with(expected), "{text}: {shown}");
    }

    #[test]
    fn collectors_are_written_as_urls() {
        check("http://127.0.0.1:4318", "http://127.0.0.1:4318 /v1/metrics");
        check("http://otel", "http://otel:4318 /v1/metrics");
        check("http://otel/", "http://otel:4318 /v1/metrics");
        check("http://[::1]:80/a", "http://[::1]:80/a /a/v1/metrics");
        check("http://[fe80::1%eth0]", "http://[fe80::1%eth0]:4318 /v1/metrics");
        check("http://p:9090/api/v1/otlp/", "http://p:9090/api/v1/otlp /api/v1/otlp/v1/metrics");
    }

    #[test]
    fn what_is_no_collector_is_an_error() {
        check("https://otel:4318", "error: a collector is reached by plain HTTP");
        for text in ["", "otel:4318", "grpc://otel", "HTTP://otel"] {
            check(text, "error: a collector is written http://HOST:PORT/PATH");
        }
        check("http://", "error: in the host");
        check("http://:80", "error: in the host");
        check("http://a@b", "error: in the host");
        check("http://*:80", "error: in the host");
        check("http://::1:80", "error: in the host");
        check("http://[::1", "error: in the host");
        check("http://1.2.3:80", "error: in the host");
        for port in ["", "0", "65536", "+1", "x", "80:81"] {
            let start = if port == "80:81" { "error: in the host" } else { "error: \"" };
            check(&format!("http://a:{port}"), start);
        }
        check("http://a/b c", "error: ' ' in the path of a collector cannot be sent: it would");
        check("http://a/b?c", "error: '?' in the path");
        check("http://a/\u{e9}\r\n", "error: '\u{e9}' in the path");
    }
}
