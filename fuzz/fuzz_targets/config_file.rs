//! No text is too strange for the reader of the configuration file: it ends, its reports are in the
//! text, and a file without errors means something.
#![no_main]

use config::file::{Severity, Source, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Two files, so that they are merged.
    let (first, second) = text.split_once('\x0c').unwrap_or((text, ""));
    let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let sources = [source("a", first), source("b", second)];
    let environment = |name: &str| (name.len() < 3).then(|| name.to_owned());
    let services = |name: &str| (name == "http").then_some(80);
    let reading = read(&sources, &environment, &services);
    let has_errors = reading.reports.iter().any(|it| it.severity() == Severity::Error);
    assert_eq!(reading.config.is_none(), has_errors);
    for report in &reading.reports {
        let text = if report.file == "a" { first } else { second };
        let bytes = report.span.bytes.clone();
        assert!(bytes.start <= bytes.end && text.is_char_boundary(bytes.start), "{report:?}");
        assert!(report.span.start <= report.span.end, "{report:?}");
        assert!(!report.message.is_empty() && report.to_string().lines().count() == 5, "{report}");
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
        assert_eq!(json["line"], report.span.start.line);
    }
});
