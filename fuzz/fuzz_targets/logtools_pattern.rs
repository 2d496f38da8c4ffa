//! Patterns of log formats, and lines read by them: the first line is the pattern.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logtools::lines::pattern::Pattern;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |b| *b == b'\n');
    let (Some(pattern), Some(line)) = (parts.next(), parts.next()) else { return };
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let Ok(pattern) = Pattern::compile(pattern) else { return };
    let Some(access) = pattern.parse(line) else { return };
    let mut same = Vec::new();
    access.write(line, access.client(line), true, &mut same);
    assert_eq!(same, line);
});
