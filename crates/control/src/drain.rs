//! How far a drain of the whole instance is: clients are to go elsewhere, and sessions end while they
//! are silent, one after the other, until a moment at which the rest is ended.
//!
//! ~~~text
//!   Announced ----- pre-stop has passed ----> Emptying --- no session is left, or it is time ---> exit
//!   clients are served                        no client is accepted
//!       |                                         |
//!       '--------------- called off --------------'---> clients are accepted again
//! ~~~

use config::Drained;
use dataplane::Turns;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// A drain of the whole instance.
pub(crate) struct Drain {
    /// When it is over at the latest.
    until: Instant,
    stage: Stage,
    /// The number of sessions that were ended while they were silent. Looks under way have copies.
    ended: Arc<AtomicUsize>,
}

enum Stage {
    /// Clients are served until then.
    Announced { until: Instant },
    /// No client is accepted.
    Emptying {
        since: Instant,
        /// How many sessions were open then.
        sessions: usize,
        /// When to look for silent ones.
        look: Option<Instant>,
    },
}

/// What is to be done now.
pub(crate) enum Step {
    /// Accept no more clients; [`Drain::begin_emptying`] follows.
    Pause,
    /// End the silent sessions whose turn has come, and add their number.
    EndSilent(Turns, Arc<AtomicUsize>),
    /// Nothing: the last look has not ended.
    Wait,
}

/// How often silent sessions are looked for.
const LOOK: Duration = Duration::from_millis(250);

/// The part of the time in which every session gets its turn. In the rest, those end that were not
/// silent then.
const TURNS_PART: f64 = 0.9;

impl Drain {
    /// A drain that goes on serving clients for `pre_stop`, and takes no more time than `time`.
    pub fn new(now: Instant, pre_stop: Duration, time: Duration) -> Self {
        let stage = Stage::Announced { until: now + pre_stop };
        Self { until: now + time, stage, ended: Arc::default() }
    }

    /// Takes no more time than this, from now on.
    pub fn change_time(&mut self, now: Instant, time: Duration) {
        self.until = now + time;
        if let Stage::Emptying { look, .. } = &mut self.stage {
            *look = Some(now);
        }
    }

    /// When to ask for the next step.
    pub fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Announced { until } => Some(self.until.min(*until)),
            Stage::Emptying { look, .. } => *look,
        }
    }

    /// What is to be done now that it is due.
    pub fn next_step(&mut self, now: Instant) -> Step {
        let Stage::Emptying { since, look, .. } = &mut self.stage else { return Step::Pause };
        *look = (now < self.until).then(|| self.until.min(now + LOOK));
        if Arc::strong_count(&self.ended) > 1 {
            return Step::Wait;
        }
        let time = self.until.saturating_duration_since(*since).mul_f64(TURNS_PART);
        Step::EndSilent(Turns::after(now - *since, time), Arc::clone(&self.ended))
    }

    /// Goes on to the next stage: clients are no longer accepted, and this many sessions are open.
    pub fn begin_emptying(&mut self, now: Instant, sessions: usize) {
        self.stage = Stage::Emptying { since: now, sessions, look: Some(now) };
    }

    /// When the last clients were accepted, if none is any more.
    pub fn emptying_since(&self) -> Option<Instant> {
        match self.stage {
            Stage::Announced { .. } => None,
            Stage::Emptying { since, .. } => Some(since),
        }
    }

    /// Whether the drain is over, given the number of open sessions.
    pub fn is_over(&self, now: Instant, sessions: usize) -> bool {
        let is_emptying = matches!(self.stage, Stage::Emptying { .. });
        is_emptying && (sessions == 0 || now >= self.until)
    }

    /// How long it may still take.
    pub fn time_left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    /// What has become of the sessions. `cut` is the number of those that were cut at the end.
    pub fn result(&self, cut: usize) -> Drained {
        let ended = self.ended.load(Relaxed);
        let sessions = match self.stage {
            Stage::Announced { .. } => 0,
            Stage::Emptying { sessions, .. } => sessions,
        };
        let finished = sessions.saturating_sub(ended + cut);
        let [finished, ended, cut] = [finished, ended, cut].map(|count| count as u64);
        Drained { finished, ended, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn clients_are_served_for_pre_stop_but_not_beyond_the_end() {
        let now = Instant::now();
        let drain = |pre_stop, time| Drain::new(now, pre_stop, time).due();
        assert_eq!(drain(SECOND, 10 * SECOND), Some(now + SECOND));
        assert_eq!(drain(10 * SECOND, SECOND), Some(now + SECOND));
        assert!(!Drain::new(now, SECOND, SECOND).is_over(now + SECOND, 0));
    }

    #[test]
    fn it_is_over_with_the_last_session_or_in_time() {
        let now = Instant::now();
        let mut drain = Drain::new(now, Duration::ZERO, 10 * SECOND);
        assert!(matches!(drain.next_step(now), Step::Pause));
        drain.begin_emptying(now, 7);
        assert!(drain.is_over(now, 0) && !drain.is_over(now + 9 * SECOND, 1));
        assert!(drain.is_over(now + 10 * SECOND, 1));
        drain.change_time(now + 5 * SECOND, 10 * SECOND);
        assert!(!drain.is_over(now + 14 * SECOND, 1) && drain.is_over(now + 15 * SECOND, 1));
    }

    #[test]
    fn silent_ones_are_looked_for_until_the_end_and_counted() {
        let now = Instant::now();
        let mut drain = Drain::new(now, Duration::ZERO, SECOND);
        drain.begin_emptying(now, 7);
        let mut looks = 0;
        while let Some(at) = drain.due() {
            match drain.next_step(at) {
                Step::EndSilent(turns, ended) => {
                    let passed = at - now;
                    assert_eq!(turns, Turns::after(passed, SECOND.mul_f64(TURNS_PART)));
                    assert!(matches!(drain.next_step(at), Step::Wait), "this look has not ended");
                    ended.fetch_add(1, Relaxed);
                }
                Step::Pause | Step::Wait => panic!("the looks before have ended"),
            }
            looks += 1;
        }
        assert_eq!(looks, 5);
        assert_eq!(drain.result(1), Drained { finished: 1, ended: 5, cut: 1 });
    }
}
