//! Bytes from a client of HTTP mode, however they are cut into pieces: the same comes out as for
//! the whole, nothing but the two headers is added, and nothing is held back at the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::Forwarded;

/// How the pieces are cut, and the bytes.
type Input<'a> = (Vec<u8>, &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (sizes, bytes) = input;
    let whole = rewrite(std::iter::once(bytes));
    assert!(rewrite(bytes.chunks(1)) == whole);
    assert!(rewrite(pieces(bytes, &sizes).into_iter()) == whole);
    assert!(without_headers(&whole) == without_headers(bytes));
});

fn rewrite<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut forwarded = Forwarded::new(Some([192, 0, 2, 7].into()), false);
    let mut output = Vec::new();
    for piece in pieces {
        if forwarded.passes(piece) {
            output.extend_from_slice(piece);
        } else {
            forwarded.rewrite(piece, &mut output);
        }
    }
    forwarded.finish(&mut output);
    assert!(!forwarded.holds_back());
    output
}

fn pieces<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &size in sizes {
        let (piece, rest) = bytes.split_at(usize::from(size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

/// The client may have sent the same headers, so they are taken out on both sides.
fn without_headers(bytes: &[u8]) -> Vec<u8> {
    let headers: [&[u8]; 2] =
        [b"\r\nX-Forwarded-Proto: http", b"\r\nX-Forwarded-For: 192.0.2.7"];
    let mut rest = bytes;
    let mut others = Vec::new();
    while let Some(&byte) = rest.first() {
        if let Some(header) = headers.iter().find(|header| rest.starts_with(header)) {
            rest = &rest[header.len()..];
        } else {
            others.push(byte);
            rest = &rest[1..];
        }
    }
    others
}
