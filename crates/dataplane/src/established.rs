//! Whether sessions that have been open for a while are in use.

use std::time::Duration;
use terms::Instant;

/// Notes the events of a worker's sessions that are at least a second old, which new clients are not
/// to hold up.
///
/// Sessions are numbered in the order in which they begin, so comparing numbers shows which are old.
#[derive(Debug, Default)]
pub(crate) struct Established {
    /// Sessions below this number began before the period before this one.
    below: u64,
    /// Sessions below this number began before this period.
    next_below: u64,
    /// When this period ends.
    ends: Instant,
    /// Whether one of them has had an event since the last turn.
    has_event: bool,
    /// When the last one was reported.
    reported: Instant,
}

/// How old they are at least, and how long they count as in use after an event.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// How often their events are reported at most.
const REPORTS_APART: Duration = Duration::from_millis(100);

impl Established {
    /// Notes an event of a session.
    #[inline]
    pub fn on_event(&mut self, number: u64) {
        self.has_event |= number < self.below;
    }

    /// Notes that time has passed, and that the next session will have this number. Returns whether
    /// to report an event.
    pub fn on_turn(&mut self, next_number: u64, now: Instant) -> bool {
        if now >= self.ends {
            (self.below, self.next_below) = (self.next_below, next_number);
            self.ends = now + PERIOD;
        }
        let has_event = std::mem::take(&mut self.has_event);
        let is_to_be_reported = has_event && now.since(self.reported) >= REPORTS_APART;
        if is_to_be_reported {
            self.reported = now;
        }
        is_to_be_reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn in which a session has an event, and after which the next one gets the number `next`.
    fn turn(established: &mut Established, next: u64, session: u64, millis: u64) -> bool {
        established.on_event(session);
        established.on_turn(next, Instant::from_millis(millis))
    }

    #[test]
    fn sessions_count_from_their_second_second_on() {
        let established = &mut Established::default();
        established.on_turn(1, Instant::from_millis(10_000));
        // Session 1 begins now, session 2 a second later.
        assert!(!turn(established, 2, 1, 10_999));
        assert!(!turn(established, 2, 1, 11_000));
        assert!(!turn(established, 3, 1, 11_999), "it began in the period before");
        assert!(!turn(established, 3, 2, 12_000));
        assert!(!turn(established, 3, 2, 12_001));
        assert!(turn(established, 3, 1, 12_002));
    }

    #[test]
    fn they_are_reported_again_after_a_while() {
        let established = &mut Established::default();
        for second in 0..3 {
            assert!(!established.on_turn(2, Instant::from_millis(second * 1000)));
        }
        assert!(turn(established, 2, 1, 2500));
        assert!(!turn(established, 2, 1, 2599));
        assert!(turn(established, 2, 1, 2600));
        assert!(!established.on_turn(2, Instant::from_millis(2900)), "it had none");
    }
}
