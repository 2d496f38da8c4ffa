//! The grammar of addresses, which every door shares: listeners, backends and ends of tiers.
//!
//! ~~~text
//! LISTEN   = PORT | PORT/tcp | PORT/udp | PORT/tcp+udp | udp://PORT | unix:/path
//! PORT     = port | *:port | host:port | [v6]:port
//! BACKEND  = host[:FIELDS] | [v6][:FIELDS] | unix:/path[:NUMBERS]
//!          | dns:name[:FIELDS] | srv:name[:NUMBERS]
//! NUMBERS  = max[:max_affine:weight:priority]
//! FIELDS   = [port][:[max][:[max_affine][:[weight][:[priority]]]]]
//! ENDPOINT = host:port | [v6]:port | unix:/path
//! TIERS    = BACKEND... { ! | % } BACKEND... [ ! | % ]
//! ~~~
//!
//! A port is a number or a service name. A backend without a port takes the listening port; `max` is
//! the maximum number of open sessions, zero for no limit; `max_affine` is the maximum for clients
//! that are remembered with the backend; `weight` (by default 1) and `priority` are for the policies of
//! these names. The last `:NUMBER` of a Unix backend is its `max`, and four numbers are all its fields. A
//! path that really ends in a number is therefore written with a `max` (`unix:/run/db:5432:0`).
//! `dns:` and `srv:` stand for one backend per address of a name; a number after them, as in `dns:53`,
//! is the port of a host that is called so.
//! `a::2` is host `a` with `max` 2, although it could also be an IPv6 address: those need brackets.
//! Looser forms that only balance(1) knows (`127.1`, `80x`) are in `classics::balance`; of these,
//! only [`parse_classic_ipv4`] is here.
//!
//! A function of the caller looks up service names, so that this module stays pure.

use crate::{Backend, Bind, Discovery, Endpoint, Family, Host, Limits, Protocol};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use terms::Limit;

#[cfg(test)]
mod tests;

/// Finds the port of a TCP service by name, as `/etc/services` lists them.
pub type Services<'a> = &'a dyn Fn(&str) -> Option<u16>;

/// The kind of operand an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A listening address.
    Listen,
    /// A backend on the command line.
    Backend,
    /// A backend's address in a command.
    Endpoint,
}

/// Why an operand was not understood: where, what is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{role} '{operand}': {problem}")]
pub struct OperandError {
    /// What the operand was taken for.
    pub role: Role,
    /// The operand as typed.
    pub operand: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an operand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The operand is empty.
    #[error("is empty; write a port such as 8080, or host:port")]
    Empty,
    /// No port where one is needed.
    #[error("has no port; add one, as in {0}:80")]
    NoPort(String),
    /// Not a port.
    #[error("'{0}' is neither a port (1 to 65535) nor a service known to this machine")]
    Port(String),
    /// Not a limit.
    #[error("'{0}' is not a number of sessions; write host:port:max, as in db1:5432:100")]
    Max(String),
    /// Not a weight or a priority.
    #[error("'{0}' is not a number; write host:port:max:max_affine:weight:priority")]
    Number(String),
    /// More fields than the grammar has there, which are these.
    #[error("has more fields than {0}; write IPv6 addresses in brackets, as in [::1]:80")]
    TooManyParts(&'static str),
    /// No host before the colon.
    #[error("has no host before ':'; write IPv6 addresses in brackets, as in [::1]:80")]
    NoHost,
    /// An opening bracket without its partner.
    #[error("has no ']' at the end of the IPv6 address")]
    Bracket,
    /// Something other than a port after the bracket.
    #[error("has '{0}' after ']'; only ':port' may follow")]
    AfterBracket(String),
    /// No IPv6 address between the brackets.
    #[error("'{0}' is not an IPv6 address")]
    Ipv6(String),
    /// Four numbers that are not an address.
    #[error("'{0}' is not an IPv4 address; these are four numbers from 0 to 255")]
    Ipv4(String),
    /// An address after `dns:` or `srv:`.
    #[error("'{0}' is an address already; write it without `dns:` or `srv:`")]
    NotAName(String),
    /// Not a host name.
    #[error("'{0}' is not a host name; names consist of letters, digits, '-', '_' and '.'")]
    Name(String),
    /// A path that does not start at the root.
    #[error("needs the full path of the socket, as in unix:/run/app.sock")]
    RelativePath,
    /// A path that does not fit a socket address.
    #[error("the path is longer than {MAX_UNIX_PATH} bytes, the maximum for a Unix socket")]
    LongPath,
    /// A Unix socket, or a protocol named twice, for UDP.
    #[error("is not an address for UDP; write a port such as 53/udp, or host:port/udp")]
    NotUdp,
    /// A name for several backends where there can be only one.
    #[error("stands for several backends; those are only possible in a pool's list of backends")]
    Discovered,
    /// A star as a backend.
    #[error("'*' means every address of this machine and can only be a listening address")]
    Star,
}

/// A separator: it ends a tier and selects the tier's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// `!`: the policy of the option, round robin by default.
    Turn,
    /// `%`: a hash of the client's address.
    Hash,
}

