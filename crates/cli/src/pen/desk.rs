//! The way to the task that owns pen's settings.

use super::load::{Loaded, Stage, write_files};
use super::messages::Messages;
use super::operation::{PenRecord, ReporterSettings};
use super::threads::Threads;
use balancing::Client;
use classics::pen::{PenSettings, Ran, Script};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// A request to the owner of the settings.
pub enum Request {
    /// Read something from the settings.
    Ask(Box<dyn FnOnce(&PenSettings) + Send>),
    /// Run commands.
    Run(Box<Loaded>, oneshot::Sender<Ran>),
    /// What another process needs to know.
    Describe(oneshot::Sender<PenRecord>),
}

/// Requests that may wait.
const REQUESTS_MAX: usize = 32;
/// Commands that may be carried out at one time; further ones wait.
const COMMANDS_MAX: u32 = 1024;

/// As long as it is there, no command is carried out.
pub struct Pause(
    #[expect(dead_code, reason = "it counts as long as it is held")] OwnedSemaphorePermit,
);

/// Sends requests to the owner of the settings, and does everything that takes time itself.
#[derive(Clone)]
pub struct Desk {
    requests: mpsc::Sender<Request>,
    messages: Messages,
    for_reporter: watch::Receiver<ReporterSettings>,
    threads: Threads,
    /// Who carries out a command has one of them.
    turns: Arc<Semaphore>,
}

impl Desk {
    /// A desk, and where its requests arrive.
    pub fn new(
        messages: Messages,
        for_reporter: watch::Receiver<ReporterSettings>,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, arrive) = mpsc::channel(REQUESTS_MAX);
        let turns = Arc::new(Semaphore::new(COMMANDS_MAX as usize));
        (Self { requests, messages, for_reporter, threads: Threads::default(), turns }, arrive)
    }

    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Waits until no command is carried out any more, and keeps it so.
    pub async fn pause(&self) -> Pause {
        match Arc::clone(&self.turns).acquire_many_owned(COMMANDS_MAX).await {
            Ok(turns) => Pause(turns),
            Err(_) => std::future::pending().await, // nobody closes it
        }
    }

    /// What another process needs to know; `None` when pen is ending.
    pub async fn describe(&self) -> Option<PenRecord> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Describe(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Whether this client may use the control port.
    pub async fn admits(&self, client: Option<IpAddr>) -> bool {
        let client = Client { address: client, ..Client::default() };
        let list = self.ask(|settings| settings.control_access()).await;
        let admitted = list.is_some_and(|list| list.permits(&client));
        if !admitted {
            self.messages.say("do_ctrl: not from there");
        }
        admitted
    }

    /// Runs the first line of what a control client sent, and returns the reply.
    pub async fn carry_out(&self, chunk: Vec<u8>) -> Vec<u8> {
        let _turn = self.turns.acquire().await;
        let stage = Stage::Running(self.messages.clone());
        let loaded = match Script::takes_time(&chunk) {
            false => Ok(Loaded::line(&chunk, &stage)),
            true => self.threads.run(move || Loaded::line(&chunk, &stage)).await,
        };
        self.run(loaded).await.into_bytes()
    }

    /// At every HUP, reopens the log and runs the configuration file again. One HUP after the
    /// other, so that the last one counts.
    pub async fn heed_hangups(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            self.reload().await;
        }
    }

    async fn reload(&self) {
        let _turn = self.turns.acquire().await;
        let files = |settings: &PenSettings| (settings.log.clone(), settings.config_file.clone());
        let Some((log, file)) = self.ask(files).await else { return };
        if let Some(path) = log {
            self.for_reporter.borrow().log.reopen(&path, &self.messages);
        }
        if let Some(file) = file {
            let stage = Stage::Running(self.messages.clone());
            let loaded = self.threads.run(move || Loaded::file(&file, &stage)).await;
            match loaded {
                Ok(Err(reason)) => self.messages.say(&reason),
                Ok(Ok(loaded)) => drop(self.run(Ok(loaded)).await),
                Err(reason) => drop(self.run(Err(reason)).await),
            }
        }
    }

    /// Has loaded commands run, and writes their files.
    async fn run(&self, loaded: Result<Loaded, String>) -> String {
        let loaded = match loaded {
            Ok(loaded) => Box::new(loaded),
            Err(reason) => {
                self.messages.say(&format!("commands were not carried out: {reason}"));
                return String::new();
            }
        };
        let (answer, answered) = oneshot::channel();
        let _ = self.requests.send(Request::Run(loaded, answer)).await;
        let Ok(ran) = answered.await else { return String::new() };
        self.write(ran.writes).await;
        ran.reply
    }

    /// Writes files.
    pub async fn write(&self, files: Vec<(String, String)>) {
        if files.is_empty() {
            return;
        }
        let messages = self.messages.clone();
        if let Err(reason) = self.threads.run(move || write_files(&files, &messages)).await {
            self.messages.say(&format!("Can't write files: {reason}"));
        }
    }

    /// Reads from the settings; `None` when pen is ending.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&PenSettings) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let ask = move |settings: &PenSettings| drop(answer.send(question(settings)));
        self.requests.send(Request::Ask(Box::new(ask))).await.ok()?;
        answered.await.ok()
    }
}
