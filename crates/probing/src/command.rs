//! A program that says how a backend is.

use crate::text::{Value, shown};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A program with its arguments. There is no shell in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    program: String,
    arguments: Vec<String>,
}

/// The maximum number of arguments.
const ARGUMENTS_MAX: usize = 64;

impl Command {
    /// A program, by its full path. The error says what is wrong.
    pub(crate) fn new(program: Vec<u8>, arguments: Vec<Vec<u8>>) -> Result<Self, String> {
        if arguments.len() > ARGUMENTS_MAX {
            return Err(format!("a command has at most {ARGUMENTS_MAX} arguments"));
        }
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).ok().filter(|it| !it.contains('\0'));
            let what = "the words of a command must be UTF-8, without zero bytes";
            text.ok_or_else(|| what.to_owned())
        };
        let arguments = arguments.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok(Self { program: text(program)?, arguments })
    }

    /// The full path of the program.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// What it is called with.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }
}

/// As it is read.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command:{}", Value(self.program.as_bytes()))?;
        self.arguments.iter().try_for_each(|it| write!(f, " arg={}", Value(it.as_bytes())))
    }
}

/// How a run of a command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It had not ended in time.
    Late,
}

impl Ending {
    /// Judges the probe by it.
    ///
    /// # Errors
    /// If the probe has not passed: why, with the first line that the program has printed.
    pub fn judge(self, output: &[u8]) -> Result<(), String> {
        let how = match self {
            Self::Status(0) => return Ok(()),
            Self::Status(status) => format!("exit status {status}"),
            Self::Signal(signal) => format!("ended by signal {signal}"),
            Self::Late => "did not end in time".to_owned(),
        };
        let mut lines = output.split(|it| *it == b'\n').map(<[u8]>::trim_ascii);
        Err(match lines.find(|it| !it.is_empty()) {
            Some(line) => format!("{how}: {}", shown(line)),
            None => how,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ending: Ending, output: &str, expected: Result<(), &str>) {
        assert_eq!(ending.judge(output.as_bytes()), expected.map_err(str::to_owned));
    }

    #[test]
    fn only_status_0_passes_and_the_first_line_is_the_reason() {
        check(Ending::Status(0), "all is lost", Ok(()));
        check(Ending::Status(1), "", Err("exit status 1"));
        check(Ending::Status(2), "\n \r\n lag 90 s\r\nmore\n", Err("exit status 2: lag 90 s"));
        check(Ending::Signal(11), "\u{1b}[31mred", Err("ended by signal 11: \\u{1b}[31mred"));
        check(Ending::Late, "\n", Err("did not end in time"));
        let reason = Ending::Status(1).judge(&[b'x'; 4096]).unwrap_err();
        assert_eq!(reason, format!("exit status 1: {}...", "x".repeat(100)));
    }
}