/// The operands of one tier, and the separator that ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierWords<'a> {
    /// The operands; empty between two adjacent separators.
    pub operands: Vec<&'a str>,
    /// `None` for a last tier without a separator.
    pub end: Option<Separator>,
}

/// Cuts a list of words at the separators. A trailing separator opens no tier.
pub fn split_tiers<S: AsRef<str>>(words: &[S]) -> Vec<TierWords<'_>> {
    let mut tiers = Vec::new();
    let mut operands = Vec::new();
    for word in words {
        let end = match word.as_ref() {
            "!" => Separator::Turn,
            "%" => Separator::Hash,
            operand => {
                operands.push(operand);
                continue;
            }
        };
        tiers.push(TierWords { operands: std::mem::take(&mut operands), end: Some(end) });
    }
    if !operands.is_empty() {
        tiers.push(TierWords { operands, end: None });
    }
    tiers
}

/// Reads a listening address.
///
/// # Errors
/// Says what is wrong with the operand and how to mend it.
pub fn parse_listen(operand: &str, services: Services<'_>) -> Result<Bind, OperandError> {
    listen(operand, services).map_err(|problem| failed(Role::Listen, operand, problem))
}

/// Reads a backend; one without a port takes `default_port`.
///
/// # Errors
/// Says what is wrong with the operand and how to mend it. A missing port is an error if the
/// listener has none either, because it is a Unix socket.
pub fn parse_backend(
    operand: &str,
    default_port: Option<u16>,
    services: Services<'_>,
) -> Result<Backend, OperandError> {
    backend(operand, default_port, services)
        .map_err(|problem| failed(Role::Backend, operand, problem))
}

/// Reads a reject backend, which is a single one.
///
/// # Errors
/// As for [`parse_backend`].
pub fn parse_reject(
    operand: &str,
    default_port: Option<u16>,
    services: Services<'_>,
) -> Result<Backend, OperandError> {
    let backend = parse_backend(operand, default_port, services)?;
    match backend.endpoint {
        Endpoint::Discovered(_) => Err(failed(Role::Backend, operand, Problem::Discovered)),
        _ => Ok(backend),
    }
}

/// Reads a backend's address in a command: with a port, without limits.
///
/// # Errors
/// Says what is wrong with the operand and how to mend it.
pub fn parse_endpoint(operand: &str, services: Services<'_>) -> Result<Endpoint, OperandError> {
    match destination(operand, None, services) {
        Ok(Endpoint::Discovered(_)) => Err(Problem::Discovered),
        read => read,
    }
    .map_err(|problem| failed(Role::Endpoint, operand, problem))
}

/// Reads a backend's address as [`parse_endpoint`] does; one without a port takes `default_port`.
///
/// # Errors
/// Says what is wrong with the operand and how to mend it.
pub fn parse_destination(
    operand: &str,
    default_port: Option<u16>,
    services: Services<'_>,
) -> Result<Endpoint, OperandError> {
    destination(operand, default_port, services)
        .map_err(|problem| failed(Role::Endpoint, operand, problem))
}

/// Reads an IPv4 address in any form that the classic `inet_aton` takes: one to four decimal, octal
/// or hexadecimal numbers, of which the last fills the remaining bytes (`127.1`, `0x7f000002`).
pub fn parse_classic_ipv4(text: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = text.split('.').map(classic_number).collect::<Option<_>>()?;
    let (last, leading) = numbers.split_last()?;
    if leading.len() > 3 || leading.iter().any(|number| *number > 255) {
        return None;
    }
    let room = 32 - 8 * leading.len();
    if room < 32 && *last >> room != 0 {
        return None;
    }
    let place = |bits, (index, number): (usize, &u32)| bits | number << (24 - 8 * index);
    Some(Ipv4Addr::from_bits(leading.iter().enumerate().fold(*last, place)))
}

