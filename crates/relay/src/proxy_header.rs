//! The header of the PROXY protocol, by which a proxy announces its client to the next one: read
//! and written, in both versions.
//!
//! [`read_header`] looks at the first bytes of a connection. It never needs a byte after the header,
//! nor looks at one, and fails at the first byte that cannot be part of a header. It keeps nothing
//! between calls: the bytes stay where they are (a socket's queue) until the header is complete,
//! and no header is longer than [`HEADER_BYTES_MAX`]. [`write_header`] writes one.
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
            v2::write(origin, details, unique_id, crc32c, output);
        }
    }
}
