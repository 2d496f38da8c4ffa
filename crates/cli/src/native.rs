//! `evenkeel`: the native start form, and the way to its verbs.

use crate::{balance, ctl, demo, lossy, pen};
use anyhow::Context;
use clap::Parser;
use config::native::{Classic, NativeArgs, NativeCli, Verb, classic_words};
use config::{Bind, Config, ExitStatus, LogFormat};
use control::{LogReporter, Prepared, Setup, Signals, admin_socket_path};
use dataplane::Observe;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sys::process::service_port;
use telemetry::LineFormat;

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
    let cli = NativeCli::parse_from(std::iter::once(name).chain(words));
    match cli.verb {
        None => start(&cli.start),
        Some(Verb::Ctl(args)) => ctl::main(&args),
        Some(Verb::Status(args)) => ctl::status_page(&args),
        Some(Verb::Demo(args)) => report(demo::run(&args)),
        Some(Verb::Links { dir }) => report(links(&dir).map(|()| 0)),
        Some(Verb::Balance { words }) => balance::main("balance", &words, true),
        Some(Verb::Pen { words }) => pen::main("pen", &words, true),
        Some(Verb::Penctl { words }) => pen::penctl_main(&words),
    }
}

fn start(args: &NativeArgs) -> ExitCode {
    let config = match args.to_config(&service_port) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("evenkeel: {error}");
            return ExitCode::from(ExitStatus::Usage.code());
        }
    };
    if args.print_config {
        println!("{}", config.to_command_line());
        return ExitCode::SUCCESS;
    }
    report(serve(config))
}

/// Serves with the native log until the end.
pub fn serve(config: Config) -> anyhow::Result<u8> {
    let format = match config.process.log_format {
        LogFormat::Text => LineFormat::Text,
        LogFormat::Json => LineFormat::Json,
    };
    let admin = config.process.admin.clone().unwrap_or_else(|| admin_path(&config));
    let reporter = Box::new(LogReporter::new(format, config.process.daemon));
    let setup = Setup {
        config,
        admin,
        reporter,
        observe: Observe::default(),
        signals: Signals::Native,
        refuse_loops: true,
        companion: None,
    };
    Ok(Prepared::new(setup)?.run()?)
}

/// The admin socket's place when none is given: named after what is listened on, and after the
/// process where others may listen there too.
fn admin_path(config: &Config) -> PathBuf {
    let binds = config.listeners.iter().map(|listener| match &listener.bind {
        Bind::Tcp { host: None, port, .. } => port.to_string(),
        bind => bind.to_string(),
    });
    let name = format!("evenkeel.{}", binds.collect::<Vec<_>>().join(","));
    match config.listeners.iter().any(|listener| listener.shared_port) {
        true => admin_socket_path(&format!("{name}.{}", std::process::id())),
        false => admin_socket_path(&name),
    }
}

/// Makes links to this program under the names of the classics.
fn links(dir: &Path) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find out where this program is")?;
    let tools = logtools::PERSONALITIES.iter().map(|tool| tool.tool.name);
    for name in ["balance", "pen", "penctl"].into_iter().chain(tools) {
        let link = dir.join(name);
        if std::fs::read_link(&link).is_ok_and(|target| target == program) {
            println!("{} is there already", link.display());
            continue;
        }
        symlink(&program, &link).with_context(|| match link.symlink_metadata() {
            Ok(_) => {
                format!("{} is something else; remove it, or choose another DIR", link.display())
            }
            Err(_) => format!("cannot make {}", link.display()),
        })?;
        println!("{} -> {}", link.display(), program.display());
    }
    Ok(())
}

/// Prints an error with its causes; maps it to the status of failures.
pub fn report(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("evenkeel: {error:#}");
            ExitCode::from(ExitStatus::Failure.code())
        }
    }
}
