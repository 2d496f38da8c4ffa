//! Lines that webresolve reads, names that name servers give, and its cache file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logtools::webresolve::{cache, names};

fuzz_target!(|input: &[u8]| {
    if let Some(field) = names::address_field(input, 1) {
        assert!(field.range.end <= input.len());
    }
    let _ = names::address_field(input, 3);
    if let Ok(text) = std::str::from_utf8(input) {
        if let Some(name) = names::hostname(text) {
            assert!(name.len() <= 253);
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        }
        let read = cache::Cache::parse(text, 0);
        let again = cache::Cache::parse(&read.to_text(0), 0);
        assert_eq!(read.to_text(0), again.to_text(0));
    }
});
