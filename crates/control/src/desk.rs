//! The way to the task that owns the instance.

use crate::answers::Answers;
use crate::bind::StartError;
use balancing::Pool;
use config::{Command, CommandError, Config, Reply};
use dataplane::{Observe, SessionInfo};
use hickory_resolver::TokioResolver;
use std::collections::HashMap;
use std::sync::Arc;
use telemetry::Status;
use terms::{Address, ListenerId};
use tokio::sync::{mpsc, oneshot};

/// A request to the owner of the instance, with the place for its answer.
pub(crate) enum Request {
    Status(Answer<Status>),
    Sessions(Answer<Listing>),
    /// The first pool.
    Pool(Answer<Arc<Pool>>),
    /// The resolver for DNS, if there are usable settings.
    Resolver(Answer<Option<TokioResolver>>),
    Command(Asked),
    Reconfigure(Box<Config>, Answer<Result<(), StartError>>),
    Observe(Observe, Answer<()>),
}

impl Request {
    /// Whether it may change what a restart is to know.
    pub fn may_change_state(&self) -> bool {
        matches!(self, Self::Command(_) | Self::Reconfigure(..))
    }
}

/// Where an answer goes. It is lost if whoever asked has gone.
pub(crate) type Answer<T> = oneshot::Sender<T>;

/// A command with everything that is needed to carry it out.
pub(crate) struct Asked {
    pub command: Command,
    /// Those of its endpoint, if it has one.
    pub addresses: Vec<Address>,
    pub who: Who,
    pub answer: Answer<Result<Reply, CommandError>>,
}

/// The sessions, as soon as the workers have listed them, and the names of their listeners.
pub(crate) struct Listing {
    pub sessions: Answers<Vec<SessionInfo>>,
    pub listeners: HashMap<ListenerId, String>,
}

/// The sender of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who(pub Option<u32>);

impl Who {
    /// A client of the personality's own control protocol, which has no user ids.
    pub fn companion() -> Self {
        Self(None)
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(uid) => uid.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// Sends requests to the owner of the instance. What takes time is done by whoever asks: see
/// [`crate::asking`]. The owner itself must not use it: it would wait for itself.
#[derive(Clone)]
pub(crate) struct Desk {
    requests: mpsc::Sender<Request>,
}

/// The maximum number of requests that wait; further ones wait to be sent.
const REQUESTS_MAX: usize = 64;

impl Desk {
    /// A desk, and where its requests arrive.
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, arrive) = mpsc::channel(REQUESTS_MAX);
        (Self { requests }, arrive)
    }

    /// Sends a request and returns the answer; `None` when the process is about to exit.
    pub async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.ok()?;
        answered.await.ok()
    }
}
