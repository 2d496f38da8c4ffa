//! What every tool does with outputs that cannot be written and inputs that cannot be read.

mod common;

use common::{stderr, tool};
use std::fs::OpenOptions;
use std::process::{Command, Stdio};

const TOOLS: [&str; 6] = ["mergelogs", "penlog", "penlogd", "webresolve", "splitwr", "dwatch"];

#[test]
fn help_that_cannot_be_printed_is_a_failure() {
    for name in TOOLS {
        for option in ["--help", "--version"] {
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let output = tool(name).arg(option).stdout(full).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{name} {option}: {}", stderr(&output));
            assert!(stderr(&output).contains("cannot write to standard output"), "{name}");
        }
    }
}

#[test]
fn messages_that_nobody_can_read_change_nothing() {
    for name in TOOLS {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$1\" --no-such-option 2>/dev/full"]);
        let output = command.arg(env!("CARGO_BIN_EXE_logtools")).arg(name).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
    }
}

#[test]
fn inputs_that_cannot_be_read_are_failures() {
    for (name, words) in [
        ("mergelogs", "-p / 10.0.0.1:/dev/null"),
        ("mergelogs", "-p /dev/null 10.0.0.1:/"),
        ("mergelogs", "-p /dev/null 10.0.0.1:/no/such/log"),
        ("webresolve", "--server 127.0.0.1:9 /"),
        ("splitwr", "--server 127.0.0.1:9 /no/such/log"),
        ("dwatch", "--config /no/such/file"),
    ] {
        let words = words.split(' ');
        let output = tool(name).args(words).stdin(Stdio::null()).output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{name}: {output:?}");
        assert!(!stderr(&output).is_empty(), "{name}");
    }
    let root = std::fs::File::open("/").unwrap();
    let output = tool("penlog").args(["127.0.0.1", "9"]).stdin(root).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
