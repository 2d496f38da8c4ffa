//! `evenkeel`: the native start form, and the way to its verbs.

use crate::install::{install, links};
use crate::output::{OutputError, complain, finish};
use crate::serve::{report, serve};
use crate::{
    PERSONALITIES, Personality, check, config_file, ctl, demo, diff, engine_clear, run, top,
    upgrade,
};
use config::ExitStatus;
use config::native::{Start, Typed, Verb, command_tree, parse};
use control::ServiceManager;
use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::process::ExitCode;
use strsim::osa_distance;
use sys::process::service_port;

/// Runs `evenkeel` with these words.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let mut rest = words.iter();
    let first = rest.next().and_then(|word| word.to_str());
    if let Some(personality) = first.and_then(Personality::find) {
        return personality.run(personality.name, rest.as_slice(), true);
    }
    if first == Some("ctl") && rest.as_slice().first().is_some_and(|word| word == "help") {
        return help([&words[..1], &words[2..]].concat());
    }
    let verb = match parse(&words) {
        Ok(Typed::Start(typed)) => return start(typed, first),
        Ok(Typed::Verb(verb)) => verb,
        // Only help names the personalities; a start does without them.
        Err(error) => {
            let all = std::iter::once(OsString::from("evenkeel")).chain(words.iter().cloned());
            let has_several_services = words.iter().any(|word| word == "--");
            let error = match has_several_services {
                true => error,
                false => tree().try_get_matches_from(all).err().unwrap_or(error),
            };
            return explain(&error, first);
        }
    };
    match verb {
        Verb::Help { words } => help(words),
        Verb::Version => main(vec!["--version".into()]),
        Verb::Ctl(args) => ctl::main(&args),
        Verb::Status(args) => ctl::status_page(&args),
        Verb::Top(args) => top::main(&args),
        Verb::Ready(args) => ctl::ready(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Reload(args) if args.or_upgrade => upgrade::reload_or_upgrade(&args),
        Verb::Reload(args) => ctl::reload(&args),
        Verb::Upgrade(args) => upgrade::upgrade(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Diff(args) => diff::diff(&args),
        Verb::Fmt(args) => config_file::format(&args),
        Verb::Schema => {
            let text = format!("{:#}\n", config::keys::schema());
            finish("evenkeel", &text, ExitStatus::Success)
        }
        Verb::EngineClear(args) => engine_clear::engine_clear(&args),
        Verb::Demo(args) => report(demo::run(&args)),
        Verb::Links { dir } => report(links(&dir).map(|()| 0)),
        Verb::Install { prefix } => report(install(&prefix).map(|()| 0)),
    }
}

/// The whole command line of `evenkeel`, with a verb for each personality.
pub fn tree() -> clap::Command {
    command_tree().subcommands(PERSONALITIES.iter().map(Personality::command))
}

/// Prints the help of a verb, also of one of `ctl`'s without that word, or of all of them.
fn help(mut words: Vec<OsString>) -> ExitCode {
    let first = words.first().map(|word| word.to_string_lossy().into_owned());
    if let Some(word) = first.filter(|word| !word.starts_with('-')) {
        match near_verb(&word) {
            Some(verb) if verb.edits == 0 && verb.is_of_ctl => words.insert(0, "ctl".into()),
            Some(verb) if verb.edits == 0 => {}
            near => {
                complain(&no_verb(&word, near.as_ref()));
                return ExitStatus::Usage.code().into();
            }
        }
    }
    words.push("--help".into());
    main(words)
}

/// Prints help, the version or what is wrong with the command line, and returns the exit code.
fn explain(error: &clap::Error, first: Option<&str>) -> ExitCode {
    if let Some(message) = first.and_then(misspelt_verb).filter(|_| error.use_stderr()) {
        complain(&message);
    } else if let Err(cause) = error.print() {
        return OutputError::from(cause).report("evenkeel").into();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitStatus::Usage.code()))
}

/// The message if the first word is nearly a verb, or one of `ctl`, and is not a listening address.
fn misspelt_verb(word: &str) -> Option<String> {
    let is_bare = word.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '-');
    if !is_bare || word.starts_with('-') || service_port(word).is_some() {
        return None;
    }
    let near = near_verb(word).filter(|verb| verb.edits > 0 || verb.is_of_ctl)?;
    Some(no_verb(word, Some(&near)))
}

fn no_verb(word: &str, near: Option<&NearVerb>) -> String {
    let cure = near.map_or_else(|| ".".into(), |verb| format!("; did you mean '{verb}'?"));
    format!("evenkeel: there is no verb '{word}'{cure} See `evenkeel help`.")
}

/// A verb that a word may have meant. The best one is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NearVerb {
    edits: usize,
    is_of_ctl: bool,
    name: String,
}

impl Display for NearVerb {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_of_ctl { "ctl " } else { "" };
        write!(f, "{prefix}{}", self.name)
    }
}

/// The verb, or verb of `ctl`, that is most like a word, if they differ in few letters.
fn near_verb(word: &str) -> Option<NearVerb> {
    let tree = tree();
    let of_ctl = tree.find_subcommand("ctl").into_iter().flat_map(clap::Command::get_subcommands);
    let verbs = tree.get_subcommands().map(|verb| (false, verb));
    let rated = verbs.chain(of_ctl.map(|verb| (true, verb))).map(|(is_of_ctl, verb)| {
        let name = verb.get_name();
        NearVerb { edits: osa_distance(word, name), is_of_ctl, name: name.to_owned() }
    });
    rated.min().filter(|verb| verb.edits <= word.len().min(verb.name.len()) / 3)
}

fn start(typed: Start, first: Option<&str>) -> ExitCode {
    let config = match typed.to_config(&service_port) {
        Ok(config) => config,
        Err(error) => {
            complain(
                &first.and_then(misspelt_verb).unwrap_or_else(|| format!("evenkeel: {error}")),
            );
            return ExitCode::from(ExitStatus::Usage.code());
        }
    };
    if let Some(form) = typed.print_config() {
        return finish("evenkeel", &config.printed(form), ExitStatus::Success);
    }
    drop(typed); // the process may serve for years
    let manager = ServiceManager::from_environment(config.process.daemon);
    report(manager.map_err(Into::into).and_then(|manager| serve(config, manager, None)))
}
