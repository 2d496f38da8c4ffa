//! `servers --cmd 'PROXY {L} {B1} {B2}'`: real servers and clients through any proxy.

use std::process::ExitCode;

use fidelity::servers::{self, SERVER_CASES};

fn main() -> ExitCode {
    servers::main("servers", USAGE, SERVER_CASES)
}

const USAGE: &str = "
Starts real servers and, in front of them, PROXY with free ports in place of {L}, {B1} and {B2}
(all on 127.0.0.1); then runs the servers' own clients through it.

  --cmd COMMAND       the proxy's command line; quotes work, variables do not
  --argv0 NAME        what the proxy finds as its own name
  --only PART         only cases with PART in their name; may be repeated
  --list              the cases and what they ask
  --lose-one          nobody listens at {B1}; everything must work all the same
  --require-all       a missing program is a failure, not a SKIP (as EVENKEEL_TEST_ALL=1)
  --rounds N          everything N times
  --timeout-scale F   all time limits times F
  --json              one JSON object instead of lines
  --keep-stderr       show what the proxy says on standard error

Exit status: 0 if none failed, 1 if one did, 2 for a wrong call.";
