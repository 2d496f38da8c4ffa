//! `fidelity --cmd 'PROXY {L} {B1} {B2}'`: the TCP conformance suite against any proxy.

use std::process::ExitCode;

use fidelity::{CASES, command_line::Program};

fn main() -> ExitCode {
    Program {
        name: "fidelity",
        usage: USAGE,
        cases: CASES.iter().map(|case| (case.name, case.asks)).collect(),
        run: |options: &_, tell: &mut dyn FnMut(&_)| fidelity::run_and_tell(options, tell),
    }
    .main()
}

const USAGE: &str = "
Starts PROXY for each case with free ports in place of {L}, {B1} and {B2} (all on 127.0.0.1)
and asks whether it delivers bytes, half-closes, resets and urgent data as TCP promises.

  --cmd COMMAND       the proxy's command line; quotes work, variables do not
  --argv0 NAME        what the proxy finds as its own name
  --only PART         only cases with PART in their name; may be repeated
  --list              the cases and what they ask
  --rounds N          everything N times
  --timeout-scale F   all time limits times F
  --json              one JSON object instead of lines
  --header-line       backends pass over a first line: a header of the PROXY protocol, version 1
  --keep-stderr       show what the proxy says on standard error

Exit status: 0 if all passed, 1 if one failed, 2 for a wrong call.";
