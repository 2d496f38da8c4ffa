//! Known headers byte by byte, and what is written read again.

use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn client(client: &str, destination: &str) -> Origin {
    let [client, destination] = [client, destination].map(|it| it.parse().unwrap());
    Origin::Client { client, destination }
}

fn v4() -> Origin {
    client("192.0.2.7:56324", "198.51.100.1:443")
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

const V4_BLOCK: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

/// The header is found however much of it has come, and whatever comes after it.
#[track_caller]
fn check(bytes: &[u8], origin: Origin, unique_id: Option<&[u8]>) {
    let header = Header { bytes: bytes.len(), origin, unique_id };
    for end in 0..bytes.len() {
        assert_eq!(read_header(&bytes[..end]), Ok(None), "cut at {end}");
    }
    assert_eq!(read_header(bytes), Ok(Some(header)));
    for after in [&b"GET /"[..], b"\r\n", b"PROXY ", &[0; 200]] {
        assert_eq!(read_header(&[bytes, after].concat()), Ok(Some(header)));
    }
}

/// The bytes are refused, and as soon as so many of them have come.
#[track_caller]
fn check_refused(bytes: &[u8], after: usize) {
    for end in 0..after {
        assert_eq!(read_header(&bytes[..end]), Ok(None), "cut at {end}");
    }
    for end in after..=bytes.len() {
        assert_eq!(read_header(&bytes[..end]), Err(InvalidHeader), "cut at {end}");
    }
}

#[test]
fn lines_of_version_1_are_read() {
    check(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", v4(), None);
    check(
        b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n",
        client("[2001:db8::7]:0", "[::1]:65535"),
        None,
    );
    check(b"PROXY UNKNOWN\r\n", Origin::Peer, None);
    check(b"PROXY UNKNOWN ffff:: whatever 1 2 3\r\n", Origin::Peer, None);
    let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {address} {address} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    check(longest.as_bytes(), Origin::Peer, None);
}

#[test]
fn lines_that_are_not_of_version_1_are_refused() {
    check_refused(b"GET / HTTP/1.1\r\n\r\n", 1);
    check_refused(b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 1);
    check_refused(b"PROPFIND / HTTP/1.1\r\n", 4);
    check_refused(b"PROXY UNKNOWN\n", 14);
    check_refused(b"PROXY UNKNOWN\r\r\n", 15);
    check_refused(b"PROXY UNKNOWN \0\r\n", 15);
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +5 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 05 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 5 443\r\n",
        "PROXY TCP4 ::1 ::1 5 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 5 443\r\n",
        "PROXY TCP6 ::1%lo ::1 5 443\r\n",
        "PROXY unknown\r\n",
    ] {
        check_refused(line.as_bytes(), line.len());
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    check_refused(&endless, 107);
    let just_too_long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
    check_refused(&just_too_long, 107);
}

#[test]
fn headers_of_version_2_are_read() {
    check(&v2(0x21, 0x11, V4_BLOCK), v4(), None);
    check(&v2(0x21, 0x12, V4_BLOCK), v4(), None); // a datagram's, sent on over a stream
    let v6 = [&[0x20; 16][..], &[0; 15], &[1], &[0, 1, 0xff, 0xff]].concat();
    let ones = "[2020:2020:2020:2020:2020:2020:2020:2020]:1";
    check(&v2(0x21, 0x21, &v6), client(ones, "[::1]:65535"), None);
    check(&v2(0x21, 0x31, &[b'/'; 216]), Origin::UnixClient, None);
    // What is not specified, or local, may be followed by anything of the right length.
    check(&v2(0x21, 0x00, b""), Origin::Peer, None);
    check(&v2(0x21, 0x01, b"anything"), Origin::Peer, None);
    check(&v2(0x21, 0x10, b"anything"), Origin::Peer, None);
    check(&v2(0x20, 0x00, b""), Origin::Peer, None);
    check(&v2(0x20, 0x11, V4_BLOCK), Origin::Peer, None);
    check(&v2(0x20, 0x11, b"short"), Origin::Peer, None);
    check(&v2(0x20, 0x00, &[7; 4096]), Origin::Peer, None);
}

#[test]
fn what_is_not_of_version_2_is_refused() {
    check_refused(b"\r\n\r\n\0\r\nQUIET", 11);
    check_refused(b"\r\n\r\n\r\n", 5);
    check_refused(&v2(0x11, 0x11, V4_BLOCK), 13);
    check_refused(&v2(0x22, 0x11, V4_BLOCK), 13);
    check_refused(&v2(0x21, 0x41, V4_BLOCK), 14);
    check_refused(&v2(0x21, 0x13, V4_BLOCK), 14);
    check_refused(&v2(0x20, 0x00, &[7; 4097]), 16);
    check_refused(&v2(0x21, 0x11, &V4_BLOCK[..11]), 16 + 11);
    check_refused(&v2(0x21, 0x21, V4_BLOCK), 16 + 12);
    check_refused(&v2(0x21, 0x31, &[0; 215]), 16 + 215);
}

#[test]
fn fields_after_the_addresses_are_checked() {
    let with = |tlvs: &[u8]| v2(0x21, 0x11, &[V4_BLOCK, tlvs].concat());
    let refused = |tlvs: &[u8]| {
        let bytes = with(tlvs);
        check_refused(&bytes, bytes.len());
    };
    check(&with(&[0x04, 0, 2, 9, 9, 0x05, 0, 3, b'i', b'd', b'7']), v4(), Some(b"id7"));
    check(&with(&[0x05, 0, 0]), v4(), Some(b""));
    check(&with(&[0xea, 0, 1, 1, 0xe0, 0, 0]), v4(), None);
    check(&with(&[&[0x05, 0, 128][..], &[0; 128]].concat()), v4(), Some(&[0; 128]));
    refused(&[&[0x05, 0, 129][..], &[0; 129]].concat());
    refused(&[0x04]);
    refused(&[0x04, 0]);
    refused(&[0x04, 0, 1]);
    refused(&[0x04, 0, 2, 1]);
    refused(&[0x03, 0, 3, 1, 2, 3]);
    refused(&[0x03, 0, 4, 1, 2, 3, 4]);
}

#[test]
fn the_checksum_is_that_of_the_whole_header() {
    let mut bytes = v2(0x21, 0x11, &[V4_BLOCK, &[3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 9]].concat());
    let sum = crc32c::crc32c([bytes.as_slice()]).to_be_bytes();
    bytes[31..35].copy_from_slice(&sum);
    check(&bytes, v4(), None);
    let kind_of_the_field = 28; // with another kind, there is no checksum
    for place in (16..bytes.len()).filter(|&place| place != kind_of_the_field) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x40;
        assert_eq!(read_header(&changed).ok().flatten(), None, "byte {place} changed");
    }
}

#[test]
fn addresses_are_announced_in_the_family_they_share() {
    let of = |client: &str, destination: &str| {
        Origin::client(client.parse().unwrap(), destination.parse().unwrap())
    };
    assert_eq!(of("[::ffff:192.0.2.7]:56324", "[::ffff:198.51.100.1]:443"), v4());
    assert_eq!(of("192.0.2.7:1", "[::1]:2"), client("[::ffff:192.0.2.7]:1", "[::1]:2"));
    assert_eq!(of("[fe80::1%3]:1", "[::1]:2"), client("[fe80::1]:1", "[::1]:2"));
}

fn origin() -> impl Strategy<Value = Origin> {
    let address = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<[u16; 2]>()).prop_map(
        move |(client, destination, [from, to])| Origin::Client {
            client: address(client.into(), from),
            destination: address(destination.into(), to),
        },
    );
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u16; 2]>()).prop_map(
        move |(client, destination, [from, to])| Origin::Client {
            client: address(client.into(), from),
            destination: address(destination.into(), to),
        },
    );
    prop_oneof![4 => v4, 4 => v6, 1 => Just(Origin::Peer), 1 => Just(Origin::UnixClient)]
}

