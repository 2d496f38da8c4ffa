//! `reloads --proxy KIND --program COMMAND`: a configuration reloaded again and again under load.

use std::{process::ExitCode, time::Duration};

use fidelity::{
    command_line,
    reloads::{Kind, Settings, run},
};
use lexopt::prelude::*;

fn main() -> ExitCode {
    command_line::run("reloads", USAGE, parse(), |settings| {
        command_line::report(run(&settings).map(|summary| (summary.is_clean(), summary)))
    })
}

fn parse() -> Result<Option<Settings>, lexopt::Error> {
    let mut settings = Settings::new(Kind::Evenkeel, "evenkeel");
    let mut program = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("proxy") => {
                let name = parser.value()?.string()?;
                settings.kind = Kind::named(&name).ok_or("no such kind of proxy")?;
                settings.program = name;
            }
            Long("program") => program = Some(parser.value()?.string()?),
            Long("reloads") => settings.reloads = parser.value()?.parse()?,
            Long("invalid") => settings.invalid = parser.value()?.parse()?,
            Long("sessions") => settings.sessions = parser.value()?.parse()?,
            Long("spread") => settings.spread = true,
            Long("pause") => settings.pause = Duration::from_millis(parser.value()?.parse()?),
            Long("seed") => settings.seed = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    settings.program = program.unwrap_or(settings.program);
    Ok(Some(settings))
}

const USAGE: &str = "Usage: reloads [--proxy KIND] [--program COMMAND] [OPTION]...

Reloads a proxy's configuration again and again, with random changes, under load: 200 new sessions
a second, long sessions, four streams, and a ping-pong through a listener that never changes. With
Evenkeel, the turns and limits of pools that do not change must stay exact, and files with errors
must change nothing.

  --proxy KIND        evenkeel, haproxy or nginx (default: evenkeel)
  --program COMMAND   its command line (default: its name)
  --reloads N         the number of reloads (default: 1000)
  --invalid N         then, the number of files with errors (default: 200)
  --sessions N        the number of long sessions (default: 2000)
  --spread            begin them between the reloads instead of before the first
  --pause MS          the pause between two reloads (default: 50)
  --seed N            of the random changes (default: 1)

Exit status: 0 if no client noticed anything, 1 if one did, 2 for a wrong call.";
