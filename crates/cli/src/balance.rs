//! `balance`: parse, convert, run, and map errors to the original's words and statuses.

mod reporter;
mod shell;

use crate::output::{OutputError, complain, print};
use classics::balance::{
    BalanceArgs, BalanceError, BalanceProxy, Instance, Mode, debug, resolve, take_print_config,
};
use config::{Bind, Config, Family, PrintForm};
use control::{
    Exit, Prepared, ServiceManager, Setup, Signals, StartError, admin_socket_path, can_listen,
    first_ipv4,
};
use dataplane::Observe;
use reporter::BalanceReporter;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use sys::errors::reason;
use sys::process::{Directory, service_port};
use tokio::signal::unix::SignalKind;

/// Runs balance(1). After `evenkeel`, the word `--print-config` is understood too.
pub fn main(argv0: &str, mut words: &[String], after_evenkeel: bool) -> ExitCode {
    let print = if after_evenkeel { take_print_config(&mut words) } else { None };
    match run(argv0, words, print) {
        Ok(status) => ExitCode::from(status),
        Err(Failure::Balance(error)) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_status().code())
        }
        Err(Failure::Output(error)) => ExitCode::from(error.report("balance").code()),
    }
}

/// Why balance did not start.
enum Failure {
    Balance(BalanceError),
    Output(OutputError),
}

impl From<BalanceError> for Failure {
    fn from(error: BalanceError) -> Self {
        Self::Balance(error)
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

fn run(argv0: &str, words: &[String], form: Option<PrintForm>) -> Result<u8, Failure> {
    let args = BalanceArgs::parse(argv0, words)?;
    if args.debug {
        print(&debug::banner(argv0, args.bind_text.as_deref()))?;
    }
    let mode = args.mode(&service_port)?;
    if args.debug {
        let (Mode::Proxy(BalanceProxy { instance, .. })
        | Mode::Shell(instance)
        | Mode::OneShot { instance, .. }) = &mode;
        complain(&debug::source_port(instance.port));
    }
    match mode {
        Mode::Proxy(proxy) => match form {
            Some(form) => {
                print(&printed(&proxy, form)?)?;
                Ok(0)
            }
            None => Ok(serve(&proxy)?),
        },
        Mode::Shell(instance) => Ok(shell::dialogue(&socket(&instance))),
        Mode::OneShot { instance, command } => Ok(shell::one_shot(&socket(&instance), &command)),
    }
}

/// This proxy in Evenkeel's words, with comments on what they lack. Names are kept; nothing is
/// resolved.
fn printed(proxy: &BalanceProxy, form: PrintForm) -> Result<String, BalanceError> {
    let comment = proxy.source_name().map(|name| {
        format!("# not expressible: -B {name}, because --source takes an address, not a name\n")
    });
    let config = proxy.to_config(&service_port)?.printed(form);
    Ok(format!("{}{config}", comment.unwrap_or_default()))
}

/// Where the instance's admin socket is: named by port and `-b` text, as the original names it.
fn socket(instance: &Instance) -> PathBuf {
    admin_socket_path(&format!("balance.{}.{}", instance.port, instance.bind_text), None)
}

fn config_of(proxy: &BalanceProxy) -> Result<Config, BalanceError> {
    let mut config = proxy.to_config(&service_port)?;
    resolve(proxy, &mut config, &first_ipv4)?;
    Ok(config)
}

fn serve(proxy: &BalanceProxy) -> Result<u8, BalanceError> {
    let manager = ServiceManager::from_environment(!proxy.args.foreground).map_err(in_old_words)?;
    let config = config_of(proxy).map_err(|error| match bind_error(proxy) {
        // The original finds a port in use before it looks at its channels.
        Some(bind_error) => bind_error,
        None => error,
    })?;
    let args = &proxy.args;
    let (listeners, pools) = (config.listeners.clone(), config.pools.clone());
    let setup = Setup {
        config,
        admin: socket(&proxy.instance),
        reporter: Box::new(BalanceReporter::new(args)),
        observe: Observe {
            steps: args.debug,
            blocks: args.dump && args.foreground,
            ..Observe::default()
        },
        signals: signals(),
        directory: Directory::Root,
        refuse_loops: false,
        refuse_unresolved: true,
        state: None,
        origin: None,
        companion: None,
        manager,
    };
    let path = setup.admin.display().to_string();
    let prepared = Prepared::new(setup).map_err(in_old_words)?;
    if args.debug {
        let is_ipv6 = |bind: &Bind| matches!(bind, Bind::Tcp { family: Family::V6, .. });
        let ipv6 = listeners.iter().flat_map(|it| &it.binds).any(is_ipv6);
        complain(&format!("file {path} created\n{}", debug::address_family(ipv6)));
        pools.iter().for_each(|pool| complain(&debug::active_channels(pool)));
    }
    prepared.run().map_err(in_old_words)
}

/// The default action of TERM, INT, HUP, QUIT, USR2 and ALRM, except that open sessions continue until
/// they end; USR1 does nothing.
fn signals() -> Signals {
    Signals {
        reload: Vec::new(),
        reopen: Vec::new(),
        shut_down: vec![
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined2(),
            SignalKind::alarm(),
        ],
        ignored: vec![(SignalKind::user_defined1(), None)],
        exit: Exit::Signal,
    }
}

fn bind_error(proxy: &BalanceProxy) -> Option<BalanceError> {
    let bind = match proxy.bind() {
        Ok(bind) => bind,
        Err(error) => return Some(error),
    };
    can_listen(&bind).err().map(in_old_words)
}

/// What went wrong, as the original says it.
fn in_old_words(error: StartError) -> BalanceError {
    let reason = error.source().map_or_else(|| error.to_string(), reason);
    match error {
        StartError::ResolveListener { .. } => BalanceError::Resolve(reason),
        StartError::ResolveBackend { host, .. } => BalanceError::UnknownAddress(host),
        StartError::Admin { path, source } => match path.parent() {
            Some(dir) if !dir.is_dir() => BalanceError::NoDirectory(dir.to_owned()),
            _ if source.kind() == io::ErrorKind::PermissionDenied => {
                BalanceError::NameDenied { path, control: false }
            }
            _ => BalanceError::NameNotCreatable(path),
        },
        StartError::TakeOver(_)
        | StartError::ReadyInterface { .. }
        | StartError::Listen { .. }
        | StartError::Certificate(_)
        | StartError::Passed(_)
        | StartError::ListenBeside { .. }
        | StartError::ListenTwice { .. }
        | StartError::Loop { .. }
        | StartError::PidFile { .. }
        | StartError::Metrics { .. }
        | StartError::Log { .. }
        | StartError::User { .. }
        | StartError::Root { .. }
        | StartError::Companion { .. }
        | StartError::System { .. }
        | StartError::Role { .. }
        | StartError::Tokens { .. }
        | StartError::AdminListen { .. } => BalanceError::Bind(reason),
    }
}
