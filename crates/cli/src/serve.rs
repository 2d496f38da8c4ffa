//! Serving with the native log, signals and admin socket.

use crate::output::complain;
use config::environment::STATE_DIRECTORY;
use config::{Bind, Config, ExitStatus, LogFormat, StateDirectory};
use control::{
    ContentHash, Exit, LogOptions, LogReporter, Origin, Prepared, ServiceManager, Setup, Signals,
    StatePlace, admin_socket_path, escaped,
};
use dataplane::Observe;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sys::errors::with_causes;
use sys::process::Directory;
use telemetry::LineFormat;
use tokio::signal::unix::SignalKind;

/// Serves with the native log until the end.
///
/// `origin` is the file from which `config` was read, if it was, with the hash of its text.
pub fn serve(
    config: Config,
    manager: ServiceManager,
    origin: Option<(Origin, ContentHash)>,
) -> anyhow::Result<u8> {
    let format = match config.process.log_format {
        LogFormat::Text => LineFormat::Text,
        LogFormat::Json => LineFormat::Json,
    };
    let admin = admin_path(&config);
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let reporter = Box::new(LogReporter::new(LogOptions {
        format,
        to_syslog: config.process.daemon,
        // Going into the background may change the directory.
        file: config.process.log_file.as_ref().map(absolute),
        sessions: config.process.log_sessions,
        sample: config.process.log_sample,
        slow_connect: config.process.log_slow_connect,
    }));
    let observe = Observe { starts: config.process.log_start, ..Observe::default() };
    let has_log_file = config.process.log_file.is_some();
    let setup = Setup {
        state: state_place(&config, origin.as_ref().map(|(origin, _)| origin.path())),
        refuse_unresolved: origin.is_none(),
        config,
        admin,
        reporter,
        observe,
        signals: signals(origin.is_some(), has_log_file),
        directory: Directory::Root,
        refuse_loops: true,
        origin,
        companion: None,
        manager,
    };
    Ok(Prepared::new(setup)?.run()?)
}

/// Where the state is kept. Unless the configuration says so, this is a directory that a service
/// manager has made for this service (systemd.exec(5), `StateDirectory=`), or, with a file, the usual
/// one.
fn state_place(config: &Config, file: Option<&Path>) -> Option<StatePlace> {
    let (directory, is_asked) = match &config.process.state {
        StateDirectory::None => return None,
        StateDirectory::At(directory) => (directory.clone(), true),
        StateDirectory::Usual => {
            let usual = || file.map(|_| PathBuf::from(USUAL_STATE));
            (given_state_directory().or_else(usual)?, false)
        }
    };
    if is_port_shared(config) {
        if is_asked {
            complain(
                "evenkeel: no state is kept, because processes that share a port cannot share it",
            );
        }
        return None;
    }
    // A file may name other listening addresses after a restart, and is the same instance.
    let name = match file {
        Some(path) => path.to_string_lossy().trim_start_matches('/').replace('/', "-"),
        None => instance_name(config),
    };
    Some(StatePlace { directory, is_asked, instance: escaped(&name) })
}

/// Where the state is kept if the service manager has made no directory.
const USUAL_STATE: &str = "/var/lib/evenkeel";

/// The first of the directories that the service manager has made.
fn given_state_directory() -> Option<PathBuf> {
    let all = std::env::var_os(STATE_DIRECTORY.name)?;
    let first = all.as_bytes().split(|byte| *byte == b':').next()?;
    (!first.is_empty()).then(|| OsStr::from_bytes(first).into())
}

/// TERM and INT shut down within the deadline, with status 0. HUP reloads the file, if there is one,
/// and USR1 opens the file of the log again, if there is one.
/// Other signals that make programs reload or reopen something change nothing, but do not end the
/// process either.
fn signals(has_file: bool, has_log_file: bool) -> Signals {
    let no_file = "SIGHUP ignored: there is no configuration file to reload";
    let hangup = (SignalKind::hangup(), Some(no_file));
    let no_log = "SIGUSR1 ignored: there is no log file to open again";
    let reopening = (SignalKind::user_defined1(), Some(no_log));
    Signals {
        reload: if has_file { vec![SignalKind::hangup()] } else { Vec::new() },
        shut_down: vec![SignalKind::terminate(), SignalKind::interrupt()],
        reopen: if has_log_file { vec![SignalKind::user_defined1()] } else { Vec::new() },
        ignored: [(SignalKind::user_defined2(), Some("SIGUSR2 ignored: nothing to do"))]
            .into_iter()
            .chain((!has_file).then_some(hangup))
            .chain((!has_log_file).then_some(reopening))
            .collect(),
        exit: Exit::Status,
    }
}

/// The admin socket's place. When none is given, it is named after what is listened on, and after the
/// process where others may listen there too.
pub fn admin_path(config: &Config) -> PathBuf {
    if let Some(path) = &config.process.admin {
        return path.clone();
    }
    let (name, user) = (instance_name(config), config.process.user.as_deref());
    match is_port_shared(config) {
        true => admin_socket_path(&format!("{name}.{}", std::process::id()), user),
        false => admin_socket_path(&name, user),
    }
}

fn is_port_shared(config: &Config) -> bool {
    config.listeners.iter().any(|listener| listener.shared_port)
}

/// The name of an instance: what is listened on.
fn instance_name(config: &Config) -> String {
    let binds = config.listeners.iter().flat_map(|listener| &listener.binds);
    let mut binds: Vec<_> = binds.map(socket_word).collect();
    if binds.iter().map(|bind| bind.len() + 1).sum::<usize>() > BINDS_LENGTH_MAX && binds.len() > 1
    {
        // The path of a socket is short. Nobody else listens on the first address either.
        let others = format!("+{}", binds.len() - 1);
        binds.splice(1.., [others]);
    }
    format!("evenkeel.{}", binds.join(","))
}

fn socket_word(bind: &Bind) -> String {
    match bind {
        Bind::Tcp { host: None, port, .. } => port.to_string(),
        Bind::Udp { host: None, port, .. } => format!("{port}-udp"),
        bind => bind.to_string(),
    }
}

/// The length of all addresses in the name of an admin socket, if there are several.
const BINDS_LENGTH_MAX: usize = 40;

/// The exit code of `result`. Prints an error with its causes.
pub fn report(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            complain(&format!("evenkeel: {}", with_causes(&*error)));
            ExitCode::from(ExitStatus::Failure.code())
        }
    }
}
