//! The addresses of pen's operands and commands.

use super::PenError;
use super::settings::{PenServer, ServerAddress};
use crate::classic::{address, leading_number};
use config::operand::Services;
use config::{Bind, Family, Host, Segment};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Finds the first address of a host by name, or keeps the name where nothing is to be looked up.
pub type Hosts<'a> = &'a dyn Fn(&str) -> Option<Host>;

/// What only the machine knows: addresses of hosts and ports of services.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The address of a host; asked for names only, never for addresses.
    pub hosts: Hosts<'a>,
    /// The port of a service.
    pub services: Services<'a>,
}

/// What is listened on: as it was written, and what that means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PenListen {
    /// The text, which the commands `listen` and `write` show.
    pub text: String,
    /// What to bind. The port is 0 if direct server return is to send on all of them.
    pub bind: Bind,
}

impl PenListen {
    /// Reads `[addr:]port` or `/path`. The last colon splits, and brackets are understood too.
    ///
    /// # Errors
    /// [`PenError::PortOutOfRange`] and [`PenError::BadListenAddress`].
    pub fn parse(text: &str, names: Names<'_>) -> Result<Self, PenError> {
        let bind = if text.contains('/') {
            let unusable = || PenError::BadListenAddress(text.to_owned());
            Bind::Unix(unix_path(text).ok_or_else(unusable)?)
        } else {
            let (host, port_text) = match text.rsplit_once(':') {
                Some((host, port)) => (Some(host), port),
                None => (None, text),
            };
            let number = || leading_number(port_text).unwrap_or(0);
            let port = (names.services)(port_text)
                .or_else(|| u16::try_from(number()).ok())
                .filter(|port| *port != 0)
                .ok_or_else(|| PenError::PortOutOfRange(number()))?;
            let (host, family) = listen_host(host, names)?;
            Bind::Tcp { host, port, family }
        };
        Ok(Self { text: text.to_owned(), bind })
    }

    /// Reads `addr[:port]`, what direct server return has in its place: any text will do, until
    /// [`Self::segment`] says what it means.
    pub fn parse_whole(text: &str, names: Names<'_>) -> Self {
        let unspecified = Bind::Tcp { host: None, port: 0, family: Family::V4 };
        let bind = match Self::parse(text, names) {
            Ok(Self { bind, .. }) if text.contains(':') => bind,
            _ => unspecified,
        };
        let bind = match literal(text) {
            Some(address) => {
                Bind::Tcp { host: Some(Host::Address(address)), port: 0, family: Family::V4 }
            }
            None => bind,
        };
        Self { text: text.to_owned(), bind }
    }

    /// What it means for direct server return.
    ///
    /// # Errors
    /// [`PenError::ServiceAddress`] if it is not an address of IPv4.
    pub fn segment(&self, interface: &str, is_udp: bool) -> Result<Segment, PenError> {
        match self.bind {
            Bind::Tcp { host: Some(Host::Address(IpAddr::V4(address))), port, .. }
                if !address.is_unspecified() =>
            {
                let (interface, port) = (interface.to_owned(), Some(port).filter(|it| *it > 0));
                Ok(Segment { interface, address, port, is_udp, by_port: false, pit: Vec::new() })
            }
            _ => Err(PenError::ServiceAddress(self.text.clone())),
        }
    }

    /// The name that must be looked up before [`Self::parse`] can answer.
    pub fn host_to_resolve(text: &str) -> Option<&str> {
        let host = text.rsplit_once(':')?.0;
        (!text.contains('/') && name_needs_look_up(host)).then_some(host)
    }

    /// The port; `None` of a Unix socket.
    pub fn port(&self) -> Option<u16> {
        self.bind.port()
    }
}

fn listen_host(text: Option<&str>, names: Names<'_>) -> Result<(Option<Host>, Family), PenError> {
    let Some(text) = text else { return Ok((None, Family::V4)) };
    let host = host(text, names).ok_or_else(|| PenError::BadListenAddress(text.to_owned()))?;
    Ok(match host {
        Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => (None, Family::V4),
        Host::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => (None, Family::V6),
        Host::Address(IpAddr::V4(_)) => (Some(host), Family::V4),
        Host::Address(IpAddr::V6(_)) => (Some(host), Family::V6),
        Host::Name(_) => (Some(host), Family::Any),
    })
}

