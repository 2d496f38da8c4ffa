//! The thread that asks the helper, and waits for its answers.
//!
//! It has the newest rule set that is wanted, and knows the one that the kernel has: it asks for the
//! difference. What packets on their way may still need is removed a second later.

use super::helper::{Answer, Request, receive, send};
use forwarding::{Edit, Ruleset};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The way to the thread.
pub(super) struct Courier {
    orders: Sender<Order>,
    ended: Receiver<()>,
    news: Arc<Mutex<Option<News>>>,
}

/// What has become of the last change.
pub(crate) enum News {
    /// The kernel has it. `forwards` is for IPv4 and IPv6.
    Installed { forwards: [bool; 2] },
    /// It was refused; why.
    Failed(String),
}

enum Order {
    Want(Ruleset),
    /// Remove all rules and end.
    Clear,
    /// End.
    Leave,
}

/// How long what is no longer needed stays.
const RETIRE_AFTER: Duration = Duration::from_secs(1);
/// How long to wait after a refusal before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Courier {
    /// Begins the thread. It calls `notify` when there is news.
    ///
    /// # Errors
    /// If the system has no room for another thread.
    pub fn begin(helper: UnixStream, notify: Arc<Notify>) -> io::Result<Self> {
        let (orders, received) = channel();
        let (end, ended) = channel();
        let news = Arc::default();
        let mut round =
            Round { helper, orders: received, news: Arc::clone(&news), notify, present: None };
        let run = move || {
            round.run();
            let _ = end.send(()); // nobody may be waiting
        };
        std::thread::Builder::new().name("kernel".to_owned()).spawn(run)?;
        Ok(Self { orders, ended, news })
    }

    /// Has the kernel do this. What was wanted before may be skipped.
    pub fn want(&self, rules: Ruleset) {
        let _ = self.orders.send(Order::Want(rules)); // the helper may have ended
    }

    pub fn take_news(&self) -> Option<News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Removes all rules, and waits for that.
    pub fn end(self, limit: Duration) {
        let _ = self.orders.send(Order::Clear);
        let _ = self.ended.recv_timeout(limit);
    }

    /// Leaves all rules as they are.
    pub fn leave(self) {
        let _ = self.orders.send(Order::Leave);
    }
}

struct Round {
    helper: UnixStream,
    orders: Receiver<Order>,
    news: Arc<Mutex<Option<News>>>,
    notify: Arc<Notify>,
    /// What the kernel has, with what is to be removed; `None` if that is unknown.
    present: Option<Ruleset>,
}

impl Round {
    fn run(&mut self) {
        let mut wanted = None;
        let mut again_at = None;
        loop {
            match self.next_order(again_at) {
                Ok(Some(Order::Want(rules))) => {
                    wanted = Some(rules);
                    // A refusal is not repeated for every change.
                    if self.present.is_none() && again_at.is_some() {
                        continue;
                    }
                }
                Ok(Some(Order::Clear)) => return drop(self.ask(&Request::Clear)),
                Ok(None) => {
                    if let (Some(present), Some(wanted)) = (&mut self.present, &wanted) {
                        let step = present.diff(wanted);
                        let retired = self.carry_out(step.retire);
                        self.note(retired);
                    }
                }
                Ok(Some(Order::Leave)) | Err(()) => return,
            }
            let Some(rules) = &wanted else { continue };
            let done = self.make(rules);
            again_at = match (&done, &self.present) {
                (Err(_), _) => Some(Instant::now() + RETRY_AFTER),
                (Ok(_), Some(present)) if present != rules => Some(Instant::now() + RETIRE_AFTER),
                (Ok(_), _) => None,
            };
            self.note(done);
        }
    }

    /// The newest order; `None` if it is time to look again.
    fn next_order(&self, again_at: Option<Instant>) -> Result<Option<Order>, ()> {
        let mut order = match again_at {
            None => self.orders.recv().map_err(|_| ())?,
            Some(at) => {
                match self.orders.recv_timeout(at.saturating_duration_since(Instant::now())) {
                    Ok(order) => order,
                    Err(RecvTimeoutError::Timeout) => return Ok(None),
                    Err(RecvTimeoutError::Disconnected) => return Err(()),
                }
            }
        };
        while let Ok(next) = self.orders.try_recv() {
            order = next;
        }
        Ok(Some(order))
    }

    /// Has the kernel do what these rules say, without removing what they no longer need.
    fn make(&mut self, rules: &Ruleset) -> Result<Option<[bool; 2]>, String> {
        if let Some(present) = &self.present {
            let change = present.diff(rules).change;
            if let Ok(done) = self.carry_out(change) {
                return Ok(done);
            }
            // Somebody else has changed the table: make it anew.
        }
        let done = self.ask(&Request::Install(rules.steps()));
        self.present = done.is_ok().then(|| rules.clone());
        done.map(Some)
    }

    fn carry_out(&mut self, edits: Vec<Edit>) -> Result<Option<[bool; 2]>, String> {
        if edits.is_empty() {
            return Ok(None);
        }
        let request = Request::Change(edits);
        let done = self.ask(&request);
        match (&mut self.present, request) {
            (Some(present), Request::Change(edits)) if done.is_ok() => present.apply(&edits),
            _ => self.present = None,
        }
        done.map(Some)
    }

    fn ask(&mut self, request: &Request) -> Result<[bool; 2], String> {
        let answer = send(&mut self.helper, request).and_then(|()| receive(&mut self.helper));
        match answer {
            Ok(Answer::Done { forwards }) => Ok(forwards),
            Ok(Answer::Failed(why)) => Err(why),
            Err(error) => Err(format!("the helper does not answer: {error}")),
        }
    }

    fn note(&self, done: Result<Option<[bool; 2]>, String>) {
        let news = match done {
            Ok(None) => return,
            Ok(Some(forwards)) => News::Installed { forwards },
            Err(why) => News::Failed(why),
        };
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
        self.notify.notify_one();
    }
}