fn failed(role: Role, operand: &str, problem: Problem) -> OperandError {
    OperandError { role, operand: operand.to_owned(), problem }
}

/// The operands that a listening address stands for: one for each of its protocols, or the one
/// given for an address that names none.
pub fn each_protocol(operand: &str, default: Option<Protocol>) -> Vec<String> {
    if operand.starts_with(UNIX) || operand.contains("://") {
        return vec![operand.to_owned()];
    }
    let (address, protocol) = match operand.rsplit_once('/') {
        Some((address, "tcp")) => (address, Protocol::Tcp),
        Some((address, "udp")) => (address, Protocol::Udp),
        Some((address, "tcp+udp")) => (address, Protocol::Both),
        Some(_) => return vec![operand.to_owned()],
        None => (operand, default.unwrap_or(Protocol::Tcp)),
    };
    match protocol {
        Protocol::Tcp => vec![address.to_owned()],
        Protocol::Udp => vec![format!("{address}{UDP}")],
        Protocol::Both => vec![address.to_owned(), format!("{address}{UDP}")],
    }
}

fn listen(operand: &str, services: Services<'_>) -> Result<Bind, Problem> {
    let is_udp = |address| match listen(address, services)? {
        Bind::Tcp { host, port, family } => Ok(Bind::Udp { host, port, family }),
        Bind::Unix(_) | Bind::Udp { .. } => Err(Problem::NotUdp),
    };
    match operand.strip_prefix("udp://").or_else(|| operand.strip_suffix(UDP)) {
        Some(address) if !operand.starts_with(UNIX) => return is_udp(address),
        _ => {}
    }
    let operand = match operand.strip_prefix("tcp://").or_else(|| operand.strip_suffix("/tcp")) {
        Some(address) if !operand.starts_with(UNIX) => address,
        _ => operand,
    };
    if operand.is_empty() {
        return Err(Problem::Empty);
    }
    if let Some(path) = operand.strip_prefix(UNIX) {
        return unix_path(path).map(Bind::Unix);
    }
    if !operand.contains([':', '[']) {
        // A word without a colon is a port, unless it can only be a host.
        return match port(operand, services) {
            Ok(port) => Ok(Bind::Tcp { host: None, port, family: Family::Any }),
            Err(_) if operand.contains('.') => Err(Problem::NoPort(operand.to_owned())),
            Err(problem) => Err(problem),
        };
    }
    if let Some(text) = operand.strip_prefix("*:") {
        return Ok(Bind::Tcp { host: None, port: port(text, services)?, family: Family::Any });
    }
    let parts = split_host(operand, ADDRESS)?;
    if parts.max.is_some() {
        return Err(Problem::TooManyParts(ADDRESS));
    }
    let port = port_or(parts.port, None, operand, services)?;
    // The unspecified addresses mean the same as no host.
    let (host, family) = match parts.host {
        Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => (None, Family::V4),
        Host::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => (None, Family::V6),
        Host::Address(address @ IpAddr::V4(_)) => (Some(Host::Address(address)), Family::V4),
        Host::Address(address @ IpAddr::V6(_)) => (Some(Host::Address(address)), Family::V6),
        name @ Host::Name(_) => (Some(name), Family::Any),
    };
    Ok(Bind::Tcp { host, port, family })
}

fn backend(
    operand: &str,
    default_port: Option<u16>,
    services: Services<'_>,
) -> Result<Backend, Problem> {
    if let Some(text) = operand.strip_prefix(UNIX) {
        let (path, fields) = cut_unix_fields(text);
        return with_fields(Endpoint::Unix(unix_path(path)?), fields);
    }
    if let Some((discovery, fields)) = discovered(operand, default_port, services)? {
        return with_fields(Endpoint::Discovered(discovery), fields);
    }
    let parts = split_host(operand, FIELDS)?;
    let port = port_or(parts.port, default_port, operand, services)?;
    with_fields(Endpoint::Tcp { host: parts.host, port }, parts.max.unwrap_or(""))
}

