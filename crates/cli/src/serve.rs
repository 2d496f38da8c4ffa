//! Serving with the native log, signals and admin socket.

use crate::output::complain;
use config::{Bind, Config, ExitStatus, LogFormat};
use control::{LogReporter, Prepared, Setup, Signals, admin_socket_path};
use dataplane::Observe;
use std::path::PathBuf;
use std::process::ExitCode;
use telemetry::LineFormat;

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

/// The exit code of `result`. Prints an error with its causes.
pub fn report(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            complain(&format!("evenkeel: {error:#}"));
            ExitCode::from(ExitStatus::Failure.code())
        }
    }
}
