//! Asks any TCP proxy whether it is faithful: every byte once and in order, half-closes, resets
//! after the bytes before them, urgent bytes, back-pressure, and no client lost to a dead backend.
//!
//! The proxy is a command line with `{L}`, `{B1}` and `{B2}` in place of its ports; the suite
//! starts it anew for every case, plays client and backends itself, and knows nothing of its
//! inside. [`run`] is the whole suite for tests of other crates, and the program `fidelity` prints
//! what it returns. [`servers`] does the same with real servers and their own clients, and
//! [`datagrams`] over UDP.
//!
//! What it leaves out: TLS, names, and speed (only hangs and undue delays count).

#![forbid(unsafe_code)]

pub mod backend;
pub mod cases;
mod clients;
pub mod command_line;
pub mod control_fuzz;
pub mod datagrams;
mod deadline;
mod dice;
pub mod migration;
mod options;
pub mod pattern;
pub mod peer;
mod ports;
mod process;
pub mod procnet;
pub mod reloads;
mod report;
pub mod servers;
pub mod stage;
mod template;
pub mod upgrades;
pub mod usage;

use std::time::Instant;

pub use cases::CASES;
pub use deadline::{wait_for, wait_until};
pub use options::{Arguments, Options, UsageError};
pub use ports::Claim;
pub use process::Process;
pub use report::{Check, Failure, Outcome, Report, Verdict};
pub use template::{Ports, expand};

use cases::Case;
use stage::Stage;

/// Runs the chosen cases against the proxy of `options`.
///
/// ~~~no_run
/// let options = fidelity::Options::new("evenkeel 127.0.0.1:{L} 127.0.0.1:{B1} 127.0.0.1:{B2}");
/// let report = fidelity::run(&options);
/// assert_eq!(report.failed(), 0, "{report:#?}");
/// ~~~
pub fn run(options: &Options) -> Report {
    run_and_tell(options, |_| {})
}

/// Like [`run`], but reports each outcome as soon as it is known.
pub fn run_and_tell(options: &Options, mut tell: impl FnMut(&Outcome)) -> Report {
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for case in CASES.iter().filter(|case| options.is_chosen(case.name)) {
            let outcome = run_case(case, options, round);
            tell(&outcome);
            report.outcomes.push(outcome);
        }
    }
    report
}

fn run_case(case: &Case, options: &Options, round: u32) -> Outcome {
    let start = Instant::now();
    let verdict = match play(case, options) {
        Ok(()) => Verdict::Ok,
        Err(failure) => Verdict::Fail(failure),
    };
    Outcome { name: options.round_name(case.name, round), verdict, time: start.elapsed() }
}

fn play(case: &Case, options: &Options) -> Check {
    let mut stage = Stage::new(options, case.backends, case.budget)?;
    (case.run)(&stage)?;
    // One that does the case's work and dies of it has not passed.
    stage.check_alive()
}
