//! Bytes from a client that may begin with TLS: however many of them have come, the verdict is the
//! same, and so it is when the hello comes in other records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::{CLIENT_HELLO_BYTES_MAX, Opening, read_client_hello};

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let whole = read(bytes);
    for end in 0..bytes.len() {
        match read(&bytes[..end]) {
            Err(needed) => {
                assert!(needed > end && needed <= CLIENT_HELLO_BYTES_MAX);
                assert!(needed <= bytes.len() || whole.is_err() || whole == Ok(None));
            }
            decided => assert_eq!(decided, whole),
        }
    }
    if let Ok(Some(_)) = whole {
        let pieces = in_pieces(bytes, usize::from(piece.max(1)));
        if pieces.len() <= CLIENT_HELLO_BYTES_MAX {
            assert_eq!(read(&pieces), whole);
        }
    }
});

type Said = (Option<String>, Vec<Vec<u8>>, bool);

/// What the hello says, or how many bytes are needed.
fn read(bytes: &[u8]) -> Result<Option<Said>, usize> {
    match read_client_hello(&mut bytes.to_vec()) {
        Opening::Incomplete(needed) => Err(needed),
        Opening::Other => Ok(None),
        Opening::Hello(hello) => {
            let name = hello.server_name.map(str::to_owned);
            Ok(Some((name, hello.protocols().map(<[u8]>::to_vec).collect(), hello.is_outer)))
        }
    }
}

/// The bytes of all records, in records of this length.
fn in_pieces(mut bytes: &[u8], length: usize) -> Vec<u8> {
    let mut message = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<5>() {
        let part = usize::from(u16::from_be_bytes([header[3], header[4]])).min(rest.len());
        if header[..2] != [22, 3] {
            break;
        }
        message.extend(&rest[..part]);
        bytes = &rest[part..];
    }
    let parts = message.chunks(length).flat_map(|part| {
        let length = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    });
    parts.collect()
}
