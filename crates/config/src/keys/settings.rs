//! Reads the values of options, by the parsers of the options.

use super::options;
use crate::Config;
use crate::native::NativeArgs;
use crate::operand::Services;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, FromArgMatches};
use std::error::Error;

/// What is wrong with one of the values given to [`SettingsParser::read`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Fault {
    /// The position of the value in what was given.
    pub at: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with the value of an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The option's parser refuses the value; the text says why.
    #[error("{0}")]
    Value(String),
    /// The value is not one of the words of a [`Choice`](super::Shape::Choice).
    #[error("must be one of {}", .0.join(", "))]
    Word(Vec<String>),
    /// The key has no effect without this other one.
    #[error("has no effect without `{0}`")]
    Needs(String),
    /// The key contradicts this other one.
    #[error("cannot be combined with `{0}`")]
    Conflicts(String),
}

/// Reads the values of options. Making one costs more than reading does.
#[derive(Debug)]
pub struct SettingsParser {
    options: Command,
}

impl Default for SettingsParser {
    fn default() -> Self {
        Self { options: options() }
    }
}

impl SettingsParser {
    /// The configuration that these options mean, with its default for each other option. Each is a
    /// [`Key`](super::Key) with an option, and the text of its value.
    ///
    /// - A flag that is true has no text; one that is false is left out.
    /// - `access` and `accept-proxy` may occur several times, with one entry (`allow 10.0.0.0/8`) each;
    ///   all the other keys only once, so defaults must have been replaced.
    ///
    /// The result has one listener and one pool, whose addresses, names and backends are placeholders:
    /// the reader puts its own in their place. The keys of a [`Place`](super::Place) have set the
    /// fields of the listener, the pool or the process; a backend takes its `access` from the pool.
    /// `default_port` is for a `reject` without a port.
    ///
    /// # Errors
    /// All faults at once.
    pub fn read(
        &mut self,
        values: &[(&str, Option<&str>)],
        default_port: Option<u16>,
        services: Services<'_>,
    ) -> Result<Config, Vec<Fault>> {
        let words: Vec<_> = values.iter().map(|(key, text)| word(key, *text)).collect();
        let known: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
        let mut args = match self.parse(&known) {
            Ok(args) if known.len() == words.len() => args,
            other => return Err(self.faults(&words, other.err())),
        };
        args.listen = Some(default_port.map_or_else(|| UNIX.to_owned(), |port| port.to_string()));
        args.to_config(services).map_err(|error| {
            let at = values.iter().position(|(key, _)| *key == "reject").unwrap_or(0);
            vec![Fault { at, problem: Problem::Value(error.to_string()) }]
        })
    }

    fn parse(&mut self, words: &[&str]) -> Result<NativeArgs, clap::Error> {
        let matches = self.options.try_get_matches_from_mut(words.iter().chain(&OPERANDS))?;
        NativeArgs::from_arg_matches(&matches)
    }

    /// What is wrong with each word by itself; if nothing is, what is wrong with them together.
    fn faults(&mut self, words: &[Option<String>], together: Option<clap::Error>) -> Vec<Fault> {
        let mut alone = |word: &Option<String>| match word {
            Some(word) => self.parse(&[word]).err().and_then(|error| alone(&error)),
            None => Some(Problem::Value(ACCESS.to_owned())),
        };
        let problems = words.iter().map(&mut alone).enumerate();
        let faults: Vec<_> =
            problems.filter_map(|(at, problem)| Some(Fault { at, problem: problem? })).collect();
        match together {
            Some(error) if faults.is_empty() => self.relations(words, &error),
            _ => faults,
        }
    }

    /// Which of the words need or exclude another.
    fn relations(&mut self, words: &[Option<String>], error: &clap::Error) -> Vec<Fault> {
        let named = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => vec![option_name(text).to_owned()],
            Some(ContextValue::Strings(all)) => {
                all.iter().map(|it| option_name(it).to_owned()).collect()
            }
            _ => Vec::new(),
        };
        let place = |name: &str| {
            words.iter().flatten().position(|word| option_name(word) == name).unwrap_or(0)
        };
        if error.kind() == ErrorKind::ArgumentConflict {
            let pairs =
                named(ContextKind::InvalidArg).into_iter().zip(named(ContextKind::PriorArg));
            return pairs
                .map(|(one, other)| Fault { at: place(&one), problem: Problem::Conflicts(other) })
                .collect();
        }
        let missing = named(ContextKind::InvalidArg);
        let mut needs = |word: &String| {
            let error = self.parse(&[word]).err()?;
            let Some(ContextValue::Strings(all)) = error.get(ContextKind::InvalidArg) else {
                return None;
            };
            all.iter()
                .map(|it| option_name(it))
                .find(|it| missing.iter().any(|name| name == it))
                .map(str::to_owned)
        };
        let all = words.iter().flatten().enumerate();
        all.filter_map(|(at, word)| Some(Fault { at, problem: Problem::Needs(needs(word)?) }))
            .collect()
    }
}

/// A key as a word of the command line; `None` for an entry of an access list that neither allows
/// nor denies.
fn word(key: &str, text: Option<&str>) -> Option<String> {
    match text {
        Some(text) if key == "access" => {
            let (verdict, clients) = text.split_once(' ')?;
            let is_verdict = matches!(verdict, "allow" | "deny");
            is_verdict.then(|| format!("--{verdict}={}", clients.trim_start()))
        }
        Some(text) => Some(format!("--{key}={text}")),
        None => Some(format!("--{key}")),
    }
}

/// What is wrong with a single word, whatever the others are.
fn alone(error: &clap::Error) -> Option<Problem> {
    match error.kind() {
        ErrorKind::MissingRequiredArgument => None,
        ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(words)) if !words.is_empty() => {
                Some(Problem::Word(words.clone()))
            }
            _ => Some(Problem::Value("must not be empty".to_owned())),
        },
        _ => {
            let cause = error.source().map(ToString::to_string);
            Some(Problem::Value(cause.unwrap_or_else(|| error.kind().to_string())))
        }
    }
}

/// `name` of `--name`, `--name=value` and `--name <VALUE>`.
fn option_name(word: &str) -> &str {
    let name = word.strip_prefix("--").unwrap_or(word);
    name.split(['=', ' ']).next().unwrap_or(name)
}

const ACCESS: &str = "must be \"allow CLIENTS\" or \"deny CLIENTS\", as in \"deny 10.0.0.0/8\"";
/// What the start form needs besides options.
const OPERANDS: [&str; 2] = ["1", "placeholder:1"];
/// A listening address without a port.
const UNIX: &str = "unix:/placeholder";