/// A backend with the numbers of `max:max_affine:weight:priority`. Missing and empty ones have their
/// default.
fn with_fields(endpoint: Endpoint, fields: &str) -> Result<Backend, Problem> {
    let mut fields = fields.split(':');
    let mut defaults = DEFAULTS.iter();
    let mut next = || {
        let default = defaults.next().map(ToString::to_string).unwrap_or_default();
        fields.next().filter(|field| !field.is_empty()).map_or(default, str::to_owned)
    };
    let sessions_max = Limit::from_number(limit(&next())?);
    let affine = next();
    let sessions_max_affine =
        u32::try_from(limit(&affine)?).map_err(|_| Problem::Max(affine.clone()))?;
    let limits = Limits { sessions_max, sessions_max_affine };
    let (weight, priority) = (next(), next());
    let number = |text: &str| Problem::Number(text.to_owned());
    let weight = weight.parse().map_err(|_| number(&weight))?;
    let priority = if is_limit(&priority) { priority.parse().ok() } else { None }
        .ok_or_else(|| number(&priority))?;
    match fields.next() {
        Some(_) => Err(Problem::TooManyParts(FIELDS)),
        None => Ok(Backend { weight, priority, ..Backend::new(endpoint, limits) }),
    }
}

/// A path and the numbers after it: all four, or one.
fn cut_unix_fields(text: &str) -> (&str, &str) {
    let numbers = text.rsplit(':').take_while(|part| is_limit(part)).count();
    // The first part is the path, whatever it looks like.
    let numbers = numbers.min(text.matches(':').count());
    let wanted = if numbers >= NUMBERS { NUMBERS } else { numbers.min(1) };
    match text.rmatch_indices(':').take(wanted).last() {
        Some((at, _)) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

fn destination(
    operand: &str,
    default_port: Option<u16>,
    services: Services<'_>,
) -> Result<Endpoint, Problem> {
    if let Some(path) = operand.strip_prefix(UNIX) {
        return unix_path(path).map(Endpoint::Unix);
    }
    match discovered(operand, default_port, services)? {
        Some((discovery, "")) => return Ok(Endpoint::Discovered(discovery)),
        Some((Discovery::Dns { .. }, _)) => return Err(Problem::TooManyParts("dns:name:port")),
        Some((Discovery::Srv { .. }, _)) => return Err(Problem::TooManyParts("srv:name")),
        None => {}
    }
    let parts = split_host(operand, ADDRESS)?;
    if parts.max.is_some() {
        return Err(Problem::TooManyParts(ADDRESS));
    }
    let port = port_or(parts.port, default_port, operand, services)?;
    Ok(Endpoint::Tcp { host: parts.host, port })
}

/// A name that stands for several backends, and the numbers after it.
fn discovered<'a>(
    operand: &'a str,
    default_port: Option<u16>,
    services: Services<'_>,
) -> Result<Option<(Discovery, &'a str)>, Problem> {
    let (is_srv, text) = match (operand.strip_prefix(DNS), operand.strip_prefix(SRV)) {
        (Some(text), _) => (false, text),
        (None, Some(text)) => (true, text),
        (None, None) => return Ok(None),
    };
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    if is_limit(name) || name.is_empty() && !rest.is_empty() {
        return Ok(None); // a host that is called so
    }
    let name = match plain_host(name)? {
        Host::Name(name) => name,
        Host::Address(_) => return Err(Problem::NotAName(name.to_owned())),
    };
    if is_srv {
        return Ok(Some((Discovery::Srv { name }, rest)));
    }
    let (port, fields) = rest.split_once(':').unwrap_or((rest, ""));
    let port = port_or(Some(port), default_port, operand, services)?;
    Ok(Some((Discovery::Dns { name, port }, fields)))
}

/// Splits `host:port:max...` into its fields. Missing and empty fields differ.
struct Parts<'a> {
    host: Host,
    port: Option<&'a str>,
    max: Option<&'a str>,
}

