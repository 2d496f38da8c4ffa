//! The header of the PROXY protocol, by which a proxy announces its client to the next one: read
//! and written, in both versions.
//!
//! [`read_header`] looks at the first bytes of a connection. It never needs a byte after the header,
//! nor looks at one, and fails at the first byte that cannot be part of a header. It keeps nothing
//! between calls: the bytes stay where they are (a socket's queue) until the header is complete,
//! and no header is longer than [`HEADER_BYTES_MAX`]. [`write_header`] writes one.
//!
//! A datagram begins with a whole header, each of a flow's with the same one: [`read_datagram_header`]
//! and [`datagram_header`]. Only version 2 is for datagrams.
//!
//! Source: HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2.

mod crc32c;
mod origin;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub use origin::{ClientCertificate, ClientTls, Details, Header, InvalidHeader, Origin};
use terms::SendProxy;
use v2::Carrier;

/// The length of the longest header that is accepted: one of version 2 with `v2::LENGTH_MAX`.
pub const HEADER_BYTES_MAX: usize = v2::PREFIX_BYTES + v2::LENGTH_MAX;

/// The length of the longest unique id (`PP2_TYPE_UNIQUE_ID`).
pub const UNIQUE_ID_BYTES_MAX: usize = v2::UNIQUE_ID_BYTES_MAX;

/// Reads the header at the beginning of `bytes`; `None` if more bytes are needed to see all of it.
///
/// # Errors
/// If no bytes that follow can make a header of this.
pub fn read_header(bytes: &[u8]) -> Result<Option<Header<'_>>, InvalidHeader> {
    match bytes.first() {
        None => Ok(None),
        Some(&v2::FIRST_BYTE) => v2::read(bytes),
        Some(_) => v1::read(bytes),
    }
}

/// Appends a header that announces `origin`. Only version 2 has details.
pub fn write_header(
    format: SendProxy,
    origin: Origin,
    details: &Details<'_>,
    output: &mut Vec<u8>,
) {
    match format {
        SendProxy::V1 => v1::write(origin, output),
        SendProxy::V2 { unique_id, crc32c } => {
            v2::write(origin, details, Carrier::Stream, [unique_id, crc32c], output);
        }
    }
}

/// Reads the header that a datagram begins with. The transport that the header names may be either
/// one: what matters is who the client is.
///
/// # Errors
/// If the datagram does not begin with a whole header of version 2.
pub fn read_datagram_header(bytes: &[u8]) -> Result<Header<'_>, InvalidHeader> {
    match bytes.first() {
        Some(&v2::FIRST_BYTE) => v2::read(bytes)?.ok_or(InvalidHeader),
        _ => Err(InvalidHeader),
    }
}

/// The header that announces `origin` to the receiver of a datagram; `None` in version 1, which has
/// none for datagrams.
#[must_use]
pub fn datagram_header(format: SendProxy, origin: Origin, unique_id: &[u8]) -> Option<Vec<u8>> {
    let SendProxy::V2 { unique_id: has_id, crc32c } = format else { return None };
    let mut header = Vec::new();
    let details = Details { unique_id, ..Details::default() };
    v2::write(origin, &details, Carrier::Datagram, [has_id, crc32c], &mut header);
    Some(header)
}
