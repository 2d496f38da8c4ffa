//! `control-fuzz --pen PEN --penctl PENCTL`: random commands and rubbish on pen's control port.

use std::{process::ExitCode, time::Duration};

use fidelity::{command_line, control_fuzz, migration::Settings};
use lexopt::prelude::*;

fn main() -> ExitCode {
    command_line::run("control-fuzz", USAGE, parse(), play)
}

fn play((settings, seed): (Settings, u64)) -> ExitCode {
    match control_fuzz::run(&settings, seed) {
        Ok(summary) => {
            let control_fuzz::Summary { bursts, memory_most } = summary;
            println!("ok   {bursts} bursts from seed {seed}, at most {memory_most} kB");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAIL {failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Option<(Settings, u64)>, lexopt::Error> {
    let mut settings = Settings::new(Duration::from_secs(600));
    let mut seed = 1;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("pen") => settings.pen = parser.value()?.string()?,
            Long("penctl") => settings.penctl = parser.value()?.string()?,
            Long("seed") => seed = parser.value()?.parse()?,
            Long("minutes") => settings.set_minutes(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some((settings, seed)))
}

const USAGE: &str = "Usage: control-fuzz --pen COMMAND --penctl COMMAND [--minutes N] [--seed N]

Sends pen's control port random commands, half commands, rubbish and resets from many connections
at once. After each burst traffic must pass, penctl must reach the same process, and its memory
must be bounded.

  --pen COMMAND       pen's command line up to its options (default: pen)
  --penctl COMMAND    the same of penctl (default: penctl)
  --minutes N         how long (default: 10; fractions work)
  --seed N            of the first burst (default: 1); a failure tells its own

Exit status: 0 if nothing failed, 1 if something did, 2 for a wrong call.";
