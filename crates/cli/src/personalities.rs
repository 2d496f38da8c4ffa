//! Every program that this binary is beside `evenkeel`, in one table: `main` runs them from it,
//! `evenkeel` has them as verbs, `links` and `install` make their names, and their completions are
//! rendered from it.

use crate::{balance, pen};
use clap::{Arg, ArgAction, Command};
use logtools::Personality as Tool;
use std::ffi::OsString;
use std::process::ExitCode;

/// A program with a name and a grammar of its own.
pub struct Personality {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    program: Program,
}

#[derive(Clone, Copy)]
enum Program {
    Balance,
    Pen,
    Penctl,
    Tool(&'static Tool),
}

const fn classic(name: &'static str, about: &'static str, program: Program) -> Personality {
    Personality { name, about, program }
}

const fn tool(tool: &'static Tool) -> Personality {
    Personality { name: tool.tool.name, about: tool.tool.about, program: Program::Tool(tool) }
}

/// The classics and the log tools.
pub static PERSONALITIES: [Personality; 3 + logtools::PERSONALITIES.len()] = [
    classic("balance", "a TCP proxy with load balancing and failover", Program::Balance),
    classic(
        "pen",
        "a load balancer for TCP that lets clients return to their server",
        Program::Pen,
    ),
    classic("penctl", "control a running pen", Program::Penctl),
    tool(&logtools::PERSONALITIES[0]),
    tool(&logtools::PERSONALITIES[1]),
    tool(&logtools::PERSONALITIES[2]),
    tool(&logtools::PERSONALITIES[3]),
    tool(&logtools::PERSONALITIES[4]),
    tool(&logtools::PERSONALITIES[5]),
];

impl Personality {
    /// The program of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PERSONALITIES.iter().find(|personality| personality.name == name)
    }

    /// Runs it. `argv0` is what it was called; as a verb of `evenkeel` the classics understand
    /// `--print-config`, too.
    pub(crate) fn run(&self, argv0: &str, words: &[OsString], is_verb: bool) -> ExitCode {
        // The classics know no encodings; what is not Unicode cannot be a host, port or option.
        let text = || -> Vec<String> {
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
        };
        match self.program {
            Program::Balance => balance::main(argv0, &text(), is_verb),
            Program::Pen => pen::main(argv0, &text(), is_verb),
            Program::Penctl => pen::penctl_main(&text()),
            Program::Tool(tool) => (tool.main)(argv0, &mut words.iter().cloned()),
        }
    }

    /// The program with its options, for completions. Its own parser decides what they mean.
    pub fn command(&self) -> Command {
        let command = Command::new(self.name)
            .about(capitalised(self.about))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .arg(Arg::new("word").value_name("WORD").num_args(0..).trailing_var_arg(true));
        match self.program {
            Program::Balance => command.args(classics::balance::OPTIONS.iter().map(|option| {
                letter(option.letter, option.value.unwrap_or_default(), option.short)
            })),
            Program::Pen => command.args(classics::pen::OPTIONS.iter().map(|option| {
                letter(option.letter, option.value.unwrap_or_default(), option.short)
            })),
            Program::Penctl => command,
            Program::Tool(tool) => command.args(tool.tool.known().map(|option| {
                let arg = letter(option.short, option.value, option.help);
                match option.long {
                    "" => arg,
                    long => arg.id(long).long(long),
                }
            })),
        }
    }
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}

/// An option of one letter, if that is not a blank, with a value, if that has a name.
fn letter(letter: char, value: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(letter.to_string()).help(help);
    let arg = if letter == ' ' { arg } else { arg.short(letter) };
    match value {
        "" => arg.action(ArgAction::Count),
        value => arg.value_name(value).action(ArgAction::Append),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_every_command_is_sound() {
        for personality in &PERSONALITIES {
            assert!(Personality::find(personality.name).is_some());
            personality.command().debug_assert();
        }
        for tool in logtools::PERSONALITIES {
            assert!(Personality::find(tool.tool.name).is_some(), "{}", tool.tool.name);
        }
    }
}
