//! `evenkeel upgrade`: starts this program as a running instance was started, in its place.

use crate::ctl::{self, Failure, choose};
use crate::output::complain;
use config::ExitStatus;
use config::environment::{EVENKEEL_TAKE_OVER, EVENKEEL_TAKE_OVER_GUARD};
use config::native::{ReloadArgs, UpgradeArgs, WhichInstance};
use control::{Client, Invocation, hand_over_path, limit_steps};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Upgrades an instance. Returns only if that fails: otherwise this process becomes the new one, whose
/// first process exits when the sessions have moved.
pub fn upgrade(args: &UpgradeArgs) -> ExitCode {
    begin(&args.which, args.config.as_deref(), args.watch.map(|it| it.0))
}

/// Reloads the configuration file of an instance that is this very program, and upgrades any other.
pub fn reload_or_upgrade(args: &ReloadArgs) -> ExitCode {
    let own = Invocation::own().program;
    let running = choose(&args.which).ok().and_then(|client| client.invocation().ok());
    match running.is_some_and(|it| it.program != own) {
        true => begin(&args.which, None, None),
        false => ctl::reload(args),
    }
}

fn begin(which: &WhichInstance, file: Option<&Path>, watch: Option<Duration>) -> ExitCode {
    let client = match choose(which) {
        Ok(client) => client,
        Err(failure) => return failure.report("evenkeel upgrade"),
    };
    let running = match client.invocation() {
        Ok(running) => running,
        Err(error) => return Failure::from(error).report("evenkeel upgrade"),
    };
    let error = start(&client, running, file, watch);
    complain(&format!("evenkeel upgrade: cannot start the new process: {error}"));
    ExitStatus::Failure.into()
}

/// Becomes the new process. Returns the reason if that fails.
fn start(
    client: &Client,
    running: Invocation,
    file: Option<&Path>,
    watch: Option<Duration>,
) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut words = running.words.into_iter();
    let name = words.next().unwrap_or_else(|| "evenkeel".into());
    let words: Vec<OsString> = match file.map(std::path::absolute) {
        Some(Ok(file)) => vec!["run".into(), file.into()],
        Some(Err(error)) => return error,
        None => words.collect(),
    };
    let name = if file.is_some() { "evenkeel".into() } else { name };
    let mut command = Command::new(program);
    command.arg0(name).args(words).current_dir(running.directory);
    command.env_clear().envs(running.environment);
    command.env(EVENKEEL_TAKE_OVER.name, hand_over_path(client.path()));
    if let Some(watch) = watch {
        command.env(EVENKEEL_TAKE_OVER_GUARD.name, watch.as_millis().to_string());
    }
    limit_steps();
    command.exec()
}
