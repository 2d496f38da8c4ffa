//! Bytes from a peer that should send a PROXY header: however many of them have come, the verdict
//! is the same; and a header that is written for what was read says the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay::{
    Details, HEADER_BYTES_MAX, InvalidHeader, Origin, datagram_header, read_datagram_header,
    read_header, write_header,
};
use terms::SendProxy;

fuzz_target!(|bytes: &[u8]| {
    let whole = read_header(bytes);
    // A datagram is whole, and never of version 1.
    let of_datagram = read_datagram_header(bytes);
    match whole {
        Ok(Some(header)) if bytes[0] != b'P' => assert_eq!(of_datagram, Ok(header)),
        _ => assert_eq!(of_datagram, Err(InvalidHeader)),
    }
    for end in 0..bytes.len() {
        match (read_header(&bytes[..end]), whole) {
            (Ok(None), Ok(Some(header))) => assert!(end < header.bytes),
            (Ok(None), _) => assert!(end < HEADER_BYTES_MAX),
            (Ok(Some(header)), Ok(Some(last))) => assert!(header == last && end >= header.bytes),
            (Err(InvalidHeader), Err(InvalidHeader)) => {}
            (early, _) => panic!("{early:?} after {end} bytes, then {whole:?}"),
        }
    }
    if let Ok(Some(header)) = whole {
        check_written(header.origin, header.unique_id.unwrap_or_default());
    }
});

fn check_written(origin: Origin, id: &[u8]) {
    let checked = SendProxy::V2 { unique_id: true, crc32c: true };
    for format in [SendProxy::V1, SendProxy::V2 { unique_id: false, crc32c: false }, checked] {
        let mut bytes = Vec::new();
        let details = Details { unique_id: id, ..Details::default() };
        write_header(format, origin, &details, &mut bytes);
        let Ok(Some(header)) = read_header(&bytes) else { panic!("{format:?} is not read") };
        let same = if origin == Origin::UnixClient { Origin::Peer } else { origin };
        assert!(header.bytes == bytes.len() && header.origin == same);
        let is_client = matches!(origin, Origin::Client { .. });
        assert!(header.unique_id == (is_client && format == checked).then_some(id));
        if let Some(bytes) = datagram_header(format, origin, id) {
            assert_eq!(read_datagram_header(&bytes).map(|it| it.origin), Ok(same));
        }
    }
}
