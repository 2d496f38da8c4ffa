//! pen's command line, commands, answers and files, a line per case.

mod arguments;
mod commands;
mod meaning;
mod script;
mod texts;

use super::replies::*;
use super::*;
use balancing::{Client, FailoverScope, Policy};
use config::operand::Services;
use config::{Config, Host};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;
use terms::Source;

const SERVICES: Services<'static> = &|name| match name {
    "smtp" => Some(25),
    "http" => Some(80),
    _ => None,
};
const NAMES: Names<'static> = Names {
    hosts: &|name| match name {
        "localhost" => Some(Host::Address(IpAddr::from([127, 0, 0, 1]))),
        "six" => Some(Host::Address("2001:db8::6".parse().unwrap())),
        "kept" => Some(Host::Name("kept".to_owned())),
        _ => None,
    },
    services: SERVICES,
};

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| if word == "''" { "" } else { word }).collect()
}

/// Starts as the program does; commands are run in their place.
fn start(line: &str) -> Result<PenSettings, PenError> {
    let args = PenArgs::parse("pen", &words(line))?;
    let mut settings = PenSettings::new(&args, |settings, line| {
        run(settings, line);
    });
    let servers = settings.take_listener(&args.operands, NAMES)?;
    settings.take_servers(servers, NAMES)?;
    Ok(settings)
}

/// Runs a command as the program does, and gives what is answered.
fn run(settings: &mut PenSettings, line: &str) -> (String, Vec<String>, Vec<Effect>) {
    let Applied { reply, diagnostics, effects } =
        settings.apply(&PenCommand::parse(line.as_bytes()), NAMES);
    let mut text = reply;
    for effect in &effects {
        match effect {
            Effect::Listen(listen) => text += &settings.set_listen(listen.clone()),
            Effect::Log(log) => text += &settings.set_log(log.clone()),
            Effect::Show(Show::Servers) => text += &servers(settings, &[]),
            _ => {}
        }
    }
    (text, diagnostics, effects)
}

/// Shows what a command line listens on and its servers, or its complaint and status.
#[track_caller]
fn check(line: &str, expected: &str) {
    let seen = match start(line) {
        Ok(settings) => {
            let servers = server_table(&settings)[1..].join(" |");
            format!("{} ->{servers}", settings.to_config().listeners[0].bound_to())
        }
        Err(error) => {
            let usage = if error.stdout().is_some() { " USAGE" } else { "" };
            format!("{}: {error}{usage}", error.exit_status().code())
        }
    };
    assert_eq!(seen, expected, "for {line:?}");
}

/// Commands one after the other, and the answer to the last one.
#[track_caller]
fn ask(lines: &str, expected: &str) {
    let mut settings = start("127.0.0.1:80 127.0.0.1:81").unwrap();
    let answer = lines.split(';').map(|line| run(&mut settings, line).0).last().unwrap();
    assert_eq!(answer, expected, "for {lines:?}");
}

/// Commands one after the other, and what the last one puts into the log.
#[track_caller]
fn complain(lines: &str, expected: &str) {
    let mut settings = start("127.0.0.1:80 127.0.0.1:81").unwrap();
    let said = lines.split(';').map(|line| run(&mut settings, line).1).last().unwrap();
    assert_eq!(said.join(" / "), expected, "for {lines:?}");
}
