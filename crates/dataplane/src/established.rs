//! Whether sessions that have been open for a while are in use.

use std::time::Duration;
use terms::Instant;

/// Notes the events of sessions that are at least a second old, which new clients are not to hold up.
///
/// A worker numbers its sessions in order, so a number tells whether a session is old enough.
#[derive(Debug, Default)]
pub(crate) struct Established {
    /// Sessions below this number began before the period before this one.
    below: u64,
    /// Sessions below this number began before this period.
    next_below: u64,
    /// When this period ends.
    ends: Instant,
    /// Whether one of them had an event in this period, and in the one before.
    now: bool,
    before: bool,
}

/// How old they are at least, and how long they count as in use after an event.
const PERIOD: Duration = Duration::from_secs(1);

impl Established {
    /// Notes an event of a session.
    #[inline]
    pub fn on_event(&mut self, number: u64) {
        self.now |= number < self.below;
    }

    /// Notes that time has passed. The next session will have this number.
    pub fn on_turn(&mut self, next_number: u64, now: Instant) {
        if now >= self.ends {
            (self.below, self.next_below) = (self.next_below, next_number);
            (self.before, self.now) = (self.now, false);
            self.ends = now + PERIOD;
        }
    }

    /// Whether one of them had an event lately.
    pub fn are_in_use(&self) -> bool {
        self.now || self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_count_from_their_second_second_on() {
        let mut established = Established::default();
        established.on_turn(1, Instant::from_millis(10_000));
        // Session 1 begins now, session 2 a second later.
        established.on_turn(2, Instant::from_millis(10_999));
        established.on_event(1);
        established.on_turn(2, Instant::from_millis(11_000));
        established.on_event(1);
        established.on_turn(3, Instant::from_millis(11_999));
        assert!(!established.are_in_use(), "it began in the period before");
        established.on_turn(3, Instant::from_millis(12_000));
        established.on_event(2);
        assert!(!established.are_in_use());
        established.on_event(1);
        assert!(established.are_in_use());
    }

    #[test]
    fn they_are_in_use_for_a_second_after_an_event() {
        let mut established = Established::default();
        (0..3).for_each(|second| established.on_turn(2, Instant::from_millis(second * 1000)));
        established.on_event(1);
        established.on_turn(2, Instant::from_millis(3000));
        assert!(established.are_in_use());
        established.on_turn(2, Instant::from_millis(3999));
        assert!(established.are_in_use());
        established.on_turn(2, Instant::from_millis(4000));
        assert!(!established.are_in_use());
    }
}
