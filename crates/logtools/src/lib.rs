//! The companion programs of the balancer: log merging, forwarding and resolving, and a watchdog.
//!
//! Every program is a module with a `main(argv0, args)` that the multi-call binary calls; what
//! they share is the reading of log lines ([`lines`]), of files ([`input`]) and of command lines
//! ([`options`]). Nothing here speaks to a running balancer.
#![forbid(unsafe_code)]

pub mod daemon;
pub mod dwatch;
pub mod input;
pub mod lines;
pub mod mergelogs;
pub mod options;
pub mod output;
pub mod penlog;
pub mod penlogd;
pub mod syslog;
pub mod webresolve;

use std::ffi::OsString;
use std::process::ExitCode;

use options::{Tool, called_as};
use output::complain;

/// A program of this crate.
pub struct Personality {
    /// Runs it; the arguments are those after its name.
    pub main: fn(&str, &mut dyn Iterator<Item = OsString>) -> ExitCode,
    /// Its name, options, help and manual.
    pub tool: &'static Tool,
}

/// All programs of this crate.
pub const PERSONALITIES: &[Personality] = &[
    Personality { main: |argv0, args| mergelogs::main(argv0, args), tool: &mergelogs::TOOL },
    Personality { main: |argv0, args| penlog::main(argv0, args), tool: &penlog::TOOL },
    Personality { main: |argv0, args| penlogd::main(argv0, args), tool: &penlogd::TOOL },
    Personality { main: |argv0, args| webresolve::main(argv0, args), tool: &webresolve::TOOL },
    Personality { main: |argv0, args| webresolve::main(argv0, args), tool: &webresolve::SPLITWR },
    Personality { main: |argv0, args| dwatch::main(argv0, args), tool: &dwatch::TOOL },
];

/// The program of that name, if there is one here. `name` may be a path.
pub fn find(name: &str) -> Option<&'static Personality> {
    let name = called_as(name);
    PERSONALITIES.iter().find(|p| p.tool.name == name)
}

/// Runs the program that the first word names, or else the second.
pub fn dispatch(words: impl Iterator<Item = OsString>) -> ExitCode {
    let mut words = words;
    for _ in 0..2 {
        let Some(word) = words.next() else { break };
        let word = word.to_string_lossy();
        if let Some(personality) = find(&word) {
            return (personality.main)(&word, &mut words);
        }
    }
    let names: Vec<&str> = PERSONALITIES.iter().map(|p| p.tool.name).collect();
    complain(&format!("logtools: name one of the tools: {}", names.join(", ")));
    ExitCode::from(2)
}

/// The manual pages: name and roff.
pub fn manual_pages() -> Vec<(&'static str, String)> {
    PERSONALITIES.iter().map(|p| (p.tool.name, p.tool.man())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_as_it_was() {
        for personality in PERSONALITIES {
            insta::assert_snapshot!(personality.tool.name, personality.tool.help());
        }
    }

    #[test]
    fn programs_are_found_by_name_and_path() {
        assert!(find("/usr/bin/mergelogs").is_some() && find("splitwr").is_some());
        assert!(find("pen").is_none() && find("").is_none());
    }
}
