//! What runs beside pen's control plane: its control port, its signals, its files.

use super::desk::Desk;
use super::door::Door;
use super::messages::Messages;
use super::operation::{Operation, ReporterSettings};
use super::traffic::{LogPlace, TrafficLog};
use classics::pen::{PenError, PenSettings};
use control::{Companion, Operator, StartError};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use sys::files::PidFile;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Pen's own part of a running instance.
pub struct PenCompanion {
    pub settings: PenSettings,
    pub messages: Messages,
    pub for_reporter: watch::Sender<ReporterSettings>,
    /// The control port.
    pub door: Option<Door>,
    /// Where traffic is logged.
    pub log: Option<LogPlace>,
    pub pid_path: Option<PathBuf>,
    pub pid_file: Option<PidFile>,
}

impl Companion for PenCompanion {
    fn open(&mut self) -> Result<(), StartError> {
        let failed = |error: PenError| {
            move |source| StartError::Companion { what: error.to_string(), source }
        };
        let log = match (&self.log, &self.settings.log) {
            (Some(place), Some(text)) => {
                let error = PenError::LogFile(text.clone());
                place.open(&self.messages).map_err(failed(error))?
            }
            _ => TrafficLog::Nowhere,
        };
        self.for_reporter.send_replace(ReporterSettings::new(&self.settings, log));
        if let Some(path) = &self.pid_path {
            let written = PidFile::write(path, ""); // without a line end, as the original
            let error = PenError::PidFile(path.display().to_string());
            self.pid_file = Some(written.map_err(failed(error))?);
        }
        Ok(())
    }

    fn run(self: Box<Self>, operator: Operator) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { settings, messages, for_reporter, door, pid_file, .. } = *self;
        let (desk, requests) = Desk::new(messages.clone(), for_reporter.subscribe());
        // From now on, so that a signal that came during the start is not lost.
        let kinds =
            [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
        let [hangup, user1, user2] = kinds.map(|kind| signal(kind).ok());
        if hangup.is_none() || user1.is_none() || user2.is_none() {
            messages.say("signals cannot be caught");
        }
        let operation = Operation::new(settings, messages, operator, for_reporter);
        Box::pin(async move {
            let _pid_file = pid_file;
            if let Some(door) = door {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Err(error) = door.serve(&desk).await {
                        desk.messages().say(&format!("control port: {error}"));
                    }
                });
            }
            if let Some(hangup) = hangup {
                tokio::spawn(desk.clone().heed_hangups(hangup));
            }
            operation.run(requests, [user1, user2], desk).await;
        })
    }
}
