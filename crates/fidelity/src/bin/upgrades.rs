//! `upgrades --proxy KIND --program COMMAND`: a program upgraded again and again under load.

use std::{process::ExitCode, time::Duration};

use fidelity::{
    command_line,
    reloads::Kind,
    upgrades::{Settings, run},
};
use lexopt::prelude::*;

fn main() -> ExitCode {
    command_line::run("upgrades", USAGE, parse(), |settings| {
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
            Long("upgrades") => settings.upgrades = parser.value()?.parse()?,
            Long("idle") => settings.idle = parser.value()?.parse()?,
            Long("interactive") => settings.interactive = parser.value()?.parse()?,
            Long("special") => settings.special = parser.value()?.parse()?,
            Long("pause") => settings.pause = Duration::from_millis(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    settings.program = program.unwrap_or(settings.program);
    Ok(Some(settings))
}

const USAGE: &str = "Usage: upgrades [--proxy KIND] [--program COMMAND] [OPTION]...

Upgrades a proxy again and again under load: idle sessions, interactive ones, two that ask and are
answered a thousand times a second, four streams both ways, readers that are too slow, and 200 new
sessions a second. With Evenkeel, there are half-closed sessions, urgent bytes, requests whose
heads are half there, and UDP flows, too, and the log must have each session's whole life.

  --proxy KIND        evenkeel (evenkeel upgrade), haproxy (USR2 to the master) or nginx (USR2, QUIT);
                      default: evenkeel
  --program COMMAND   its command line (default: its name)
  --upgrades N        the number of upgrades (default: 100)
  --idle N            the number of idle sessions (default: 5000)
  --interactive N     of sessions that ask ten times a second (default: 200)
  --special N         of sessions of each special kind (default: 50)
  --pause MS          the pause between two upgrades (default: 300)

Exit status: 0 if no client noticed anything, 1 if one did, 2 for a wrong call.";
