//! What a ClientHello says.
//!
//! ~~~text
//!   version (2) | random (32) | session id <1> | cipher suites <2> | compression <1> | extensions <2>
//!   extension:  type (2) | data <2>               <n>: as many bytes as the n bytes before them say
//! ~~~

use std::net::IpAddr;

/// What a client says before anything is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'b> {
    /// The name of the server that the client asks for, if it is a host name: at most 253 letters,
    /// digits, hyphens, underscores and dots, and no address. As the client wrote it.
    pub server_name: Option<&'b str>,
    /// The names of the protocols that the client offers, as in the extension, each after its
    /// length.
    protocols: &'b [u8],
    /// Whether the hello is the outer one of an Encrypted Client Hello, or pretends to be: the
    /// name may not be the one that the client means.
    pub is_outer: bool,
}

const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const HOST_NAME: u8 = 0;
const HOST_NAME_BYTES_MAX: usize = 253;
const BEFORE_SESSION_ID: usize = 2 + 32;

impl<'b> ClientHello<'b> {
    /// The protocols that the client offers (ALPN), in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let mut rest = self.protocols;
        std::iter::from_fn(move || prefixed::<1>(&mut rest))
    }
}

/// Reads a hello; `None` if it is not well formed.
pub(super) fn read(hello: &[u8]) -> Option<ClientHello<'_>> {
    let mut rest = hello.get(BEFORE_SESSION_ID..)?;
    prefixed::<1>(&mut rest)?;
    prefixed::<2>(&mut rest)?;
    prefixed::<1>(&mut rest)?;
    // Before TLS 1.3, there need not be any extensions.
    let mut extensions = if rest.is_empty() { rest } else { only::<2>(rest)? };
    let (mut server_names, mut protocols, mut encrypted) = (None, None, None);
    while let Some((kind, after)) = extensions.split_first_chunk() {
        extensions = after;
        let data = prefixed::<2>(&mut extensions)?;
        let place = match u16::from_be_bytes(*kind) {
            SERVER_NAME => &mut server_names,
            PROTOCOLS => &mut protocols,
            ENCRYPTED_CLIENT_HELLO => &mut encrypted,
            _ => continue,
        };
        // If there were two, a server might look at the other one.
        if place.replace(data).is_some() {
            return None;
        }
    }
    Some(ClientHello {
        server_name: server_names.map_or(Some(None), server_name)?.filter(|it| is_host_name(it)),
        protocols: protocols.map_or(Some(&[][..]), protocol_list)?,
        is_outer: encrypted.is_some(),
    })
    .filter(|_| extensions.is_empty())
}

/// The host name in a list of names of several kinds; `None` if the list is not well formed.
fn server_name(data: &[u8]) -> Option<Option<&str>> {
    let mut list = only::<2>(data)?;
    let mut name = None;
    while let Some((kind, after)) = list.split_first() {
        list = after;
        let text = prefixed::<2>(&mut list)?;
        if *kind == HOST_NAME && name.replace(text).is_some() {
            return None;
        }
    }
    Some(name.and_then(|name| str::from_utf8(name).ok()))
}

/// The names in a list, each with its length, if there is at least one, and none is empty.
fn protocol_list(data: &[u8]) -> Option<&[u8]> {
    let list = only::<2>(data).filter(|list| !list.is_empty())?;
    let mut rest = list;
    while !rest.is_empty() {
        prefixed::<1>(&mut rest).filter(|name| !name.is_empty())?;
    }
    Some(list)
}

fn is_host_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=HOST_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_allowed)
        && name.parse::<IpAddr>().is_err()
}

/// Takes as many bytes off `rest` as the `N` bytes at its beginning say.
fn prefixed<'b, const N: usize>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, after) = rest.split_first_chunk::<N>()?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (taken, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// As [`prefixed`], if nothing is left.
fn only<const N: usize>(mut bytes: &[u8]) -> Option<&[u8]> {
    prefixed::<N>(&mut bytes).filter(|_| bytes.is_empty())
}
