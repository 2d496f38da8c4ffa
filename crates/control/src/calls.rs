//! What a hand-over asks of a personality's companion.

use serde_json::Value;
use std::os::fd::OwnedFd;
use tokio::sync::{mpsc, oneshot};

/// What a hand-over asks of a companion.
#[derive(Debug)]
pub enum Call {
    /// Another process is about to take over: what does it need? From now on nothing changes, and
    /// clients of the companion wait. The error says why this cannot be now.
    HandOver(oneshot::Sender<Result<Belongings, String>>),
    /// The other process does not serve: the companion goes on.
    GoOn,
    /// The other process serves again, from where this one took it over: nothing is left to do.
    Retire,
}

/// What another process needs to be the same companion.
#[derive(Debug, Default)]
pub struct Belongings {
    /// What it knows.
    pub record: Value,
    /// Copies of what it has open.
    pub sockets: Vec<OwnedFd>,
}

/// The maximum number of calls that wait: there is one hand-over at a time.
const CALLS_MAX: usize = 4;

/// The way to a companion, from a thread that may block.
#[derive(Clone)]
pub(crate) struct Caller(mpsc::Sender<Call>);

impl Caller {
    /// A way to a companion, and where its calls arrive.
    pub fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, arrive) = mpsc::channel(CALLS_MAX);
        (Self(calls), arrive)
    }

    /// What another process needs.
    ///
    /// # Errors
    /// The companion's reason, as a sentence.
    pub fn hand_over(&self) -> Result<Belongings, String> {
        let (answer, answered) = oneshot::channel();
        self.call(Call::HandOver(answer));
        answered.blocking_recv().unwrap_or_else(|_| Err("it is shutting down".to_owned()))
    }

    /// Says something that has no answer. Whoever has ended need not know.
    pub fn call(&self, call: Call) {
        let _ = self.0.blocking_send(call);
    }
}
