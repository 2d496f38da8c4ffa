//! Hellos of real clients, cut at every byte and into records of every size.

use super::*;
use proptest::prelude::*;

const OPENSSL: &[u8] = include_bytes!("recorded/openssl-tls13.bin");
const OPENSSL_TLS12: &[u8] = include_bytes!("recorded/openssl-tls12.bin");
const OPENSSL_NO_NAME: &[u8] = include_bytes!("recorded/openssl-no-name.bin");
const CURL: &[u8] = include_bytes!("recorded/curl.bin");
const NODE: &[u8] = include_bytes!("recorded/node.bin");
/// Of BoringSSL, as in Chrome 136: with an X25519MLKEM768 key share and an encrypted hello.
const CHROME: &[u8] = include_bytes!("recorded/chrome.bin");

/// What a hello says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    server_name: Option<String>,
    protocols: Vec<String>,
    is_outer: bool,
}

/// The hello in these bytes, or how many are needed.
fn read(bytes: &[u8]) -> Result<Option<Said>, usize> {
    match read_client_hello(&mut bytes.to_vec()) {
        Opening::Incomplete(needed) => Err(needed),
        Opening::Other => Ok(None),
        Opening::Hello(hello) => Ok(Some(Said {
            server_name: hello.server_name.map(str::to_owned),
            protocols: hello
                .protocols()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
            is_outer: hello.is_outer,
        })),
    }
}

/// The same message in records of these lengths, and a last one with the rest.
fn in_records(bytes: &[u8], lengths: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut message = &bytes[5..];
    let mut records = Vec::new();
    for length in lengths.into_iter().chain([message.len()]) {
        let (part, rest) = message.split_at(length.min(message.len()));
        if !part.is_empty() {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            records.extend([&[22, 3, 1], &length[..], part].concat());
        }
        message = rest;
    }
    records
}

/// The hello is found when all of it has come, and not before. What was said to be needed before is
/// never more than that.
#[track_caller]
fn check_cut(bytes: &[u8], expected: &Said) {
    for end in 0..bytes.len() {
        match read(&bytes[..end]) {
            Err(needed) => assert!((end + 1..=bytes.len()).contains(&needed), "cut at {end}"),
            other => panic!("cut at {end}: {other:?}"),
        }
    }
    assert_eq!(read(bytes).unwrap().as_ref(), Some(expected));
    let more = [bytes, b"\x17\x03\x03\x00\x01x"].concat();
    assert_eq!(read(&more).unwrap().as_ref(), Some(expected));
}

#[track_caller]
fn check(bytes: &[u8], name: Option<&str>, protocols: &[&str], is_outer: bool) {
    let expected = Said {
        server_name: name.map(str::to_owned),
        protocols: protocols.iter().map(|&name| name.to_owned()).collect(),
        is_outer,
    };
    check_cut(bytes, &expected);
    let message = bytes.len() - 5;
    for count in 2..=8 {
        check_cut(&in_records(bytes, vec![message.div_ceil(count); count - 1]), &expected);
    }
    check_cut(&in_records(bytes, [1, 1, 1, 1, 1, 200, 1]), &expected);
    for first in 1..message {
        let bytes = in_records(bytes, [first]);
        assert_eq!(read(&bytes).unwrap().as_ref(), Some(&expected), "cut at {first}");
    }
    let bytes = in_records(bytes, vec![1; message]);
    assert_eq!(read(&bytes).unwrap().as_ref(), Some(&expected));
}

#[test]
fn hellos_of_real_clients_are_read() {
    check(OPENSSL, Some("db.example.org"), &["postgresql"], false);
    check(OPENSSL_TLS12, Some("old.example.org"), &[], false);
    check(OPENSSL_NO_NAME, None, &[], false);
    check(CURL, Some("www.example.org"), &["h2", "http/1.1"], false);
    check(NODE, Some("node.example.org"), &["h2", "http/1.1"], false);
    check(CHROME, Some("web.example.org"), &["h2", "http/1.1"], true);
}

#[test]
fn a_hello_in_tiny_pieces_is_looked_at_a_few_times() {
    let bytes = in_records(&hello(&[(41, &vec![0; 10_000])]), vec![1; 20_000]);
    let (mut seen, mut looks) = (1, 0);
    while let Err(needed) = read(&bytes[..seen]) {
        (seen, looks) = (needed, looks + 1);
    }
    assert_eq!(seen, bytes.len());
    assert!(looks < 70, "{looks}");
}

/// A hello with these extensions, in records as long as they may be.
fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, data) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(with_length::<2>(data));
    }
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &with_length::<2>(&list)];
    message(&body.concat())
}

fn message(body: &[u8]) -> Vec<u8> {
    let message = [&[1][..], &with_length::<3>(body)].concat();
    in_records(&[&[0; 5][..], &message].concat(), vec![1 << 14; message.len() >> 14])
}

fn with_length<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[8 - N..], bytes].concat()
}

