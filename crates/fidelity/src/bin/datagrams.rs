//! `datagrams --cmd 'PROXY {L} {B1} {B2}'`: real programs that speak UDP, through any proxy.

use std::process::ExitCode;

use fidelity::{datagrams::DATAGRAM_CASES, servers};

fn main() -> ExitCode {
    servers::main("datagrams", USAGE, DATAGRAM_CASES)
}

const USAGE: &str = "
Starts servers that speak UDP and, in front of them, PROXY with free ports in place of {L}, {B1} and
{B2}; then runs clients through it. PROXY forwards UDP, and may forward TCP at the same port.

  --cmd COMMAND       the proxy's command line; quotes work, variables do not
  --argv0 NAME        what the proxy finds as its own name
  --only PART         only cases with PART in their name; may be repeated
  --list              the cases and what they ask
  --ipv6              servers and clients at ::1 instead of 127.0.0.1
  --lose-one          nobody listens at {B1}; everything must work all the same
  --require-all       a missing program is a failure, not a SKIP (as EVENKEEL_TEST_ALL=1)
  --rounds N          everything N times
  --timeout-scale F   all time limits times F
  --json              one JSON object instead of lines
  --keep-stderr       show what the proxy says on standard error

Exit status: 0 if none failed, 1 if one did, 2 for a wrong call.";
