//! What both programs are told on their command lines.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// What to run, against which proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The proxy's command line with `{L}`, `{B1}` and `{B2}` for its ports.
    pub command: String,
    /// What the proxy shall find as its own name, for programs that go by it.
    pub argv0: Option<String>,
    /// Only cases whose name contains one of these; all when empty.
    pub only: Vec<String>,
    /// How often everything is run, at least once.
    pub rounds: u32,
    /// All time limits are multiplied by this: more than 1 for a slow machine.
    pub timeout_scale: f64,
    /// Whether the proxy's standard error is shown instead of thrown away.
    pub keep_stderr: bool,
    /// Whether backends pass over a line before the data: a header of the PROXY protocol, version 1.
    pub header_line: bool,
    /// Of real servers, whether one of the two is dead or dies ([`crate::servers`]).
    pub lose_one: bool,
    /// Whether servers and clients use `::1` instead of 127.0.0.1 ([`crate::datagrams`]).
    pub ipv6: bool,
    /// Whether a missing server program is a failure instead of a skipped case.
    pub require_all: bool,
}

impl Options {
    /// Everything once, with the usual time limits.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            argv0: None,
            only: Vec::new(),
            rounds: 1,
            timeout_scale: 1.0,
            keep_stderr: false,
            header_line: false,
            lose_one: false,
            ipv6: false,
            require_all: false,
        }
    }

    /// Where everything runs.
    pub fn host(&self) -> IpAddr {
        if self.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    /// Whether the case `name` shall run.
    pub fn is_chosen(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// `name` as reports call it in `round`, which is counted from 1.
    pub fn round_name(&self, name: &str, round: u32) -> String {
        if round == 1 { name.to_owned() } else { format!("{name}#{round}") }
    }
}

/// A command line of one of the programs.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// Run, and print the report as JSON if asked to.
    Run {
        /// What to run.
        options: Options,
        /// Whether the report is printed as one JSON object instead of lines.
        json: bool,
    },
    /// Print the names of the cases and what they ask.
    List,
    /// Print the usage.
    Help,
}

/// Why a command line makes no sense.
#[derive(Debug)]
pub struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

impl Arguments {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// An unknown option, a bad value, or no `--cmd`.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        use lexopt::prelude::*;
        let mut options = Options::new("");
        let mut json = false;
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Long("cmd") => options.command = parser.value()?.string()?,
                Long("argv0") => options.argv0 = Some(parser.value()?.string()?),
                Long("only") => options.only.push(parser.value()?.string()?),
                Long("rounds") => options.rounds = number(&mut parser, "rounds", |n| n >= 1)?,
                Long("timeout-scale") => {
                    let is_scale = |scale: f64| scale > 0.0 && scale <= 1000.0;
                    options.timeout_scale = number(&mut parser, "timeout-scale", is_scale)?;
                }
                Long("keep-stderr") => options.keep_stderr = true,
                Long("header-line") => options.header_line = true,
                Long("lose-one") => options.lose_one = true,
                Long("ipv6") => options.ipv6 = true,
                Long("require-all") => options.require_all = true,
                Long("json") => json = true,
                Long("list") => return Ok(Self::List),
                Short('h') | Long("help") => return Ok(Self::Help),
                other => return Err(other.unexpected().into()),
            }
        }
        if options.command.is_empty() {
            return Err(UsageError("--cmd 'PROXY {L} {B1} {B2}' is missing".to_owned()));
        }
        Ok(Self::Run { options, json })
    }
}

fn number<T: FromStr + Copy>(
    parser: &mut lexopt::Parser,
    name: &str,
    is_sensible: impl Fn(T) -> bool,
) -> Result<T, UsageError> {
    let text = lexopt::ValueExt::string(parser.value()?)?;
    let number = text.parse().ok().filter(|number| is_sensible(*number));
    number.ok_or_else(|| UsageError(format!("--{name} cannot be {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let args = line.split_whitespace().map(OsString::from);
        Arguments::parse(args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_command_line() {
        let expected = Options {
            argv0: Some("balance".to_owned()),
            only: vec!["a".to_owned(), "b".to_owned()],
            rounds: 3,
            timeout_scale: 0.5,
            keep_stderr: true,
            lose_one: true,
            ..Options::new("p")
        };
        let line = "--cmd p --argv0 balance --only a --only=b --rounds 3 --timeout-scale 0.5 \
                    --keep-stderr --lose-one --json";
        assert_eq!(parse(line), Ok(Arguments::Run { options: expected, json: true }));
        assert_eq!(parse("--list"), Ok(Arguments::List));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("", "--cmd"),
            ("--cmd p --rounds 0", "rounds"),
            ("--cmd p --timeout-scale nan", "timeout-scale"),
            ("--cmd p --frob", "frob"),
            ("--cmd", "cmd"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn a_part_of_a_name_chooses() {
        let mut options = Options::new("p");
        assert!(options.is_chosen("reset-by-client"));
        options.only = vec!["reset".to_owned()];
        assert!(options.is_chosen("reset-by-client"));
        assert!(!options.is_chosen("half-close"));
        assert_eq!(options.round_name("x", 1), "x");
        assert_eq!(options.round_name("x", 2), "x#2");
    }
}
