//! The sources are put together as `ARCHITECTURE.md` says.

use std::process::Command;

#[test]
fn pure_crates_are_pure_and_no_files_form_a_circle() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("structure").output();
    let output = output.expect("xtask runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
