//! The ClientHello, by which a TLS client begins: which server it asks for, and which protocols it
//! speaks.
//!
//! [`read_client_hello`] looks at the first bytes of a connection, in however many records the hello
//! comes. It keeps nothing between calls: the bytes stay where they are (a socket's queue) until the
//! hello is complete, and are then passed on as they came. If some are missing, it returns how many
//! must have come before another look is worth it. A hello cut into many small pieces is thus looked
//! at a few dozen times at most.
//!
//! Anything that is not a well-formed hello is [`Opening::Other`], and as soon as that is certain:
//! nobody waits for more of it. With Encrypted Client Hello, the name is the outer one, which is
//! all that anybody but its server can see.
//!
//! Source: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3; RFC 7301, section 3.1.

mod body;
mod records;
#[cfg(test)]
mod tests;

pub use body::ClientHello;

/// The length of the longest hello that is read, with the headers of its records. Clients send
/// about 300 bytes, 1800 with a post-quantum key share.
pub const CLIENT_HELLO_BYTES_MAX: usize = 1 << 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'b> {
    /// The beginning of a ClientHello, of which more is needed: at least so many bytes in all, more
    /// than there are, and at most [`CLIENT_HELLO_BYTES_MAX`].
    Incomplete(usize),
    /// A ClientHello.
    Hello(ClientHello<'b>),
    /// Something else, whatever may follow.
    Other,
}

/// Reads the ClientHello at the beginning of `bytes`. If it comes in several records, its parts are
/// moved together in `bytes`, which is then no longer what was received.
pub fn read_client_hello(bytes: &mut [u8]) -> Opening<'_> {
    match records::join(bytes) {
        records::Joined::Incomplete(needed) => Opening::Incomplete(needed),
        records::Joined::Other => Opening::Other,
        records::Joined::Whole(hello) => body::read(hello).map_or(Opening::Other, Opening::Hello),
    }
}
