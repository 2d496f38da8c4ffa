//! `evenkeel`: the native start form, and the way to its verbs.

use crate::output::{complain, finish};
use crate::serve::{report, serve};
use crate::{balance, ctl, demo, lossy, pen};
use anyhow::Context;
use clap::Parser;
use config::ExitStatus;
use config::native::{Classic, NativeArgs, NativeCli, Verb, classic_words, command_tree};
use logtools::options::distance;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;
use sys::process::service_port;

/// Runs `evenkeel` with these words.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let classic = lossy(&words);
    match classic_words(&classic) {
        Some((Classic::Balance, words)) => return balance::main("balance", words, true),
        Some((Classic::Pen, words)) => return pen::main("pen", words, true),
        Some((Classic::Penctl, words)) => return pen::penctl_main(words),
        None => {}
    }
    if let Some(tool) = classic.first().and_then(|word| logtools::find(word)) {
        return (tool.main)(&classic[0], &mut words.into_iter().skip(1));
    }
    let name = OsString::from("evenkeel");
    let cli = match NativeCli::try_parse_from(std::iter::once(name).chain(words)) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, &classic),
    };
    match cli.verb {
        None => start(&cli.start, &classic),
        Some(Verb::Help { words }) => main(words.into_iter().chain(["--help".into()]).collect()),
        Some(Verb::Version) => main(vec!["--version".into()]),
        Some(Verb::Ctl(args)) => ctl::main(&args),
        Some(Verb::Status(args)) => ctl::status_page(&args),
        Some(Verb::Demo(args)) => report(demo::run(&args)),
        Some(Verb::Links { dir }) => report(links(&dir).map(|()| 0)),
        Some(Verb::Balance { words }) => balance::main("balance", &words, true),
        Some(Verb::Pen { words }) => pen::main("pen", &words, true),
        Some(Verb::Penctl { words }) => pen::penctl_main(&words),
    }
}

/// Prints help, the version or what is wrong with `words`, and returns the exit code.
fn explain(error: &clap::Error, words: &[String]) -> ExitCode {
    match misspelt_verb(words) {
        Some(message) if error.use_stderr() => complain(&message),
        _ if error.print().is_err() => return ExitStatus::Failure.into(),
        _ => {}
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitStatus::Usage.code()))
}

/// What to say if the first word is nearly a verb and cannot be listened on.
fn misspelt_verb(words: &[String]) -> Option<String> {
    let word = words.first()?;
    let is_bare = word.chars().all(|letter| letter.is_ascii_alphabetic() || letter == '-');
    if !is_bare || word.starts_with('-') || service_port(word).is_some() {
        return None;
    }
    let tree = command_tree();
    let verbs = tree.get_subcommands().map(clap::Command::get_name);
    let tools = logtools::PERSONALITIES.iter().map(|tool| tool.tool.name);
    let near = verbs.chain(tools).map(|verb| (distance(word, verb), verb)).min()?;
    let is_near = near.0 > 0 && near.0 <= word.len().min(near.1.len()) / 3;
    is_near.then(|| {
        format!(
            "evenkeel: there is no verb '{word}'; did you mean '{}'? See `evenkeel help`.",
            near.1
        )
    })
}

fn start(args: &NativeArgs, words: &[String]) -> ExitCode {
    let config = match args.to_config(&service_port) {
        Ok(config) => config,
        Err(error) => {
            complain(&misspelt_verb(words).unwrap_or_else(|| format!("evenkeel: {error}")));
            return ExitCode::from(ExitStatus::Usage.code());
        }
    };
    if args.print_config {
        let line = format!("{}\n", config.to_command_line());
        return finish("evenkeel", &line, ExitStatus::Success);
    }
    report(serve(config))
}

/// Makes links to this program under the names of the classics.
fn links(dir: &Path) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let tools = logtools::PERSONALITIES.iter().map(|tool| tool.tool.name);
    for name in ["balance", "pen", "penctl"].into_iter().chain(tools) {
        let link = dir.join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == program) {
            println!("{} already exists", link.display());
            continue;
        }
        symlink(&program, &link).with_context(|| match link.symlink_metadata() {
            Ok(_) => {
                format!(
                    "{} exists and is not such a link; remove it, or choose another DIR",
                    link.display()
                )
            }
            Err(_) => format!("cannot create {}", link.display()),
        })?;
        println!("{} -> {}", link.display(), program.display());
    }
    Ok(())
}