/// `fields` are those that the operand can have, for the error.
fn split_host<'a>(operand: &'a str, fields: &'static str) -> Result<Parts<'a>, Problem> {
    if operand.is_empty() {
        return Err(Problem::Empty);
    }
    let (host, rest) = match operand.strip_prefix('[') {
        Some(inside) => {
            let (address, rest) = inside.split_once(']').ok_or(Problem::Bracket)?;
            let rest = match rest.strip_prefix(':') {
                Some(rest) => Some(rest),
                None if rest.is_empty() => None,
                None => return Err(Problem::AfterBracket(rest.to_owned())),
            };
            (bracketed(address)?, rest)
        }
        None => match operand.split_once(':') {
            Some((host, rest)) => {
                if host.is_empty() {
                    return Err(Problem::NoHost);
                }
                // More colons than `host:port:max` are an IPv6 address if they can be one, whatever
                // the first part looks like.
                let colons = rest.matches(':').count();
                if colons > NUMBERS || colons > 1 && operand.parse::<Ipv6Addr>().is_ok() {
                    return Err(Problem::TooManyParts(fields));
                }
                (plain_host(host)?, Some(rest))
            }
            None => (plain_host(operand)?, None),
        },
    };
    let Some(rest) = rest else {
        return Ok(Parts { host, port: None, max: None });
    };
    let (port, max) = match rest.split_once(':') {
        Some((port, max)) => (port, Some(max)),
        None => (rest, None),
    };
    Ok(Parts { host, port: Some(port), max })
}

/// A host by itself; an IPv6 address is in brackets.
pub(crate) fn parse_host(text: &str) -> Result<Host, Problem> {
    match text.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or_else(|| Problem::Ipv6(text.to_owned()))?;
            bracketed(inner)
        }
        None => plain_host(text),
    }
}

/// The address between brackets. One with a zone is left to the resolver, as a name.
fn bracketed(text: &str) -> Result<Host, Problem> {
    let not_an_address = || Problem::Ipv6(text.to_owned());
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let parsed: Ipv6Addr = address.parse().map_err(|_| not_an_address())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match zone {
        None => Ok(Host::Address(IpAddr::V6(parsed))),
        Some(zone) if !zone.is_empty() && zone.chars().all(plain) => {
            Ok(Host::Name(text.to_owned()))
        }
        Some(_) => Err(not_an_address()),
    }
}

fn plain_host(text: &str) -> Result<Host, Problem> {
    if text == "*" {
        return Err(Problem::Star);
    }
    // With a port after it, it would read as a socket.
    if text == "unix" {
        return Err(Problem::RelativePath);
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let labels = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if labels.len() > 253 || !labels.split('.').all(is_label) {
        return Err(Problem::Name(text.to_owned()));
    }
    // No top-level domain is a number, so this is a mistyped address.
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Ipv4(text.to_owned()));
    }
    Ok(Host::Name(text.to_owned()))
}

fn port_or(
    text: Option<&str>,
    default: Option<u16>,
    operand: &str,
    services: Services<'_>,
) -> Result<u16, Problem> {
    match text {
        Some(text) if !text.is_empty() => port(text, services),
        _ => default.ok_or_else(|| Problem::NoPort(operand.trim_end_matches(':').to_owned())),
    }
}

fn port(text: &str, services: Services<'_>) -> Result<u16, Problem> {
    let found =
        if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { services(text) };
    found.filter(|port| *port != 0).ok_or_else(|| Problem::Port(text.to_owned()))
}

fn limit(text: &str) -> Result<i32, Problem> {
    let problem = || Problem::Max(text.to_owned());
    if is_limit(text) { text.parse().map_err(|_| problem()) } else { Err(problem()) }
}

/// Whether this is digits, perhaps after a minus sign, even too many for a limit: those are
/// refused.
pub(crate) fn is_limit(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn unix_path(path: &str) -> Result<PathBuf, Problem> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Problem::RelativePath);
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(Problem::LongPath);
    }
    Ok(PathBuf::from(path))
}

fn classic_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if plain { u32::from_str_radix(digits, radix).ok() } else { None }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listen => "listening address",
            Self::Backend => "backend",
            Self::Endpoint => "address",
        })
    }
}

/// The fields of a listening address, and of a backend's address without numbers.
const ADDRESS: &str = "host:port";
/// The fields of a backend.
const FIELDS: &str = "host:port:max:max_affine:weight:priority";
const UNIX: &str = "unix:";
const DNS: &str = "dns:";
const SRV: &str = "srv:";
/// What follows an address for UDP.
pub(crate) const UDP: &str = "/udp";
/// The number of fields that can follow a backend's address.
pub(crate) const NUMBERS: usize = DEFAULTS.len();
/// The defaults of these fields: no limit, no other limit for remembered clients, weight 1,
/// priority 0.
pub(crate) const DEFAULTS: [i64; 4] = [0, 0, 1, 0];
/// `sockaddr_un` has 108 bytes on Linux, the last of which ends the path.
const MAX_UNIX_PATH: usize = 107;
