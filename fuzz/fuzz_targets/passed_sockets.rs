//! The variables of socket activation, one per line of input: nothing panics, nothing grows with a
//! number that is only claimed, and a name is what was between two colons.

#![no_main]

use config::{PassedNames, PassedVariables};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (pid, count) = (lines.next(), lines.next());
    // The names are the rest, line ends included.
    let names = text.match_indices('\n').nth(1).map(|(at, _)| &text[at + 1..]);
    for own_pid in [1, pid.and_then(|pid| pid.parse().ok()).unwrap_or(1)] {
        match PassedNames::parse(own_pid, PassedVariables { pid, count, names }) {
            Ok(passed) => check(&passed, names),
            Err(error) => {
                let message = error.to_string();
                assert!(message.chars().count() < 200 && !message.contains(char::is_control));
            }
        }
    }
});

fn check(passed: &PassedNames, names: Option<&str>) {
    let most = names.map_or(0, |names| names.split(':').count());
    let named = (0..passed.count().min(1000)).filter_map(|place| passed.name(place));
    for (name, expected) in
        named.zip(names.unwrap_or_default().split(':').filter(|it| !it.is_empty()))
    {
        assert_eq!(name, expected);
    }
    if names.is_some() && passed.count() > 0 {
        assert_eq!(passed.count() as usize, most);
    }
    assert_eq!(passed.name(passed.count()), None);
}
