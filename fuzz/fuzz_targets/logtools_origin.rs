//! Lines of balancers' logs and the datagrams that announce clients.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use logtools::lines::Origin;
use logtools::lines::pen::Announcement;
use logtools::penlogd::announced::Announced;

fuzz_target!(|line: &[u8]| {
    match Origin::parse(line) {
        Some(Origin::Request(entry)) => {
            assert!(!entry.client.is_empty() && !entry.data.is_empty() && entry.data.len() <= 100);
        }
        Some(Origin::Connection(connection)) => {
            assert!(connection.end.is_none_or(|end| end >= connection.start));
        }
        None => {}
    }
    if let Some(found) = Announcement::parse(line) {
        assert!(!found.request.contains(&b'\n'));
    }
    let mut memory = Announced::new(2, None);
    for datagram in line.split(|b| *b == 0) {
        memory.note(datagram, Duration::ZERO);
        let _ = memory.client([127, 0, 0, 1].into(), datagram, Duration::ZERO);
    }
});
