//! Version 2: binary, with fields of type, length and value (TLVs) after the addresses.
//!
//! ~~~text
//!   signature (12) | version, command | family, transport | length (2) | addresses | TLVs
//!   TLV: type (1) | length (2) | value
//! ~~~

use super::crc32c::crc32c;
use super::origin::{ClientTls, Details, Header, InvalidHeader, Origin};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
pub(super) const FIRST_BYTE: u8 = b'\r';
/// Everything up to the length.
pub(super) const PREFIX_BYTES: usize = 16;
/// The longest accepted length of what follows the prefix. The protocol allows 65,535; addresses
/// take 216 at most, and what is known to be sent with them (ids, names, a client's certificate)
/// has ample room in the rest.
pub(super) const LENGTH_MAX: usize = 4096;
pub(super) const UNIQUE_ID_BYTES_MAX: usize = 128;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;
const FAMILY_V4: u8 = 0x10;
const FAMILY_V6: u8 = 0x20;
const FAMILY_UNIX: u8 = 0x30;
const V4_BYTES: usize = 2 * (4 + 2);
const V6_BYTES: usize = 2 * (16 + 2);
const UNIX_BYTES: usize = 2 * 108;

const TYPE_ALPN: u8 = 0x01;
const TYPE_AUTHORITY: u8 = 0x02;
const TYPE_CRC32C: u8 = 0x03;
const TYPE_UNIQUE_ID: u8 = 0x05;
const TYPE_SSL: u8 = 0x20;
/// Inside of `TYPE_SSL`.
const SUBTYPE_VERSION: u8 = 0x21;
const SUBTYPE_CN: u8 = 0x22;
const SUBTYPE_CIPHER: u8 = 0x23;
/// The client's TLS ends here; it has shown a certificate now; it has in its TLS session.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT_CONN: u8 = 2;
const CLIENT_CERT_SESS: u8 = 4;
/// The longest name or protocol that is sent.
const TEXT_BYTES_MAX: usize = 255;
const CRC32C_BYTES: usize = 4;

/// What a header is the beginning of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carrier {
    Stream,
    Datagram,
}

pub(super) fn read(bytes: &[u8]) -> Result<Option<Header<'_>>, InvalidHeader> {
    if !bytes.iter().zip(SIGNATURE).all(|(byte, expected)| byte == expected) {
        return Err(InvalidHeader);
    }
    let [command, family] = [12, 13].map(|place| bytes.get(place).copied());
    if command.is_some_and(|it| it & 0xf0 != VERSION || it & 0x0f > PROXY)
        || family.is_some_and(|it| it & 0xf0 > FAMILY_UNIX || it & 0x0f > 2)
    {
        return Err(InvalidHeader);
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *prefix;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LENGTH_MAX {
        return Err(InvalidHeader);
    }
    let Some(block) = rest.get(..length) else { return Ok(None) };
    let (origin, tlvs) = match command & 0x0f {
        LOCAL => (Origin::Peer, &[][..]), // whatever it has is to be passed over
        _ => addresses(family, block).ok_or(InvalidHeader)?,
    };
    let header = &bytes[..PREFIX_BYTES + length];
    let unique_id = read_tlvs(header, tlvs)?;
    Ok(Some(Header { bytes: header.len(), origin, unique_id }))
}

/// The addresses at the beginning of a block, and what follows them. A family or a transport that
/// is not specified says nothing, and its block is passed over.
fn addresses(family: u8, block: &[u8]) -> Option<(Origin, &[u8])> {
    if family & 0x0f == 0 {
        return Some((Origin::Peer, &[]));
    }
    let (origin, size) = match family & 0xf0 {
        FAMILY_V4 => {
            let (from, to) = block.first_chunk::<8>()?.split_at(4);
            (client::<4, Ipv4Addr>(from, to, block.get(8..V4_BYTES)?)?, V4_BYTES)
        }
        FAMILY_V6 => {
            let (from, to) = block.first_chunk::<32>()?.split_at(16);
            (client::<16, Ipv6Addr>(from, to, block.get(32..V6_BYTES)?)?, V6_BYTES)
        }
        FAMILY_UNIX => (Origin::UnixClient, UNIX_BYTES),
        _ => return Some((Origin::Peer, &[])),
    };
    Some((origin, block.get(size..)?))
}

fn client<const N: usize, A>(from: &[u8], to: &[u8], ports: &[u8]) -> Option<Origin>
where
    A: From<[u8; N]> + Into<IpAddr>,
{
    let address = |bytes: &[u8]| <[u8; N]>::try_from(bytes).ok().map(|it| A::from(it).into());
    let &[from_high, from_low, to_high, to_low] = ports else { return None };
    let client = SocketAddr::new(address(from)?, u16::from_be_bytes([from_high, from_low]));
    let destination = SocketAddr::new(address(to)?, u16::from_be_bytes([to_high, to_low]));
    Some(Origin::Client { client, destination })
}