/// The extension with these names.
fn names(names: &[(u8, &str)]) -> Vec<u8> {
    let list = names
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &with_length::<2>(name.as_bytes())].concat());
    with_length::<2>(&list.collect::<Vec<_>>())
}

#[track_caller]
fn check_name(name: &str, expected: Option<&str>) {
    let bytes = hello(&[(0, &names(&[(0, name)]))]);
    let said = read(&bytes).unwrap().unwrap();
    assert_eq!(said.server_name.as_deref(), expected);
}

#[test]
fn only_a_host_name_counts_as_a_name() {
    check_name("DB-1.Example.org", Some("DB-1.Example.org"));
    check_name("_sip.example.org.", Some("_sip.example.org."));
    check_name(&"a".repeat(253), Some(&"a".repeat(253)));
    check_name(&"a".repeat(254), None);
    check_name("", None);
    check_name("192.0.2.1", None);
    check_name("a b", None);
    check_name("a\nb", None);
    check_name("b\u{fc}cher.example", None);
    check_name("[::1]", None);
    let other_kind = hello(&[(0, &names(&[(7, "x"), (0, "a.example"), (9, "")]))]);
    assert_eq!(read(&other_kind).unwrap().unwrap().server_name.as_deref(), Some("a.example"));
}

#[track_caller]
fn check_other(bytes: &[u8]) {
    assert_eq!(read(bytes), Ok(None));
}

#[test]
fn what_is_not_well_formed_is_something_else() {
    let name = names(&[(0, "a.example")]);
    check_other(&hello(&[(0, &name), (0, &name)]));
    check_other(&hello(&[(0, &names(&[(0, "a.example"), (0, "b.example")]))]));
    check_other(&hello(&[(16, &[0, 3, 2, b'h', b'2']), (16, &[0, 3, 2, b'h', b'2'])]));
    check_other(&hello(&[(0xfe0d, &[]), (0xfe0d, &[])]));
    for list in [&[][..], &[0, 0], &[0, 1, 0], &[0, 2, 2, b'h'], &[0, 4, 2, b'h', b'2'], &[1]] {
        check_other(&hello(&[(16, list)]));
    }
    for list in [&[][..], &[0, 1, 0], &[0, 3, 0, 0, 1], &[0, 5, 0, 0, 1, b'a', 0, 9]] {
        check_other(&hello(&[(0, list)]));
    }
    for body in [&[][..], &[3, 3], &[3; 34], &[&[3; 34][..], &[200]].concat()] {
        check_other(&message(body));
    }
    let whole = &hello(&[])[9..];
    check_other(&message(&[whole, &[0]].concat()));
    check_other(&message(&whole[..whole.len() - 1]));
    assert!(read(&message(&whole[..whole.len() - 2])).unwrap().is_some(), "without extensions");
}

/// Something else is recognized when so many bytes have come.
#[track_caller]
fn check_other_after(count: usize, bytes: &[u8]) {
    for end in 0..count {
        assert!(read(&bytes[..end]).is_err(), "cut at {end}");
    }
    for end in count..=bytes.len() {
        check_other(&bytes[..end]);
    }
}

#[test]
fn something_else_is_recognized_early() {
    check_other_after(1, b"GET / HTTP/1.1\r\n");
    check_other_after(1, b"\x80\x2e\x01\x03\x01"); // a hello of SSL 2
    check_other_after(2, b"\x16\x02\x00\x01\x00\x01");
    check_other_after(5, b"\x16\x03\x01\x00\x00\x16");
    check_other_after(5, b"\x16\x03\x01\x40\x01\x01");
    check_other_after(6, b"\x16\x03\x01\x00\x10\x02\x00\x00\x10"); // a ServerHello
    check_other_after(9, b"\x16\x03\x01\x40\x00\x01\x01\x00\x00\x03\x03"); // of 64 kB
    check_other_after(11, b"\x16\x03\x01\x00\x05\x01\x00\x10\x00\x03\x17\x03\x01");
}

#[test]
fn the_longest_hello_has_64_kilobytes_with_its_records() {
    let padded = |length: usize| hello(&[(21, &vec![0; length])]);
    let around = padded(60_000).len() - 60_000;
    let longest = padded(CLIENT_HELLO_BYTES_MAX - around);
    assert_eq!(longest.len(), CLIENT_HELLO_BYTES_MAX);
    assert!(read(&longest).unwrap().is_some());
    check_other(&padded(CLIENT_HELLO_BYTES_MAX - around + 1));
}

proptest! {
    #[test]
    fn more_bytes_never_change_the_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        place in 0..600_usize,
        byte in any::<u8>(),
    ) {
        let mut hello = CHROME.to_vec();
        hello[place] = byte;
        let bytes = [&hello[..place], &bytes, &hello[place..]].concat();
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            match read(&bytes[..end]) {
                Err(needed) => prop_assert!(needed > end && needed <= CLIENT_HELLO_BYTES_MAX),
                decided => prop_assert_eq!(&decided, &whole),
            }
        }
    }
}
