//! A dialogue with balance's control shell over channels of many shapes: nothing panics, every
//! answer is whole lines, and what is sent names a channel that exists.

#![no_main]

use classics::balance::shell::{ShowRow, Step, answer, parse, plan};
use config::operand::parse_endpoint;
use config::{BackendSelector, Command, CommandError, Reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (shape, dialogue) = text.split_once('\n').unwrap_or((text, ""));
    let rows = rows(shape);
    let mut group = 0;
    for line in dialogue.lines() {
        let Some(Ok(command)) = parse(line) else { continue };
        match plan(&command, group, &rows, &|name| (name == "smtp").then_some(25)) {
            Step::Print(text) => assert!(text.is_empty() || text.ends_with('\n')),
            Step::Send(sent) => {
                check(&sent, &rows);
                for reply in [
                    Ok(Reply::Done),
                    Ok(Reply::Unchanged),
                    Err(CommandError::UnknownBackend("0.0".to_owned())),
                    Err(CommandError::ShuttingDown),
                ] {
                    assert!(!answer(&command, group, &reply).to_string().contains('\n'));
                }
            }
            Step::EnterGroup(number) => {
                assert!(number < 32);
                group = number;
            }
            Step::Kill | Step::Quit => break,
        }
    }
});

/// A channel per letter, a new group per blank; capitals are enabled.
fn rows(shape: &str) -> Vec<ShowRow> {
    let mut rows = Vec::new();
    for (group, letters) in shape.split(' ').enumerate() {
        rows.extend(letters.chars().enumerate().map(|(channel, letter)| ShowRow {
            group,
            hash: group % 2 == 1,
            channel,
            enabled: letter.is_uppercase(),
            address: letter.to_string(),
            port: 1,
            connections: u64::from(u32::from(letter)),
            total_connections: u64::MAX,
            maxc: i32::MIN,
            sent: 0,
            received: 0,
        }));
    }
    rows
}

fn check(sent: &Command, rows: &[ShowRow]) {
    let (Command::SetAdminState { backend, .. }
    | Command::SetSessionsMax { backend, .. }
    | Command::ResetCounters { backend }
    | Command::SetEndpoint { backend, .. }) = sent
    else {
        return;
    };
    let place = |row: &ShowRow| BackendSelector::place(row.group, row.channel);
    assert!(rows.iter().any(|row| place(row) == *backend), "{backend}");
    // What is sent must survive the wire.
    assert_eq!(BackendSelector::from(backend.to_string()), *backend);
    if let Command::SetEndpoint { endpoint, .. } = sent {
        let _ = parse_endpoint(endpoint, &|_| None);
    }
}
