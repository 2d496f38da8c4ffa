//! One table per tool, from which its command line is read and its help and manual page are written.
//!
//! The classics' grammars (single letters, clusters, options after operands, `--`) and the long
//! options that are ours go through the same table, so that neither help nor manual can be stale.
//! What an option *means* is decided by each tool; this module knows only names and values.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use strsim::osa_distance;

use crate::output::{complain, print};

/// One option: how it is spelled, what it takes and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The classic's letter; a blank when there is only the long name.
    pub short: char,
    /// The long name, also the name under which [`Args`] finds it.
    pub long: &'static str,
    /// What stands for the value in the help; empty for a switch.
    pub value: &'static str,
    /// One or more sentences for help and manual.
    pub help: &'static str,
}

/// Shorthand for a row of the table.
pub const fn opt(short: char, long: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { short, long, value, help }
}

/// Everything that help and manual page say about one program.
#[derive(Debug)]
pub struct Tool {
    /// The program's name.
    pub name: &'static str,
    /// What it does, in one line without a full stop.
    pub about: &'static str,
    /// The command lines it takes, without the program's name.
    pub synopsis: &'static [&'static str],
    /// What it does, at length.
    pub description: &'static str,
    /// Its options, in the order of the help.
    pub options: &'static [Opt],
    /// Further sections of the manual page: heading and text.
    pub sections: &'static [(&'static str, &'static str)],
}

/// A command line that does not fit the table. Status 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The command line, split by the table.
#[derive(Debug, Default)]
pub struct Args {
    options: Vec<(&'static str, OsString)>,
    /// What is not an option, in order.
    pub operands: Vec<OsString>,
}

impl Tool {
    /// Splits a command line (without the program's name) by the table.
    ///
    /// Options may stand after operands; `--` ends them. `-h`, `--help`, `-V` and `--version`
    /// are found as `help` and `version` with every tool.
    pub fn parse(&self, args: impl IntoIterator<Item = OsString>) -> Result<Args, UsageError> {
        let usage = |error: lexopt::Error| UsageError(error.to_string());
        let mut parsed = Args::default();
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next().map_err(usage)? {
            let known = match arg {
                lexopt::Arg::Value(value) => {
                    parsed.operands.push(value);
                    continue;
                }
                lexopt::Arg::Short(letter) => self
                    .known()
                    .find(|o| o.short == letter)
                    .ok_or_else(|| UsageError(format!("unknown option '-{letter}'")))?,
                lexopt::Arg::Long(name) => {
                    let name = name.to_owned();
                    self.known().find(|o| o.long == name).ok_or_else(|| self.unknown(&name))?
                }
            };
            let value = if known.value.is_empty() {
                OsString::new()
            } else {
                parser.value().map_err(usage)?
            };
            parsed.options.push((known.long, value));
        }
        Ok(parsed)
    }

    /// The help: what `--help` prints.
    pub fn help(&self) -> String {
        let mut text = format!("{} - {}\n\n", self.name, self.about);
        for (i, line) in self.synopsis.iter().enumerate() {
            let lead = if i == 0 { "Usage:" } else { "      " };
            let _ = writeln!(text, "{lead} {} {line}", self.name);
        }
        text.push_str("\nOptions:\n");
        for o in self.known() {
            let _ = writeln!(text, "{}", heading(o));
            for line in wrap(o.help, 70) {
                let _ = writeln!(text, "          {line}");
            }
        }
        text
    }

    /// The manual page in section 1, as roff.
    pub fn man(&self) -> String {
        let mut page = format!(
            ".TH {} 1 \"\" \"Evenkeel {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
            self.name.to_uppercase(),
            env!("CARGO_PKG_VERSION"),
            self.name,
            roff(self.about)
        );
        for line in self.synopsis {
            let _ = writeln!(page, ".B {}\n{}\n.br", self.name, roff(line));
        }
        page.push_str(".SH DESCRIPTION\n");
        paragraphs(&mut page, self.description);
        page.push_str(".SH OPTIONS\n");
        for o in self.known() {
            let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", roff(heading(o).trim()), roff(o.help));
        }
        for (heading, text) in self.sections {
            let _ = writeln!(page, ".SH {}", heading.to_uppercase());
            paragraphs(&mut page, text);
        }
        page
    }

