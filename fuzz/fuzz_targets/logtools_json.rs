//! JSON access-log lines: the line stays JSON with another client.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logtools::lines::json;

fuzz_target!(|line: &[u8]| {
    let Some(access) = json::parse(line) else { return };
    let mut out = Vec::new();
    access.write(line, b"192.0.2.1", false, &mut out);
    let again = json::parse(&out).expect("what we write we can read");
    assert_eq!(again.client(&out), b"192.0.2.1");
    assert_eq!(again.request(&out), access.request(line));
    assert_eq!(again.instant, access.instant);
});
