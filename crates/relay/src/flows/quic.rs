//! Connection ids in QUIC packets, as every version of QUIC has them.
//!
//! Only the first packet of a datagram is looked at, since all of them belong to one connection.
//! Source: RFC 8999, sections 5 and 6; RFC 9000, 12.2.

/// The connection id that a packet to a server is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToServer<'a> {
    /// Its first bytes.
    pub id: &'a [u8],
    /// Whether the packet has a long header: then the connection is only beginning, and the id may be
    /// one that the client has thought of.
    pub is_long: bool,
}

const IS_LONG: u8 = 0x80;
/// First byte and version.
const LONG_PREFIX: usize = 1 + 4;

/// The first `count` bytes of the id that a client's datagram is addressed to; `None` if it has
/// fewer, or cannot be a packet of QUIC. Short headers do not say how long the id is.
#[must_use]
pub fn id_to_server(datagram: &[u8], count: usize) -> Option<ToServer<'_>> {
    let is_long = datagram.first()? & IS_LONG != 0;
    let id = match is_long {
        true => split_id(datagram.get(LONG_PREFIX..)?)?.0,
        false => datagram.get(1..)?,
    };
    Some(ToServer { id: id.get(..count)?, is_long })
}

/// The first `count` bytes of the id that a server gives itself; `None` if it has fewer, or if its
/// datagram has no long header. Version Negotiation does not count: its ids are those that the
/// client has thought of.
#[must_use]
pub fn id_of_server(datagram: &[u8], count: usize) -> Option<&[u8]> {
    let is_long = datagram.first()? & IS_LONG != 0;
    let version = datagram.get(1..LONG_PREFIX)?;
    if !is_long || version == [0; 4] {
        return None;
    }
    let (_, rest) = split_id(datagram.get(LONG_PREFIX..)?)?;
    split_id(rest)?.0.get(..count)
}

/// An id with its length before it, and what follows.
fn split_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(length.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(version: u32, to: &[u8], from: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xc3];
        packet.extend(version.to_be_bytes());
        for id in [to, from] {
            packet.push(id.len() as u8);
            packet.extend(id);
        }
        packet.extend(b"more");
        packet
    }

    #[track_caller]
    fn check_client(datagram: &[u8], count: usize, expected: Option<(&[u8], bool)>) {
        let expected = expected.map(|(id, is_long)| ToServer { id, is_long });
        assert_eq!(id_to_server(datagram, count), expected);
    }

    #[test]
    fn clients_write_to_an_id() {
        let packet = long(1, b"server-id", b"client");
        check_client(&packet, 8, Some((b"server-i", true)));
        check_client(&packet, 9, Some((b"server-id", true)));
        check_client(&packet, 10, None);
        check_client(&long(0x6b33_43cf, b"12345678", b""), 8, Some((b"12345678", true))); // version 2
        check_client(b"\x41server-id", 8, Some((b"server-i", false)));
        check_client(b"\x01server-id", 8, Some((b"server-i", false))); // RFC 9287
        check_client(b"\x41server", 8, None);
        check_client(b"", 8, None);
    }

    #[test]
    fn servers_name_themselves() {
        #[track_caller]
        fn check(datagram: &[u8], expected: Option<&[u8]>) {
            assert_eq!(id_of_server(datagram, 8), expected);
        }
        check(&long(1, b"client", b"server-id"), Some(b"server-i"));
        check(&long(1, b"", b"server-id"), Some(b"server-i"));
        check(&long(1, b"client", b"server"), None);
        check(&long(0, b"client", b"server-id"), None); // Version Negotiation
        check(b"\x41client--server--id", None);
        check(b"", None);
    }

    #[test]
    fn a_packet_that_is_cut_off_names_nobody() {
        let packet = long(1, b"server-id", b"another-id");
        let whole = LONG_PREFIX + 1 + 9 + 1 + 10;
        for end in 0..packet.len() {
            let cut = &packet[..end];
            assert_eq!(id_to_server(cut, 8).is_some(), end >= LONG_PREFIX + 1 + 9, "{end}");
            assert_eq!(id_of_server(cut, 8).is_some(), end >= whole, "{end}");
        }
    }
}