/// The parts before and after the last colon; the host without its brackets.
pub fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some((inside.unwrap_or(host), port))
}

/// A host: written as an address, perhaps in brackets, or by name.
fn host(text: &str, names: Names<'_>) -> Option<Host> {
    let look_up = || name_needs_look_up(text).then(|| (names.hosts)(text)).flatten();
    literal(text).map(Host::Address).or_else(look_up)
}

/// The same where only an address will do.
pub(super) fn host_address(text: &str, names: Names<'_>) -> Option<IpAddr> {
    match host(text, names)? {
        Host::Address(address) => Some(address),
        Host::Name(_) => None,
    }
}

/// Whether a host is a name that is kept, where names are not looked up.
pub(super) fn is_kept(text: &str, names: Names<'_>) -> bool {
    matches!(host(text, names), Some(Host::Name(_)))
}

/// Where a server is; `None` if the host has no address.
pub(super) fn server_address(text: &str, names: Names<'_>) -> Option<ServerAddress> {
    if text.contains('/') {
        unix_path(text)?;
        return Some(ServerAddress::Unix(text.to_owned()));
    }
    host(text, names).map(|host| match host {
        Host::Address(address) => ServerAddress::Ip(address),
        Host::Name(name) => ServerAddress::Name(name),
    })
}

/// Whether a host has to be resolved.
pub(super) fn name_needs_look_up(text: &str) -> bool {
    let hopeless = |c: char| c.is_whitespace() || c.is_control() || "[]/:%".contains(c);
    literal(text).is_none() && !text.is_empty() && text.len() <= 255 && !text.contains(hopeless)
}

fn literal(text: &str) -> Option<IpAddr> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address(inside.unwrap_or(text))
}

/// A server as an operand: `host[:port[:soft[:hard[:weight[:prio]]]]]`.
///
/// Reading stops at the first field that is empty or no number; a port that is neither a number
/// nor a service is 0, and such a server is never used.
///
/// # Errors
/// [`PenError::UnknownAddress`].
pub(super) fn parse_server(
    operand: &str,
    default_port: u16,
    names: Names<'_>,
) -> Result<PenServer, PenError> {
    let bracketed = operand.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, fields) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match operand.split_once(':') {
            Some((host, rest)) => (host, Some(rest)),
            None => (operand, None),
        },
    };
    let address = server_address(host, names);
    let address = address.ok_or_else(|| PenError::UnknownAddress(host.to_owned()))?;
    let mut server = PenServer { address, port: default_port, ..PenServer::default() };
    let (port, rest) = match fields.unwrap_or("").split_once(':') {
        Some((port, rest)) => (port, Some(rest)),
        None => (fields.unwrap_or(""), None),
    };
    if !port.is_empty() {
        server.port = (names.services)(port).unwrap_or_else(|| port_number(leading_number(port)));
        let [max, hard, weight, prio] = numbers(rest.unwrap_or(""));
        (server.max, server.hard, server.weight, server.prio) = (max, hard, weight, prio);
    }
    server.settle_port();
    Ok(server)
}

/// A number as a port; zero, which is never used, if it is not a valid port.
pub(super) fn port_number(number: Option<i32>) -> u16 {
    number.and_then(|number| u16::try_from(number).ok()).unwrap_or(0)
}

/// Up to four numbers between colons. Reading stops at one that is missing or followed by junk.
fn numbers(text: &str) -> [i32; 4] {
    let mut numbers = [0; 4];
    for (number, field) in numbers.iter_mut().zip(text.split(':')) {
        let Some(value) = leading_number(field) else { break };
        *number = value;
        if !field.ends_with(|c: char| c.is_ascii_digit()) {
            break;
        }
    }
    numbers
}

/// A path as it fits a socket address.
fn unix_path(text: &str) -> Option<PathBuf> {
    (text.len() <= MAX_UNIX_PATH && !text.contains('\0')).then(|| PathBuf::from(text))
}

/// `sockaddr_un` has 108 bytes on Linux, the last of which ends the path.
const MAX_UNIX_PATH: usize = 107;
