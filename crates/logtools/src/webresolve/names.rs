//! Addresses in log lines, and which names may take their place.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use ipnet::IpNet;

/// An address in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where it stands.
    pub range: Range<usize>,
    /// What it is; an IPv4 address mapped into IPv6 is looked up as IPv4.
    pub ip: IpAddr,
}

/// The address that the word number `number` (from 1) of a line is, words being parted by single
/// spaces.
pub fn address_field(line: &[u8], number: usize) -> Option<Field> {
    let mut start = 0;
    for _ in 1..number {
        start += memchr::memchr(b' ', &line[start..])? + 1;
    }
    let length = memchr::memchr(b' ', &line[start..]).unwrap_or(line.len() - start);
    let range = start..start + length;
    // The longest address has 45 bytes.
    let word = line[range.clone()].get(..length.min(46))?;
    let ip: IpAddr = std::str::from_utf8(word).ok()?.parse().ok()?;
    Some(Field { range, ip: ip.to_canonical() })
}

/// A name as it may be written into a log: lower case, without the final dot, and only if it is
/// a host name. Whoever owns an address decides what its name is, and blanks, quotes or newlines
/// in it would forge log lines.
pub fn hostname(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // What looks like an address must not take an address's place.
    let fits = name.len() <= 253
        && name.split('.').all(label)
        && name.parse::<IpAddr>().is_err()
        && name.bytes().any(|b| b.is_ascii_alphabetic());
    fits.then(|| name.to_ascii_lowercase())
}

/// Whether names of this address are nobody else's business: private, loopback, link-local and
/// documentation networks.
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation()
                || ip.is_unspecified()
                // Shared addresses of carriers, RFC 6598.
                || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_unique_local()
                || ip.is_unspecified()
                || is_documentation(ip)
        }
    }
}

fn is_documentation(ip: Ipv6Addr) -> bool {
    ip.segments()[..2] == [0x2001, 0xdb8]
}

/// Which addresses are left alone.
#[derive(Debug, Clone, Default)]
pub struct Skip {
    /// Networks that were named.
    pub nets: Vec<IpNet>,
    /// Also all private ones.
    pub private: bool,
}

impl Skip {
    /// Whether this address is left alone.
    pub fn holds(&self, ip: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(&ip)) || (self.private && is_private(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_field(line: &str, number: usize, found: Option<(&str, &str)>) {
        let field = address_field(line.as_bytes(), number);
        let shown = field.map(|f| (line[f.range].to_owned(), f.ip.to_string()));
        assert_eq!(shown, found.map(|(text, ip)| (text.to_owned(), ip.to_owned())), "{line}");
    }

    #[test]
    fn the_word_that_is_an_address() {
        check_field("192.0.2.1 - -", 1, Some(("192.0.2.1", "192.0.2.1")));
        check_field("192.0.2.1", 1, Some(("192.0.2.1", "192.0.2.1")));
        check_field("2001:DB8::1 x", 1, Some(("2001:DB8::1", "2001:db8::1")));
        check_field("::ffff:192.0.2.1 x", 1, Some(("::ffff:192.0.2.1", "192.0.2.1")));
        check_field("www:80 192.0.2.1 x", 2, Some(("192.0.2.1", "192.0.2.1")));
        for line in ["", " 192.0.2.1", "www x", "192.0.2.1:80 x", "192.0.2 x", "192.0.2.1\tx"] {
            check_field(line, 1, None);
        }
        check_field("a b", 3, None);
    }

    #[test]
    fn only_host_names_may_be_written() {
        #[track_caller]
        fn check(name: &str, written: Option<&str>) {
            assert_eq!(hostname(name).as_deref(), written, "{name:?}");
        }
        check("WWW.Example.Net.", Some("www.example.net"));
        check("a_b-c.1.example", Some("a_b-c.1.example"));
        for name in [
            "",
            ".",
            "a..b",
            "a b.example",
            "a\nb",
            "a\"b",
            "a\\b",
            "smörgås.se",
            "127.0.0.1",
            "1.2.3",
            "a..",
            &"x".repeat(64),
            &"x.".repeat(130),
        ] {
            check(name, None);
        }
    }

    #[test]
    fn private_addresses() {
        for ip in [
            "10.1.2.3",
            "127.0.0.1",
            "192.0.2.7",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["9.9.9.9", "100.128.0.1", "2620:fe::fe"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
        let skip = Skip { nets: vec!["9.0.0.0/8".parse().unwrap()], private: false };
        assert!(skip.holds("9.9.9.9".parse().unwrap()) && !skip.holds("::1".parse().unwrap()));
    }
}