#[test]
fn version_2_tells_of_the_clients_tls() {
    let check = |details: &Details<'_>, expected: &[&[u8]]| {
        let format = SendProxy::V2 { unique_id: false, crc32c: false };
        let mut bytes = Vec::new();
        write_header(format, v4(), details, &mut bytes);
        let block = [V4_BLOCK, &expected.concat()].concat();
        assert_eq!(bytes, v2(0x21, 0x11, &block));
        let mut line = Vec::new();
        write_header(SendProxy::V1, v4(), details, &mut line);
        assert_eq!(line, b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n");
    };
    check(&Details { server_name: Some("a.test"), ..Details::default() }, &[b"\x02\0\x06a.test"]);
    let mut tls =
        ClientTls { version: "1.3", cipher: "TLS_X", protocol: Some(b"h2"), certificate: None };
    let details = |tls| Details { server_name: Some("a.test"), tls: Some(tls), unique_id: b"" };
    let start: &[u8] = b"\x01\0\x02h2\x02\0\x06a.test";
    let (version, cipher): (&[u8], &[u8]) = (b"\x21\0\x07TLSv1.3", b"\x23\0\x05TLS_X");
    check(&details(tls), &[start, b"\x20\0\x17\x01\0\0\0\x01", version, cipher]);
    for (is_resumed, client) in [(false, 7), (true, 5)] {
        tls.certificate = Some(ClientCertificate { name: Some("me"), is_resumed });
        let head = [0x20, 0, 0x1c, client, 0, 0, 0, 0];
        check(&details(tls), &[start, &head, version, b"\x22\0\x02me", cipher]);
    }
    // Of a name that is too long, whole characters are left.
    let long = "é".repeat(200);
    let expected = [b"\x02\0\xfe", "é".repeat(127).as_bytes()].concat();
    check(&Details { server_name: Some(&long), ..Details::default() }, &[&expected]);
}

