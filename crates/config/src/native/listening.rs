//! Selects a running instance by its listening address.

use std::fmt;
use std::str::FromStr;

/// A listening address, as `evenkeel ctl --listen` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenName {
    /// This port, of TCP or UDP, on any address.
    Port(u16),
    /// Exactly this text, as shown by `evenkeel ctl status`: `*:80`, `127.0.0.1:80`, `[::1]:80`,
    /// `db.example:80` or `unix:/path`.
    Bind(String),
}

impl ListenName {
    /// Whether this selects a listener whose address is `bind` in a status report.
    pub fn fits(&self, bind: &str) -> bool {
        match self {
            Self::Port(port) => match bind.trim_end_matches("/udp").rsplit_once(':') {
                Some((_, number)) => !bind.starts_with("unix:") && number.parse() == Ok(*port),
                None => false,
            },
            Self::Bind(name) => name == bind,
        }
    }
}

impl FromStr for ListenName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(0) => Err(EXPECTED),
            Ok(port) => Ok(Self::Port(port)),
            Err(_) if text.contains(':') => Ok(Self::Bind(text.to_owned())),
            Err(_) => Err(EXPECTED),
        }
    }
}

const EXPECTED: &str = "write a port, or a listener as `evenkeel ctl status` shows it";

impl fmt::Display for ListenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Bind(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, bind: &str, expected: bool) {
        let name: ListenName = name.parse().unwrap();
        assert_eq!(name.fits(bind), expected, "{name} and {bind}");
    }

    #[test]
    fn a_port_fits_every_address() {
        check("80", "*:80", true);
        check("80", "[::1]:80", true);
        check("80", "*:8080", false);
        check("80", "*:80/udp", true);
        check("80", "unix:/run/a:80", false);
        check("80", "unix:80", false);
    }

    #[test]
    fn what_status_prints_is_taken() {
        for bind in ["*:80", "0.0.0.0:80", "[::]:80", "[::1]:80", "db1:80", "unix:/run/a b:80"] {
            check(bind, bind, true);
            check(bind, "127.0.0.1:80", false);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "0", "65536", "http", "-1"] {
            assert_eq!(text.parse::<ListenName>(), Err(EXPECTED), "{text}");
        }
    }
}
