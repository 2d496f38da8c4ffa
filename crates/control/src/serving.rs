//! The control plane while it serves, from the first line of the log to the last.

use crate::admin::{Desk, serve};
use crate::backlog::Backlog;
use crate::names::{Failures, keep_names};
use crate::signals::{Came, Caught, Exit};
use dataplane::Event;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Level, Value};
use terms::CloseReason;
use tokio::time::{Instant, MissedTickBehavior, sleep};

/// The control plane at work.
pub(crate) struct Serving {
    pub desk: Arc<Desk>,
    pub backlog: Backlog,
    pub caught: Caught,
    pub exit: Exit,
    /// Listeners whose `--source` cannot be used, with the address and the reason.
    pub unusable_sources: Vec<(String, IpAddr, io::Error)>,
}

/// How the process ends.
pub(crate) enum Ending {
    Status(u8),
    /// By this signal, as if it had not been caught.
    Signal(i32),
}

/// What a personality does besides serving.
pub(crate) type Beside = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Serving {
    /// Serves until a signal or a command shuts the instance down, and its sessions have ended.
    pub async fn until_the_end(mut self, companion: Option<Beside>) -> Ending {
        self.log_start();
        self.open_admin_socket();
        let failures = Arc::new(Failures::default());
        let names = tokio::spawn(keep_names(Arc::clone(&self.desk), Arc::clone(&failures)));
        let companion = companion.map(tokio::spawn);
        tokio::spawn(async {
            sleep(SETTLED).await;
            sys::process::forget_startup_code();
        });
        let ending = self.until_shutdown(&failures).await;
        names.abort();
        if let Some(companion) = companion {
            companion.abort();
        }
        self.drain().await;
        ending
    }

    fn open_admin_socket(&self) {
        let mut socket = self.desk.socket();
        let Some(listener) = socket.take_listener() else { return };
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixListener::from_std(listener));
        match listener {
            Ok(listener) => {
                let task = tokio::spawn(serve(listener, Arc::clone(&self.desk)));
                socket.served_by(task.abort_handle());
            }
            Err(error) => {
                let fields = [("error", Value::Text(&error))];
                self.desk.note(Level::Error, "no admin socket", &fields);
            }
        }
    }

    async fn until_shutdown(&mut self, failures: &Failures) -> Ending {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.desk.reporter().tick(&self.desk.instance()),
                Some(batch) = self.backlog.next() => {
                    self.report(&batch);
                    failures.add(batch.iter().filter_map(|event| match event {
                        Event::ConnectFailed(backend) => Some(backend.name.as_str()),
                        _ => None,
                    }));
                }
                came = self.caught.next() => match came {
                    Came::Ignored(line) => self.desk.note(Level::Info, line, &[]),
                    Came::ShutDown(number) => {
                        let fields = [("signal", Value::Count(number as u64))];
                        self.desk.note(Level::Info, "signal received, shutting down", &fields);
                        self.desk.shut_down();
                        return match self.exit {
                            Exit::Status => Ending::Status(0),
                            Exit::Signal => Ending::Signal(number),
                        };
                    }
                },
                () = self.desk.shutdown.notified() => return Ending::Status(0),
            }
        }
    }

    /// Waits for sessions to end, for as long as configured. A further signal ends the wait.
    async fn drain(&mut self) {
        let limit = self.desk.instance().shutdown_limit();
        let deadline = limit.map(|limit| Instant::now() + limit);
        let sessions = self.desk.instance().plane().sessions();
        if sessions > 0 {
            let socket = self.desk.socket();
            let path = socket.path().display();
            let fields =
                [("sessions", Value::Count(sessions as u64)), ("admin", Value::Text(&path))];
            self.desk.note(Level::Info, "waiting for open sessions to end", &fields);
        }
        loop {
            self.report_waiting();
            if self.desk.instance().plane().sessions() == 0 {
                break;
            }
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let again = tokio::select! {
                came = self.caught.next() => matches!(came, Came::ShutDown(_)),
                () = sleep(DRAIN_LOOK) => false,
            };
            if is_over || again {
                let cut = self.desk.instance().plane().cut(None, CloseReason::Shutdown);
                let fields = [("sessions", Value::Count(cut as u64))];
                self.desk.note(Level::Warn, "shutdown cut sessions that were still open", &fields);
                break;
            }
        }
        sleep(DRAIN_LOOK).await; // the last sessions' lines are on their way
        self.report_waiting();
        self.desk.note(Level::Info, "stopped", &[]);
        self.desk.reporter().finish();
        self.desk.socket().release();
    }

    fn log_start(&self) {
        self.desk.note_country_error();
        for (listener, source, error) in &self.unusable_sources {
            let fields = [
                ("listener", Value::Text(listener)),
                ("source", Value::Text(source)),
                ("error", Value::Text(error)),
            ];
            let message = "source address unusable; the system chooses one while that is so";
            self.desk.note(Level::Warn, message, &fields);
        }
        let status = self.desk.instance().status();
        for listener in &status.listeners {
            let tiers = listener.tiers.iter().map(|tier| {
                let names: Vec<_> = tier.backends.iter().map(|it| it.name.as_str()).collect();
                names.join(" ")
            });
            let backends = tiers.collect::<Vec<_>>().join(" ! ");
            let fields = [
                ("listener", Value::Text(&listener.bind)),
                ("backends", Value::Text(&backends)),
                ("workers", Value::Count(status.workers.len() as u64)),
                ("pid", Value::Count(status.pid.into())),
            ];
            self.desk.note(Level::Info, "listening", &fields);
            for backend in listener.tiers.iter().flat_map(|tier| &tier.backends) {
                if backend.addresses.is_empty() {
                    let fields = [("backend", Value::Text(&backend.name))];
                    let message = "backend does not resolve; trying again";
                    self.desk.note(Level::Warn, message, &fields);
                }
            }
        }
        let socket = self.desk.socket();
        let path = socket.path().display();
        self.desk.note(Level::Info, "admin socket", &[("path", Value::Text(&path))]);
    }

    fn report_waiting(&mut self) {
        for batch in self.backlog.waiting() {
            self.report(&batch);
        }
    }

    fn report(&self, batch: &[Event]) {
        let instance = self.desk.instance();
        let mut reporter = self.desk.reporter();
        for event in batch {
            reporter.event(event, &instance);
        }
        let dropped = self.backlog.take_dropped();
        if dropped > 0 {
            reporter.dropped(dropped as u64);
        }
        reporter.flush();
    }
}

/// How long after the start everything that belongs to it is over.
const SETTLED: Duration = Duration::from_secs(1);

/// How often the reporter is asked for what it has held back.
const TICK: Duration = Duration::from_secs(10);

/// How often to check whether the last session has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
