//! `migration --pen PEN --penctl PENCTL`: set-ups of pen under load while operators change them.

use std::{process::ExitCode, time::Duration};

use fidelity::{
    command_line,
    migration::{Settings, run},
};
use lexopt::prelude::*;

fn main() -> ExitCode {
    command_line::run("migration", USAGE, parse(), play)
}

fn play(settings: Settings) -> ExitCode {
    let summaries = run(&settings);
    for summary in &summaries {
        println!("{summary}");
    }
    let is_ok = !summaries.is_empty() && summaries.iter().all(|summary| summary.failed == 0);
    if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse() -> Result<Option<Settings>, lexopt::Error> {
    let mut settings = Settings::new(Duration::from_secs(600));
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("pen") => settings.pen = parser.value()?.string()?,
            Long("penctl") => settings.penctl = parser.value()?.string()?,
            Long("only") => settings.only.push(parser.value()?.string()?),
            Long("minutes") => settings.set_minutes(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(settings))
}

const USAGE: &str = "Usage: migration --pen COMMAND --penctl COMMAND [--minutes N] [--only PART]

Runs three set-ups of pen under load, all at once, while penctl, signals and failing servers do
to them what operators and cron do: a web farm, mail relays with an emergency server, and two
services that share clients by hash. A failed client is one that is refused, reset, answered
wrongly or cut short, or waits longer than 10 s; there must be none.

  --pen COMMAND       pen's command line up to its options (default: pen)
  --penctl COMMAND    the same of penctl (default: penctl)
  --minutes N         how long (default: 10; fractions work)
  --only PART         only set-ups with PART in their name; may be repeated

Exit status: 0 if nothing failed, 1 if something did, 2 for a wrong call.";
