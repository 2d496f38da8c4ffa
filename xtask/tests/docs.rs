//! The committed man pages, completions and references are what the option tables say.

use std::process::Command;

#[test]
fn rendered_documentation_is_current() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["docs", "--check"]).output();
    let output = output.expect("xtask runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
