//! Whether the instance is alive: it is while every worker answers.

use crate::answers::Answers;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Calls the roll of the workers at half of the manager's patience. As soon as all have answered,
/// the instance is to be reported alive.
pub(crate) struct Watchdog {
    /// When to call the roll again; `None` if there is no watchdog.
    rounds: Option<Interval>,
    /// The answers to the last call that are still missing.
    round: Option<Round>,
}

struct Round {
    answers: Answers<()>,
    missing: usize,
}

impl Watchdog {
    /// A watchdog with this patience; without one, it never asks anybody. Needs a runtime.
    pub fn new(patience: Option<Duration>) -> Self {
        let rounds = patience.map(|patience| {
            let mut rounds = interval((patience / 2).max(SHORTEST_ROUND));
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            rounds
        });
        Self { rounds, round: None }
    }

    /// Returns when all `workers` have answered since it last returned. `call` asks them. Nothing is
    /// lost if this is dropped while it waits.
    pub async fn all_answered(&mut self, workers: usize, call: impl Fn() -> Answers<()>) {
        let Some(rounds) = &mut self.rounds else { return std::future::pending().await };
        loop {
            let Some(round) = &mut self.round else {
                rounds.tick().await;
                self.round = Some(Round { answers: call(), missing: workers });
                continue;
            };
            match round.answers.next().await {
                Some(()) => round.missing = round.missing.saturating_sub(1),
                // The call was lost; there is another round.
                None => self.round = None,
            }
            if self.round.as_ref().is_some_and(|round| round.missing == 0) {
                self.round = None;
                return;
            }
        }
    }
}

/// The shortest time between two rounds, whatever the manager's patience.
const SHORTEST_ROUND: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::{Instant, timeout};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Workers that answer when a test has them do it.
    #[derive(Default)]
    struct Workers(RefCell<Vec<Reply>>);

    type Reply = Box<dyn FnOnce(())>;

    impl Workers {
        const COUNT: usize = 3;

        fn call(&self) -> Answers<()> {
            let (reply, answers) = Answers::new();
            for _ in 0..Self::COUNT {
                self.0.borrow_mut().push(Box::new(reply.clone()));
            }
            answers
        }

        /// The one that was asked first and has not answered yet answers.
        fn answer(&self) {
            self.0.borrow_mut().remove(0)(());
        }

        async fn are_alive(&self, watchdog: &mut Watchdog) -> bool {
            let all = watchdog.all_answered(Self::COUNT, || self.call());
            timeout(PATIENCE * 10, all).await.is_ok()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_worker_must_answer() {
        let (workers, mut watchdog) = (Workers::default(), Watchdog::new(Some(PATIENCE)));
        assert!(!workers.are_alive(&mut watchdog).await);
        workers.answer();
        workers.answer();
        assert!(!workers.are_alive(&mut watchdog).await, "one is missing");
        workers.answer();
        assert!(workers.are_alive(&mut watchdog).await);
        assert!(!workers.are_alive(&mut watchdog).await, "none has answered since then");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_hangs_is_not_asked_again_and_again() {
        let (workers, mut watchdog) = (Workers::default(), Watchdog::new(Some(PATIENCE)));
        for _ in 0..5 {
            assert!(!workers.are_alive(&mut watchdog).await);
        }
        assert_eq!(workers.0.borrow().len(), Workers::COUNT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_roll_is_called_at_half_of_the_patience() {
        let mut watchdog = Watchdog::new(Some(PATIENCE));
        let begin = Instant::now();
        for round in 0..4 {
            let answer_at_once = || {
                let (reply, answers) = Answers::new();
                reply(());
                answers
            };
            watchdog.all_answered(1, answer_at_once).await;
            assert_eq!(begin.elapsed(), PATIENCE / 2 * round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_nobody_is_asked() {
        let (workers, mut watchdog) = (Workers::default(), Watchdog::new(None));
        assert!(!workers.are_alive(&mut watchdog).await);
        assert!(workers.0.borrow().is_empty());
    }
}
