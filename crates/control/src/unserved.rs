//! Clients that got no backend, or whose proxy did not announce them. One warning for each would
//! flood the log when all backends are down.

use std::collections::HashMap;
use std::time::Duration;
use terms::{CloseReason, Instant, ListenerId};

/// At most one warning per listener and reason in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Sessions that ended because nobody could serve them, and which of them were reported.
#[derive(Default)]
pub(crate) struct Unserved {
    kinds: HashMap<(ListenerId, CloseReason), Count>,
}

struct Count {
    reported: Instant,
    since: u64,
}

/// One warning that is due.
pub(crate) struct Warning {
    pub listener: ListenerId,
    pub reason: CloseReason,
    pub sessions: u64,
}

impl Unserved {
    /// Records the end of a session. Returns a warning if it is the first of its kind for a while;
    /// later ones are counted until [`Unserved::due`].
    pub fn add(
        &mut self,
        listener: ListenerId,
        reason: CloseReason,
        now: Instant,
    ) -> Option<Warning> {
        use CloseReason::{ConnectRefused, Limit, NoBackend, ProxyInvalid, ProxyTimeout};
        let is_reported =
            matches!(reason, NoBackend | Limit | ConnectRefused | ProxyInvalid | ProxyTimeout);
        if !is_reported {
            return None;
        }
        if let Some(count) = self.kinds.get_mut(&(listener, reason)) {
            count.since += 1;
            return None;
        }
        self.kinds.insert((listener, reason), Count { reported: now, since: 0 });
        Some(Warning { listener, reason, sessions: 1 })
    }

    /// Warnings about the sessions counted since the last warning, if that was long enough ago.
    pub fn due(&mut self, now: Instant) -> Vec<Warning> {
        let mut due = Vec::new();
        self.kinds.retain(|&(listener, reason), count| {
            if now.since(count.reported) < WARN_EVERY {
                return true;
            }
            let sessions = std::mem::take(&mut count.since);
            if sessions > 0 {
                due.push(Warning { listener, reason, sessions });
            }
            count.reported = now;
            sessions > 0 // else the next one is a first one again
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn the_first_is_reported_at_once_and_the_others_in_one_line() {
        let (mut unserved, listener) = (Unserved::default(), ListenerId::new(0));
        let add = |unserved: &mut Unserved, reason, seconds| {
            unserved.add(listener, reason, at(seconds)).map(|it| it.sessions)
        };
        let refused = CloseReason::ConnectRefused;
        assert_eq!(add(&mut unserved, refused, 1), Some(1));
        assert_eq!(add(&mut unserved, refused, 2), None);
        assert_eq!(add(&mut unserved, refused, 10), None);
        assert_eq!(add(&mut unserved, CloseReason::NoBackend, 10), Some(1));
        assert_eq!(add(&mut unserved, CloseReason::ClientFin, 10), None);
        assert!(unserved.due(at(10)).is_empty());
        let due: Vec<_> = unserved.due(at(11)).iter().map(|it| (it.reason, it.sessions)).collect();
        assert_eq!(due, [(refused, 2)]);
        assert_eq!(add(&mut unserved, refused, 12), None);
        assert_eq!(unserved.due(at(21)).len(), 1);
        assert!(unserved.due(at(31)).is_empty());
        assert_eq!(add(&mut unserved, refused, 32), Some(1), "after a quiet time");
    }
}
