//! Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 56324 443`, and an end of line.

use super::origin::{Header, InvalidHeader, Origin};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

const BEGINNING: &[u8] = b"PROXY ";
/// The length of the longest line with its end, as the protocol has it.
const LINE_BYTES_MAX: usize = 107;

pub(super) fn read(bytes: &[u8]) -> Result<Option<Header<'_>>, InvalidHeader> {
    if !bytes.iter().zip(BEGINNING).all(|(byte, expected)| byte == expected) {
        return Err(InvalidHeader);
    }
    let start = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = start.iter().position(u8::is_ascii_control) else {
        let is_whole = bytes.len() >= LINE_BYTES_MAX;
        return if is_whole { Err(InvalidHeader) } else { Ok(None) };
    };
    match &start[end..] {
        [b'\r'] if start.len() == LINE_BYTES_MAX => Err(InvalidHeader),
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => {
            let line = str::from_utf8(&start[BEGINNING.len().min(end)..end]);
            let origin = line.ok().and_then(origin).ok_or(InvalidHeader)?;
            Ok(Some(Header { bytes: end + 2, origin, unique_id: None }))
        }
        _ => Err(InvalidHeader),
    }
}

/// The meaning of a line after `PROXY `.
fn origin(line: &str) -> Option<Origin> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Origin::Peer); // whatever comes after it
    }
    let mut address = || match family {
        "TCP4" => words.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => words.next()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (client, destination) = (address()?, address()?);
    let client = SocketAddr::new(client, port(words.next()?)?);
    let destination = SocketAddr::new(destination, port(words.next()?)?);
    words.next().is_none().then_some(Origin::Client { client, destination })
}

/// A decimal number without superfluous characters.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || word.starts_with(|first: char| matches!(first, '1'..='9'));
    u16::from_str(word).ok().filter(|_| is_plain)
}

pub(super) fn write(origin: Origin, output: &mut Vec<u8>) {
    let written = match origin {
        Origin::Client { client, destination } => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), destination.ip());
            let (from_port, to_port) = (client.port(), destination.port());
            write!(output, "PROXY {family} {from} {to} {from_port} {to_port}\r\n")
        }
        Origin::Peer | Origin::UnixClient => write!(output, "PROXY UNKNOWN\r\n"),
    };
    debug_assert!(written.is_ok(), "a Vec takes everything");
}
