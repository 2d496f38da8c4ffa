//! The PROXY protocol's versions.

/// How a client is announced to a backend: the version of the PROXY protocol's header, and what it
/// carries besides the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendProxy {
    /// Version 1: a line of text.
    V1,
    /// Version 2: binary.
    V2 {
        /// Whether it carries an id of the connection (`PP2_TYPE_UNIQUE_ID`).
        unique_id: bool,
        /// Whether it carries a checksum (`PP2_TYPE_CRC32C`).
        crc32c: bool,
    },
}