    /// Does what every tool does first: splits the command line and answers `--help` and
    /// `--version`. Otherwise runs `program` with the name it was called by.
    pub fn run(
        &self,
        argv0: &str,
        args: impl IntoIterator<Item = OsString>,
        program: impl FnOnce(&str, &Args) -> Result<ExitCode, UsageError>,
    ) -> ExitCode {
        let name = called_as(argv0);
        let done = self.parse(args).and_then(|args| match self.answer(&args) {
            Some(text) => Ok(print(name, &text)),
            None => program(name, &args),
        });
        done.unwrap_or_else(|error| {
            complain(&format!("{name}: {error}\n{name}: try '{name} --help'"));
            ExitCode::from(2)
        })
    }

    /// What to print for `--help` and `--version`; `None` when neither was given.
    fn answer(&self, args: &Args) -> Option<String> {
        if args.has("help") {
            Some(self.help())
        } else if args.has("version") {
            Some(format!("{} (Evenkeel) {}\n", self.name, env!("CARGO_PKG_VERSION")))
        } else {
            None
        }
    }

    /// Its options, and those that every tool has.
    pub fn known(&self) -> impl Iterator<Item = &Opt> {
        self.options.iter().chain(COMMON)
    }

    fn unknown(&self, name: &str) -> UsageError {
        let near = self
            .known()
            .map(|o| (osa_distance(name, o.long), o.long))
            .filter(|&(d, long)| d <= 2.max(long.len() / 3))
            .min();
        UsageError(match near {
            Some((_, long)) => format!("unknown option '--{name}'; did you mean '--{long}'?"),
            None => format!("unknown option '--{name}'"),
        })
    }
}

impl Args {
    /// Whether the option was given.
    pub fn has(&self, long: &str) -> bool {
        self.count(long) > 0
    }

    /// How often the option was given.
    pub fn count(&self, long: &str) -> usize {
        self.options.iter().filter(|(name, _)| *name == long).count()
    }

    /// The long names of all options that were given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.options.iter().map(|(name, _)| *name)
    }

    /// The value given last.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.options.iter().rev().find(|(name, _)| *name == long).map(|(_, v)| v.as_os_str())
    }

    /// All values given, in order.
    pub fn values(&self, long: &str) -> impl Iterator<Item = &OsStr> {
        self.options.iter().filter(move |(name, _)| *name == long).map(|(_, v)| v.as_os_str())
    }

    /// The value as a `T`, `what` saying in the error what would have been one.
    pub fn parse<T: FromStr>(&self, long: &str, what: &str) -> Result<Option<T>, UsageError> {
        let Some(value) = self.value(long) else { return Ok(None) };
        let parsed = value.to_str().and_then(|text| text.trim().parse().ok());
        parsed.map(Some).ok_or_else(|| {
            let value = value.to_string_lossy();
            UsageError(format!("'{value}' is no value for --{long}: {what} expected"))
        })
    }

    /// The value as a duration: `500ms`, `2s`, `10m`, `1h`, `7d`, or a bare number of seconds.
    pub fn duration(&self, long: &str) -> Result<Option<Duration>, UsageError> {
        let value = self.parse::<Span>(long, "a duration such as 500ms, 2s or 10m")?;
        Ok(value.map(|span| span.0))
    }

    /// As [`duration`](Self::duration) with a sign: whether a minus stands before the value, and
    /// the duration.
    pub fn signed_duration(&self, long: &str) -> Result<Option<(bool, Duration)>, UsageError> {
        let value = self.parse::<SignedSpan>(long, "a duration such as 90s, 2h or -5400")?;
        Ok(value.map(|SignedSpan(is_negative, span)| (is_negative, span.0)))
    }
}

/// A duration in the words that all of Evenkeel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A duration, and whether a minus stands before it.
struct SignedSpan(bool, Span);

impl FromStr for SignedSpan {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<Self, UsageError> {
        match text.strip_prefix('-') {
            Some(rest) => Ok(Self(true, rest.parse()?)),
            None => Ok(Self(false, text.parse()?)),
        }
    }
}