fn format() -> impl Strategy<Value = SendProxy> {
    let v2 = any::<[bool; 2]>().prop_map(|[unique_id, crc32c]| SendProxy::V2 { unique_id, crc32c });
    prop_oneof![Just(SendProxy::V1), v2]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        origin in origin(),
        format in format(),
        id in proptest::collection::vec(any::<u8>(), 0..200),
        name in proptest::option::of("[a-zé]{0,200}"),
        has_tls in any::<bool>(),
        after in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let name = name.as_deref();
        let certificate = name.map(|_| ClientCertificate { name, is_resumed: true });
        let (version, cipher, protocol) = ("1.3", "X", name.map(str::as_bytes));
        let tls = has_tls.then_some(ClientTls { version, cipher, protocol, certificate });
        let details = Details { unique_id: &id, server_name: name, tls };
        let mut bytes = Vec::new();
        write_header(format, origin, &details, &mut bytes);
        let length = bytes.len();
        prop_assert!(length <= HEADER_BYTES_MAX);
        for end in 0..length {
            prop_assert_eq!(read_header(&bytes[..end]), Ok(None), "cut at {}", end);
        }
        bytes.extend_from_slice(&after);
        let header = read_header(&bytes).unwrap().unwrap();
        prop_assert_eq!(header.bytes, length);
        let is_client = matches!(origin, Origin::Client { .. });
        prop_assert_eq!(header.origin, if is_client { origin } else { Origin::Peer });
        let has_id = is_client && matches!(format, SendProxy::V2 { unique_id: true, .. });
        prop_assert_eq!(header.unique_id, has_id.then_some(&id[..id.len().min(128)]));
    }

    /// More bytes never change what fewer have shown.
    #[test]
    fn a_verdict_stands(
        start in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(SIGNATURE)],
        rest in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(b'!'), Just(b' ')], 0..150),
    ) {
        let bytes = [start, &rest].concat();
        let mut verdict = Ok(None);
        for end in 0..=bytes.len() {
            let next = read_header(&bytes[..end]);
            prop_assert!(verdict == Ok(None) || next == verdict, "cut at {}", end);
            verdict = next;
        }
    }
}

#[test]
fn a_datagram_begins_with_a_whole_header_of_version_2() {
    let plain = SendProxy::V2 { unique_id: false, crc32c: false };
    let all = SendProxy::V2 { unique_id: true, crc32c: true };
    assert_eq!(datagram_header(plain, v4(), b"id"), Some(v2(0x21, 0x12, V4_BLOCK)));
    assert_eq!(datagram_header(plain, Origin::Peer, b"id"), Some(v2(0x20, 0, b"")));
    assert_eq!(datagram_header(SendProxy::V1, v4(), b"id"), None);
    let v6 = client("[2001:db8::7]:53", "[2001:db8::1]:53");
    assert_eq!(datagram_header(plain, v6, b"").unwrap()[13], 0x22);
    for (format, origin) in [(plain, v4()), (all, v4()), (all, v6)] {
        let header = datagram_header(format, origin, b"an id").unwrap();
        for end in 0..header.len() {
            assert_eq!(read_datagram_header(&header[..end]), Err(InvalidHeader), "cut at {end}");
        }
        let unique_id = (format == all).then_some(&b"an id"[..]);
        let expected = Header { bytes: header.len(), origin, unique_id };
        assert_eq!(read_datagram_header(&header), Ok(expected));
        assert_eq!(read_datagram_header(&[&header[..], b"a query"].concat()), Ok(expected));
    }
    // Some senders name the transport of TCP whatever they send.
    let header = v2(0x21, 0x11, V4_BLOCK);
    assert_eq!(read_datagram_header(&header).map(|it| it.origin), Ok(v4()));
    for bytes in [&b""[..], b"PROXY UNKNOWN\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", b"q"] {
        assert_eq!(read_datagram_header(bytes), Err(InvalidHeader));
    }
}
