//! The suite against a relay that is right, and against relays that are wrong in one way each: a
//! suite that cannot fail proves nothing.

mod relay;

use fidelity::{Options, Report, run, servers};
use relay::Fault;

/// Not a test: this program started again, as the proxy of the tests below.
#[test]
fn relay_process() {
    relay::serve_if_asked();
}

/// A relay with `fault`, as the command line of a proxy.
fn relay(fault: Fault, only: &[&str]) -> Options {
    let program = std::env::current_exe().expect("a path of this program");
    let command = format!(
        "env {}={{L}}:{{B1}}:{{B2}} {}={} '{}' --exact relay_process --nocapture",
        relay::PORTS,
        relay::FAULT,
        fault.name(),
        program.display(),
    );
    let only = only.iter().map(|&name| name.to_owned()).collect();
    Options { only, ..Options::new(command) }
}

fn lines(report: &Report) -> String {
    report.outcomes.iter().map(|outcome| format!("{outcome}\n")).collect()
}

/// Runs the cases in `must_fail` and those in `must_pass` against a relay with `fault`.
#[track_caller]
fn check(fault: Fault, must_fail: &[&str], must_pass: &[&str]) {
    let mut options = relay(fault, &[must_fail, must_pass].concat());
    // What a wrong relay does not deliver is waited for until the deadline.
    options.timeout_scale = 0.2;
    let report = run(&options);
    assert_eq!(report.failures(), must_fail, "\n{}", lines(&report));
    assert_eq!(report.passed(), must_pass.len(), "\n{}", lines(&report));
}

#[test]
fn a_right_relay_passes() {
    // Every case can be passed, so a failure is the proxy's.
    let report = run(&relay(Fault::None, &[]));
    assert_eq!(report.failed(), 0, "\n{}", lines(&report));
    assert_eq!(report.passed(), fidelity::CASES.len());
}

#[test]
fn a_reset_turned_into_an_end_of_file_is_noticed() {
    let resets =
        ["reset-by-backend", "reset-by-client", "reset-after-half-close", "reset-to-slow-reader"];
    check(Fault::ResetBecomesEof, &resets, &["half-close-by-client", "full-duplex"]);
}

#[test]
fn a_dropped_half_close_is_noticed() {
    let half_closes = ["half-close-by-client", "half-close-by-backend", "empty-session"];
    // With both directions at their end this relay closes, so "half-close-by-both" would pass.
    check(Fault::HalfCloseDropped, &half_closes, &["reset-by-backend", "short-sessions"]);
}

#[test]
fn a_changed_byte_is_noticed() {
    let long = ["half-close-by-client", "slow-readers", "full-duplex", "back-pressure"];
    check(Fault::ByteChanged, &long, &["short-sessions", "empty-session"]);
}

#[test]
fn a_lost_urgent_byte_is_noticed() {
    let urgent = ["urgent-to-backend", "urgent-to-client", "urgent-zero"];
    check(Fault::UrgentLost, &urgent, &["full-duplex"]);
}

#[test]
fn a_proxy_that_does_not_start_fails_every_case_at_once() {
    let report = run(&Options::new("false {L}"));
    assert_eq!(report.failed(), fidelity::CASES.len());
    let seen = report.outcomes[0].to_string();
    assert!(seen.contains("it end with exit status: 1"), "{seen}");
}

#[test]
fn a_proxy_that_goes_by_its_name_gets_one() {
    let mut options = relay(Fault::None, &["client-first"]);
    options.command = format!("sh -c \"test $0 = balance && exec {}\"", options.command);
    assert_eq!(run(&options).failed(), 1);
    options.argv0 = Some("balance".to_owned());
    let report = run(&options);
    assert_eq!(report.passed(), 1, "\n{}", lines(&report));
}

#[test]
fn a_server_works_behind_a_right_relay_and_one_is_enough() {
    let mut options = relay(Fault::None, &["websocket"]);
    for lose_one in [false, true] {
        options.lose_one = lose_one;
        let report = servers::run(servers::SERVER_CASES, &options);
        assert_eq!(report.passed(), 1, "\n{}", lines(&report));
    }
}

#[test]
fn a_server_behind_a_wrong_relay_fails() {
    let report = servers::run(servers::SERVER_CASES, &relay(Fault::ByteChanged, &["websocket"]));
    assert_eq!(report.failures(), ["websocket"], "\n{}", lines(&report));
}