/// Checks the TLVs, which are the end of `header`, and returns the unique id.
fn read_tlvs<'a>(header: &[u8], tlvs: &'a [u8]) -> Result<Option<&'a [u8]>, InvalidHeader> {
    let mut unique_id = None;
    let mut rest = tlvs;
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, next) = after.split_at_checked(length).ok_or(InvalidHeader)?;
        match kind {
            TYPE_CRC32C => {
                let sent = <[u8; CRC32C_BYTES]>::try_from(value);
                let sent = sent.map_err(|_| InvalidHeader)?;
                let before = &header[..header.len() - next.len() - CRC32C_BYTES];
                if u32::from_be_bytes(sent) != crc32c([before, &[0; CRC32C_BYTES], next]) {
                    return Err(InvalidHeader);
                }
            }
            TYPE_UNIQUE_ID if length > UNIQUE_ID_BYTES_MAX => return Err(InvalidHeader),
            TYPE_UNIQUE_ID => unique_id = Some(value),
            _ => {}
        }
        rest = next;
    }
    if rest.is_empty() { Ok(unique_id) } else { Err(InvalidHeader) }
}

pub(super) fn write(
    origin: Origin,
    details: &Details<'_>,
    carrier: Carrier,
    [has_unique_id, has_crc32c]: [bool; 2],
    output: &mut Vec<u8>,
) {
    let transport = match carrier {
        Carrier::Stream => STREAM,
        Carrier::Datagram => DATAGRAM,
    };
    let start = output.len();
    let (command, family) = match origin {
        Origin::Client { client, .. } if client.is_ipv4() => (PROXY, FAMILY_V4 | transport),
        Origin::Client { .. } => (PROXY, FAMILY_V6 | transport),
        Origin::Peer | Origin::UnixClient => (LOCAL, 0),
    };
    output.extend_from_slice(SIGNATURE);
    output.extend_from_slice(&[VERSION | command, family, 0, 0]);
    if let Origin::Client { client, destination } = origin {
        for address in [client, destination] {
            match address.ip() {
                IpAddr::V4(address) => output.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => output.extend_from_slice(&address.octets()),
            }
        }
        for address in [client, destination] {
            output.extend_from_slice(&address.port().to_be_bytes());
        }
    }
    let Details { unique_id: id, server_name, tls } = *details;
    if let Some(protocol) = tls.and_then(|tls| tls.protocol) {
        write_tlv(TYPE_ALPN, &protocol[..protocol.len().min(TEXT_BYTES_MAX)], output);
    }
    if let Some(name) = server_name {
        write_text(TYPE_AUTHORITY, name, output);
    }
    if has_unique_id {
        write_tlv(TYPE_UNIQUE_ID, &id[..id.len().min(UNIQUE_ID_BYTES_MAX)], output);
    }
    if let Some(tls) = tls {
        write_tls(tls, output);
    }
    if has_crc32c {
        write_tlv(TYPE_CRC32C, &[0; CRC32C_BYTES], output);
    }
    let header = &mut output[start..];
    let length = (header.len() - PREFIX_BYTES) as u16; // below 1500: see `TEXT_BYTES_MAX`
    header[PREFIX_BYTES - 2..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    if has_crc32c {
        let sum = crc32c([&*header]).to_be_bytes();
        let place = header.len() - CRC32C_BYTES;
        header[place..].copy_from_slice(&sum);
    }
}

fn write_tls(tls: ClientTls<'_>, output: &mut Vec<u8>) {
    let shown = tls.certificate.map(|it| match it.is_resumed {
        false => CLIENT_CERT_CONN | CLIENT_CERT_SESS,
        true => CLIENT_CERT_SESS,
    });
    let mut value = vec![CLIENT_SSL | shown.unwrap_or_default()];
    // Zero if a certificate was shown and verified; one that cannot be verified ends the handshake.
    value.extend(u32::from(shown.is_none()).to_be_bytes());
    write_text(SUBTYPE_VERSION, &format!("TLSv{}", tls.version), &mut value);
    if let Some(name) = tls.certificate.and_then(|it| it.name) {
        write_text(SUBTYPE_CN, name, &mut value);
    }
    write_text(SUBTYPE_CIPHER, tls.cipher, &mut value);
    write_tlv(TYPE_SSL, &value, output);
}

/// Writes a text, of which as many whole characters are sent as there is room for.
fn write_text(kind: u8, text: &str, output: &mut Vec<u8>) {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    write_tlv(kind, &text.as_bytes()[..end], output);
}

fn write_tlv(kind: u8, value: &[u8], output: &mut Vec<u8>) {
    output.push(kind);
    output.extend_from_slice(&(value.len() as u16).to_be_bytes());
    output.extend_from_slice(value);
}
