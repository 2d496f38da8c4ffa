//! Answers of workers, for which nobody blocks.

use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

/// The answers of all workers to one order, as they arrive.
pub(crate) struct Answers<T>(UnboundedReceiver<T>);

/// How long to wait for workers, which never take more than a few short turns.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl<T> Answers<T> {
    /// The reply to pass along with the order, and where its copies put the answers.
    pub fn new() -> (impl FnOnce(T) + Clone, Self) {
        let (sender, answers) = unbounded_channel();
        (move |answer| drop(sender.send(answer)), Self(answers))
    }

    /// The next answer; `None` when there is none to come. Nothing is lost if this is dropped while
    /// it waits.
    pub async fn next(&mut self) -> Option<T> {
        self.0.recv().await
    }

    /// Waits until every copy of the reply has been called, for up to five seconds.
    pub async fn all(mut self) -> Vec<T> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut all = Vec::new();
        while let Ok(Some(answer)) = timeout_at(deadline, self.0.recv()).await {
            all.push(answer);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_answer_ends_the_wait() {
        let (reply, answers) = Answers::new();
        for answer in [1, 2] {
            let reply = reply.clone();
            std::thread::spawn(move || reply(answer));
        }
        drop(reply);
        assert_eq!(answers.all().await.into_iter().sum::<u32>(), 3);
    }
}
