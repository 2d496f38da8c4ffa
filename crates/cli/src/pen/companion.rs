//! What runs beside pen's control plane: its control port, its signals, its files.

use super::desk::{Desk, Pause};
use super::door::{Door, DoorCall};
use super::messages::Messages;
use super::numbers::ConnectionNumbers;
use super::operation::{Operation, PenRecord, ReporterSettings};
use super::traffic::{LogPlace, TrafficLog};
use classics::pen::{PenError, PenSettings};
use control::{Belongings, Call, Companion, Operator, StartError};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use sys::files::PidFile;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

/// Pen's own part of a running instance.
pub struct PenCompanion {
    pub settings: PenSettings,
    /// Those of the pen that this one takes over.
    pub numbers: ConnectionNumbers,
    pub messages: Messages,
    pub for_reporter: watch::Sender<ReporterSettings>,
    /// The control port.
    pub door: Option<Door>,
    /// Where traffic is logged.
    pub log: Option<LogPlace>,
    /// Whether another pen is being taken over.
    pub takes_over: bool,
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
            // Without a line end, as the original; later, if another process is still the one to name.
            let opened = match self.takes_over {
                false => PidFile::write(path, ""),
                true => PidFile::open(path, ""),
            };
            let error = PenError::PidFile(path.display().to_string());
            self.pid_file = Some(opened.map_err(failed(error))?);
        }
        Ok(())
    }

    fn run(
        self: Box<Self>,
        operator: Operator,
        calls: mpsc::Receiver<Call>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { settings, numbers, messages, for_reporter, door, takes_over, pid_file, .. } =
            *self;
        let (desk, requests) = Desk::new(messages.clone(), for_reporter.subscribe());
        // From now on, so that a signal that came during the start is not lost.
        let kinds =
            [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
        let [hangup, user1, user2] = kinds.map(|kind| signal(kind).ok());
        if hangup.is_none() || user1.is_none() || user2.is_none() {
            messages.say("signals cannot be caught");
        }
        if let Some(Err(error)) = pid_file.as_ref().filter(|_| takes_over).map(PidFile::note) {
            messages.say(&format!("pid file: {error}"));
        }
        let record = PenRecord { settings, numbers };
        let operation = Operation::new(record, messages, operator, for_reporter);
        Box::pin(async move {
            let (for_door, door_calls) = mpsc::channel(1);
            let has_door = door.is_some();
            if let Some(door) = door {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Err(error) = door.serve(&desk, door_calls).await {
                        desk.messages().say(&format!("control port: {error}"));
                    }
                });
            }
            if let Some(hangup) = hangup {
                tokio::spawn(desk.clone().heed_hangups(hangup));
            }
            let side = HandOverSide {
                desk: desk.clone(),
                door: has_door.then_some(for_door),
                pid_file,
                pause: None,
            };
            tokio::join!(operation.run(requests, [user1, user2], desk), side.heed(calls));
        })
    }
}

/// What pen does while another process takes it over.
struct HandOverSide {
    desk: Desk,
    /// The control port, if there is one.
    door: Option<mpsc::Sender<DoorCall>>,
    pid_file: Option<PidFile>,
    /// While another process takes over.
    pause: Option<Pause>,
}

impl HandOverSide {
    async fn heed(mut self, mut calls: mpsc::Receiver<Call>) {
        while let Some(call) = calls.recv().await {
            match call {
                Call::HandOver(answer) => {
                    let belongings = self.stop().await;
                    if belongings.is_err() {
                        self.go_on().await;
                    }
                    let _ = answer.send(belongings);
                }
                Call::GoOn => {
                    if let Some(file) = &self.pid_file {
                        let _ = file.note(); // the other process may have written its own number
                    }
                    self.go_on().await;
                }
                Call::Retire => {
                    let _ = self.stop().await;
                    if let Some(file) = self.pid_file.take() {
                        file.leave();
                    }
                }
            }
        }
    }

    /// Carries out no more commands, and says what another process needs.
    async fn stop(&mut self) -> Result<Belongings, String> {
        let (sockets, pause) = self.close().await.ok_or("a command of penctl is under way")?;
        let record = self.desk.describe().await.ok_or("it is shutting down")?;
        self.pause = Some(pause);
        let record = serde_json::to_value(record).map_err(|error| error.to_string())?;
        Ok(Belongings { record, sockets })
    }

    async fn close(&self) -> Option<(Vec<OwnedFd>, Pause)> {
        let Some(door) = &self.door else { return Some((Vec::new(), self.desk.pause().await)) };
        let (answer, answered) = oneshot::channel();
        match door.send(DoorCall::Close(answer)).await {
            Ok(()) => answered.await.ok().flatten(),
            Err(_) => Some((Vec::new(), self.desk.pause().await)), // it could not be served
        }
    }

    async fn go_on(&mut self) {
        self.pause = None;
        if let Some(door) = &self.door {
            let _ = door.send(DoorCall::Open).await;
        }
    }
}
