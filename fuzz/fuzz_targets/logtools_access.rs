//! Access-log lines: what is read can be written, and only client and stamp change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use logtools::lines::access::{Access, Layout};
use logtools::lines::{escape, stamp};
use logtools::mergelogs::legacy;
use logtools::penlogd::announced;

fuzz_target!(|line: &[u8]| {
    for layout in [Layout::ClientFirst, Layout::VhostFirst] {
        let Some(access) = Access::parse(line, layout) else { continue };
        let mut same = Vec::new();
        access.write(line, access.client(line), true, &mut same);
        assert!(same.len() <= line.len(), "only blanks may go");
        let mut out = Vec::new();
        access.write(line, b"192.0.2.1", false, &mut out);
        let again = Access::parse(&out, layout).expect("what we write we can read");
        assert_eq!(again.instant, access.instant / 1000 * 1000);
        assert_eq!(again.request(&out), access.request(line));
        assert_eq!(again.rest(&out), access.rest(line));
        let mut plain = Vec::new();
        escape::as_in_pen_log(access.request(line), &mut plain);
        assert!(plain.len() <= escape::PEN_DATA_MAX && plain.is_ascii());
    }
    let _ = stamp::parse_any(line);
    legacy::parse_piece(line);
    let mut out = Vec::new();
    if announced::request(line).is_some() {
        announced::rewrite(line, Some(b"192.0.2.1"), &mut out);
    }
});
