//! The suite of TCP fidelity, with this program in both its forms and every splice mode.

use fidelity::{Options, run};

/// All cases must pass with these words behind the program's name.
#[track_caller]
fn check(words: &str) {
    check_with(words, |options| options);
}

#[track_caller]
fn check_with(words: &str, change: impl Fn(Options) -> Options) {
    let dir = tempfile::tempdir().expect("a directory for admin sockets");
    let program = env!("CARGO_BIN_EXE_evenkeel");
    let runtime = dir.path().display();
    let command = format!("env 'EVENKEEL_RUNTIME_DIR={runtime}' '{program}' {words}");
    let options = change(Options::new(command));
    let report = run(&options);
    let lines: String = report.outcomes.iter().map(|outcome| format!("{outcome}\n")).collect();
    assert_eq!(report.failed(), 0, "{words}\n{lines}");
    assert_eq!(report.passed(), fidelity::CASES.len());
}

const OPERANDS: &str = "127.0.0.1:{L} 127.0.0.1:{B1} 127.0.0.1:{B2} --connect-timeout 2s";

#[test]
fn splicing_always_with_one_worker() {
    check(&format!("{OPERANDS} --splice always --workers 1"));
}

#[test]
fn splicing_never_with_four_workers() {
    check(&format!("{OPERANDS} --splice never --workers 4"));
}

#[test]
fn splicing_as_it_pays() {
    check(&format!("{OPERANDS} --splice auto --workers 4"));
}

#[test]
fn announcing_clients_to_backends() {
    check_with(&format!("{OPERANDS} --send-proxy v1 --workers 2"), |options| Options {
        header_line: true,
        ..options
    });
}

#[test]
fn as_balance() {
    check("balance -f -t 2 -b 127.0.0.1 {L} 127.0.0.1:{B1} 127.0.0.1:{B2}");
}
