//! Waiting for a condition, never longer than a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks `poll` until it answers, or until `deadline`; `None` means that it never did.
///
/// It is asked at least once, and again after the deadline has passed, so that a busy machine
/// does not turn a late look into a failure.
pub fn wait_for<T>(deadline: Instant, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    let mut pause = Duration::from_micros(200);
    loop {
        let is_last = Instant::now() >= deadline;
        let answer = poll();
        if answer.is_some() || is_last {
            return answer;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// [`wait_for`] a yes.
pub fn wait_until(deadline: Instant, mut is_so: impl FnMut() -> bool) -> bool {
    wait_for(deadline, || is_so().then_some(())).is_some()
}

/// What is left until `deadline`, at least a millisecond because a socket's time-out of zero
/// means "for ever".
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
