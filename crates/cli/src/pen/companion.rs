//! What runs beside pen's control plane: its control port, its signals, its files.

use super::door::Door;
use super::operation::Operation;
use classics::pen::PenError;
use control::{Companion, Operator, StartError};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use sys::files::PidFile;
use tokio::signal::unix::{SignalKind, signal};

/// A log to be opened, at `address` if it is no file.
type Log = (String, Option<SocketAddr>);

/// Pen's own part of a running instance.
pub struct PenCompanion {
    operation: Arc<Operation>,
    door: Option<Door>,
    log: Option<Log>,
    pid_path: Option<PathBuf>,
    pid_file: Option<PidFile>,
}

impl PenCompanion {
    pub fn new(
        operation: Arc<Operation>,
        door: Option<Door>,
        log: Option<Log>,
        pid_path: Option<PathBuf>,
    ) -> Self {
        Self { operation, door, log, pid_path, pid_file: None }
    }
}

impl Companion for PenCompanion {
    fn open(&mut self) -> Result<(), StartError> {
        let failed = |error: PenError| {
            move |source| StartError::Companion { what: error.to_string(), source }
        };
        if let Some((text, address)) = &self.log {
            let opened = self.operation.traffic().open(text, *address);
            opened.map_err(failed(PenError::LogFile(text.clone())))?;
        }
        if let Some(path) = &self.pid_path {
            let written = PidFile::write(path, ""); // without a line end, as the original
            let error = PenError::PidFile(path.display().to_string());
            self.pid_file = Some(written.map_err(failed(error))?);
        }
        Ok(())
    }

    fn run(self: Box<Self>, operator: Operator) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { operation, door, pid_file, .. } = *self;
        Box::pin(async move {
            let _pid_file = pid_file;
            operation.begin(operator);
            if let Some(door) = door {
                let operation = Arc::clone(&operation);
                tokio::spawn(async move {
                    if let Err(error) = door.serve(Arc::clone(&operation)).await {
                        operation.messages().say(&format!("control port: {error}"));
                    }
                });
            }
            heed_signals(&operation).await;
        })
    }
}

/// Carries out what signals ask for, until the process ends.
async fn heed_signals(operation: &Operation) {
    let kinds = [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
    let [Ok(mut hangup), Ok(mut user1), Ok(mut user2)] = kinds.map(signal) else {
        operation.messages().say("signals cannot be caught");
        return;
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => operation.reload().await,
            _ = user1.recv() => operation.report(),
            _ = user2.recv() => std::process::abort(), // for a core dump, as documented
        }
    }
}