impl FromStr for Span {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<Self, UsageError> {
        let bad = || UsageError(format!("'{text}' is no duration such as 500ms, 2s or 10m"));
        let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(bad()),
        };
        let seconds = number.trim().parse::<f64>().map_err(|_| bad())? * factor;
        Duration::try_from_secs_f64(seconds).map(Span).map_err(|_| bad())
    }
}

/// The program's name as the user called it: the last part of `argv0`.
pub fn called_as(argv0: &str) -> &str {
    argv0.rsplit('/').next().unwrap_or(argv0)
}

const COMMON: &[Opt] = &[
    opt('h', "help", "", "Print this help and exit."),
    opt('V', "version", "", "Print the version and exit."),
];

fn heading(o: &Opt) -> String {
    let short = if o.short == ' ' { "    ".to_owned() } else { format!("-{}, ", o.short) };
    let value = if o.value.is_empty() { String::new() } else { format!(" {}", o.value) };
    format!("  {short}--{}{value}", o.long)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("never empty");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// Writes text as roff: blank lines part paragraphs, indented lines are shown as they are.
fn paragraphs(page: &mut String, text: &str) {
    let (mut verbatim, mut gap) = (false, false);
    for line in text.lines() {
        if line.is_empty() {
            gap = true;
            continue;
        }
        let indented = line.starts_with("    ");
        page.push_str(match (verbatim, indented) {
            (false, true) => ".PP\n.nf\n",
            (true, false) => ".fi\n.PP\n",
            (true, true) if gap => "\n",
            (false, false) if gap => ".PP\n",
            _ => "",
        });
        (verbatim, gap) = (indented, false);
        let _ = writeln!(page, "{}", roff(line));
    }
    if verbatim {
        page.push_str(".fi\n");
    }
}

fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "sample",
        about: "shows the table",
        synopsis: &["[-v] FILE"],
        description: "First.\n\n    sample -v x\n\nLast.",
        options: &[opt('v', "verbose", "", "Say more."), opt('j', "window", "N", "How far.")],
        sections: &[("exit status", "0.")],
    };

    fn parse(line: &str) -> Result<Args, UsageError> {
        TOOL.parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_may_follow_operands_and_cluster() {
        let args = parse("a -vj5 b --window=7 -- -v").unwrap();
        assert_eq!(args.operands, ["a", "b", "-v"]);
        assert_eq!(args.count("verbose"), 1);
        assert_eq!(args.parse::<u32>("window", "a number"), Ok(Some(7)));
        assert_eq!(args.values("window").count(), 2);
    }

    #[test]
    fn a_misspelt_option_is_named_with_the_nearest_known_one() {
        let error = parse("--windwo 3").unwrap_err();
        assert_eq!(error.0, "unknown option '--windwo'; did you mean '--window'?");
        assert_eq!(parse("-x").unwrap_err().0, "unknown option '-x'");
        assert!(parse("-j").unwrap_err().0.contains("-j"));
    }

    #[test]
    fn durations_have_units() {
        #[track_caller]
        fn check(text: &str, millis: Option<u128>) {
            assert_eq!(text.parse::<Span>().ok().map(|s| s.0.as_millis()), millis, "{text}");
        }
        check("500ms", Some(500));
        check("2s", Some(2_000));
        check("1.5", Some(1_500));
        check("10m", Some(600_000));
        check("7d", Some(604_800_000));
        check("-1", None);
        check("soon", None);
        check("", None);
        check("1e400", None);
    }

    #[test]
    fn help_and_manual_come_from_the_table() {
        let help = TOOL.help();
        assert!(help.contains("Usage: sample [-v] FILE"), "{help}");
        assert!(help.contains("-j, --window N"), "{help}");
        let man = TOOL.man();
        assert!(man.contains(".SH NAME\nsample \\- shows the table"), "{man}");
        assert!(man.contains("\\fB\\-j, \\-\\-window N\\fR\nHow far."), "{man}");
        assert!(man.contains(".nf\n    sample \\-v x\n"), "{man}");
        assert!(man.contains(".SH EXIT STATUS"), "{man}");
    }
}
