//! Sessions that stay open for long, which the log mentions at certain ages (`log-every`).

use crate::Instance;
use crate::answers::Answers;
use dataplane::{Aged, SessionFilter, SessionInfo};
use std::sync::Arc;
use std::time::Duration;
use terms::Instant;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Has workers look for sessions that have come to such an age, a few times while sessions do.
pub(crate) struct Ageing {
    step: Duration,
    looks: Interval,
    /// Until when ages have been looked for.
    seen_until: Instant,
    /// What workers have found in the present look.
    answers: Option<Answers<Vec<SessionInfo>>>,
    /// What has been found and not been returned.
    waiting: Vec<SessionInfo>,
}

/// How many sessions are returned at once: more would keep the control thread busy for too long.
const AT_ONCE: usize = 256;
/// Lines come at most this much later than their sessions' ages.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Ageing {
    /// Ages are the multiples of `step`.
    pub fn new(step: Duration) -> Self {
        let mut looks = interval((step / 10).clamp(Duration::from_millis(10), LOOK_EVERY));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { step, looks, seen_until: sys::clock::now(), answers: None, waiting: Vec::new() }
    }

    /// Some of what a worker has found; `None` when it is time for another [`look`](Self::look).
    /// Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Vec<SessionInfo>> {
        while self.waiting.is_empty() {
            let Some(answers) = &mut self.answers else {
                self.looks.tick().await;
                return None;
            };
            match answers.next().await {
                Some(found) => self.waiting = found,
                None => self.answers = None,
            }
        }
        let rest = self.waiting.len().saturating_sub(AT_ONCE);
        Some(self.waiting.split_off(rest))
    }

    /// Begins a look. The next one begins after the last worker has answered.
    pub fn look(&mut self, instance: &Instance) {
        let now = sys::clock::now();
        let after = std::mem::replace(&mut self.seen_until, now);
        let aged = Some(Aged { step: self.step, after, until: now });
        let filter = SessionFilter { aged, ..SessionFilter::default() };
        self.answers = Some(instance.list(&Arc::new(filter)));
    }
}
