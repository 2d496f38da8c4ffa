//! What connects, probes and sessions say about a backend.

use std::time::Duration;
use terms::Instant;

/// Whether a backend may be offered new sessions.
///
/// ~~~text
///            `fall` failures                `quarantine` passes
///   Healthy ----------------> Quarantined -------------------> Probation
///    ^  ^                          ^---------- one failure --------'  |
///    |  `-------------------------- `rise` successes -----------------'
///    |
///    |  in a pool with probes:
///    |
///    |            a failed connect
///    | Unknown --------------------> Quarantined
///    |    |  |
///    |    |  `---------------------> Down <---- from every state, when a verdict says so
///    |    `-- a connect, or a verdict |
///    `------------ a verdict ---------'
/// ~~~
///
/// A verdict is what several probes together have shown (see the crate `probing`). Connects do not
/// change what it says about a backend that is down. Probation is not stored: a backend whose
/// quarantine has passed is on probation. Only the [`Ejector`](crate::Ejector) puts a healthy backend
/// into the state `Ejected`, and takes it out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// In use, after this many failures in a row.
    Healthy {
        /// Failures in a row.
        failures: u32,
    },
    /// Skipped while the quarantine lasts, on probation after it.
    Quarantined {
        /// When the last failure was seen.
        since: Instant,
        /// Successes in a row after the quarantine.
        successes: u32,
    },
    /// New, and there is no verdict yet. Skipped while others are available.
    Unknown,
    /// Skipped until a verdict says that it is up.
    Down {
        /// When the verdict was reached.
        since: Instant,
    },
    /// Too many of its sessions failed, or took too long. Skipped until the time for that has passed.
    Ejected {
        /// Since when.
        since: Instant,
        /// How often in a row, this time included: the more often, the longer.
        times: u32,
    },
}

/// The limits at which health changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthLimits {
    /// Failures in a row after which a backend is quarantined. Default 1.
    pub fall: u32,
    /// Successes in a row, after a quarantine, that end the probation. Default 1.
    pub rise: u32,
    /// How long a failed backend is skipped. Zero never quarantines.
    pub quarantine: Duration,
    /// Whether quarantined backends are offered when nothing else is left. Default true; pen(1)
    /// never does that.
    pub last_resort: bool,
}

/// The result of a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered.
    Success,
    /// The backend refused, was unreachable, did not answer in time, or reset at once.
    Failure,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self { fall: 1, rise: 1, quarantine: Duration::from_secs(10), last_resort: true }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::Healthy { failures: 0 }
    }
}

impl Health {
    /// Folds in one result seen at `now`.
    #[must_use]
    pub fn observe(self, outcome: Outcome, limits: &HealthLimits, now: Instant) -> Self {
        match (self, outcome) {
            (Self::Healthy { .. }, Outcome::Success) => Self::Healthy { failures: 0 },
            (Self::Healthy { failures }, Outcome::Failure) => {
                let failures = failures.saturating_add(1);
                if failures >= limits.fall && !limits.quarantine.is_zero() {
                    Self::Quarantined { since: now, successes: 0 }
                } else {
                    Self::Healthy { failures }
                }
            }
            // Whether begun before the quarantine or during it, a failure restarts it, as in pen.
            (Self::Quarantined { .. }, Outcome::Failure) => {
                Self::Quarantined { since: now, successes: 0 }
            }
            // If quarantined backends are never tried, this connect began before the quarantine and
            // says nothing new.
            (Self::Quarantined { .. }, Outcome::Success)
                if !limits.last_resort && self.is_left_out(limits, now) =>
            {
                self
            }
            (Self::Unknown, Outcome::Success) => Self::Healthy { failures: 0 },
            (Self::Unknown, Outcome::Failure) if limits.quarantine.is_zero() => self,
            (Self::Unknown, Outcome::Failure) => Self::Quarantined { since: now, successes: 0 },
            // A client was sent there because nothing else was left, or began to connect before.
            (Self::Down { .. } | Self::Ejected { .. }, _) => self,
            // Also before the quarantine has passed: the backend was then tried because everything
            // else was unavailable, and it answered.
            (Self::Quarantined { since, successes }, Outcome::Success) => {
                let successes = successes.saturating_add(1);
                if successes >= limits.rise {
                    Self::Healthy { failures: 0 }
                } else {
                    Self::Quarantined { since, successes }
                }
            }
        }
    }

    /// Folds in a verdict of the probes, reached at `now`. A backend that is up is out of
    /// quarantine, too: the probe was asked for because a connect had failed. One that is ejected
    /// stays so, because it answered probes while its sessions failed.
    #[must_use]
    pub fn judge(self, is_up: bool, now: Instant) -> Self {
        match (self, is_up) {
            (Self::Healthy { .. } | Self::Ejected { .. }, true) | (Self::Down { .. }, false) => {
                self
            }
            (_, true) => Self::Healthy { failures: 0 },
            (_, false) => Self::Down { since: now },
        }
    }

    /// The quarantine that skips a backend for exactly `length` from `now`. Zero ends a quarantine.
    ///
    /// It is stored as the time of a failure that would have this effect, which may be in the
    /// future. A change of [`HealthLimits::quarantine`] moves the end of every quarantine.
    /// Source: penctl(1), `server N blacklist`.
    #[must_use]
    pub fn left_out_for(length: Duration, limits: &HealthLimits, now: Instant) -> Self {
        Self::Quarantined { since: now + length - limits.quarantine, successes: 0 }
    }

    /// Whether the backend is skipped at `now`, as long as others are available.
    #[must_use]
    pub fn is_left_out(self, limits: &HealthLimits, now: Instant) -> bool {
        match self {
            Self::Healthy { .. } => false,
            Self::Quarantined { since, .. } => now < since + limits.quarantine,
            Self::Unknown | Self::Down { .. } | Self::Ejected { .. } => true,
        }
    }

    /// The word for the state at `now`, as shown in reports.
    #[must_use]
    pub fn name(self, limits: &HealthLimits, now: Instant) -> &'static str {
        match self {
            Self::Healthy { .. } => "healthy",
            Self::Quarantined { .. } if self.is_left_out(limits, now) => "quarantined",
            Self::Quarantined { .. } => "probation",
            Self::Unknown => "unknown",
            Self::Down { .. } => "down",
            Self::Ejected { .. } => "ejected",
        }
    }

    /// Whether enough connects in a row have failed for the backend to count as failed.
    pub(crate) fn has_failed(self, limits: &HealthLimits) -> bool {
        match self {
            Self::Healthy { failures } => failures >= limits.fall,
            Self::Quarantined { .. } => true,
            Self::Unknown | Self::Down { .. } | Self::Ejected { .. } => false,
        }
    }

    /// Packs the state into the low 62 bits of a word: 3 bits for the variant, 16 bits for the
    /// count, 43 bits for milliseconds (278 years, because an operator may date a failure far ahead
    /// or back).
    pub(crate) fn pack(self) -> u64 {
        let (which, count, millis) = match self {
            Self::Healthy { failures } => (HEALTHY, failures, 0),
            Self::Quarantined { since, successes } => (QUARANTINED, successes, since.as_millis()),
            Self::Unknown => (UNKNOWN, 0, 0),
            Self::Down { since } => (DOWN, 0, since.as_millis()),
            Self::Ejected { since, times } => (EJECTED, times, since.as_millis()),
        };
        which
            | u64::from(count.min(COUNT_MAX)) << COUNT_SHIFT
            | millis.min(MILLIS_MAX) << MILLIS_SHIFT
    }

    /// The inverse of [`Self::pack`].
    pub(crate) fn unpack(word: u64) -> Self {
        let count = (word >> COUNT_SHIFT) as u32 & COUNT_MAX;
        let since = Instant::from_millis(word >> MILLIS_SHIFT & MILLIS_MAX);
        match word & VARIANTS {
            HEALTHY => Self::Healthy { failures: count },
            QUARANTINED => Self::Quarantined { since, successes: count },
            UNKNOWN => Self::Unknown,
            EJECTED => Self::Ejected { since, times: count },
            _ => Self::Down { since },
        }
    }
}

/// A healthy backend without failures is a word of zero.
const HEALTHY: u64 = 0;
const QUARANTINED: u64 = 1;
const UNKNOWN: u64 = 2;
const DOWN: u64 = 3;
const EJECTED: u64 = 4;
const VARIANTS: u64 = 7;
const COUNT_SHIFT: u32 = 3;
const COUNT_MAX: u32 = (1 << 16) - 1;
const MILLIS_SHIFT: u32 = 19;
const MILLIS_MAX: u64 = (1 << 43) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failure, Success};

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// Plays `(second, outcome)` pairs and returns the name of the state after each.
    #[track_caller]
    fn check(limits: HealthLimits, story: &[(u64, Outcome)], expected: &[&str]) {
        let mut health = Health::default();
        let names: Vec<_> = story
            .iter()
            .map(|&(second, outcome)| {
                health = Health::unpack(health.observe(outcome, &limits, at(second)).pack());
                health.name(&limits, at(second))
            })
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_failure_quarantines_and_a_success_after_it_heals() {
        let limits = HealthLimits::default();
        check(limits, &[(1, Failure), (12, Success)], &["quarantined", "healthy"]);
        check(limits, &[(1, Failure), (12, Failure)], &["quarantined", "quarantined"]);
    }

    #[test]
    fn a_backend_tried_for_want_of_others_heals_at_once() {
        check(HealthLimits::default(), &[(1, Failure), (2, Success)], &["quarantined", "healthy"]);
    }

    #[test]
    fn a_quarantine_of_zero_never_leaves_out() {
        let limits = HealthLimits { quarantine: Duration::ZERO, ..HealthLimits::default() };
        check(limits, &[(1, Failure), (1, Failure)], &["healthy", "healthy"]);
    }

    #[test]
    fn where_nobody_in_quarantine_is_tried_a_late_success_does_not_end_it() {
        let limits = HealthLimits { last_resort: false, ..HealthLimits::default() };
        check(limits, &[(1, Failure), (2, Success)], &["quarantined", "quarantined"]);
        check(limits, &[(1, Failure), (11, Success)], &["quarantined", "healthy"]);
    }

    #[test]
    fn a_quarantine_by_hand_lasts_as_long_as_said() {
        let year = 365 * 24 * 3600;
        // The clock's origin lies far back, so that there is room before now.
        let now = at(100 * year);
        for quarantine in [0, 2, 30, i32::MAX as u64] {
            let limits =
                HealthLimits { quarantine: Duration::from_secs(quarantine), ..Default::default() };
            for seconds in [0, 1, 5, 60, i32::MAX as u64] {
                let length = Duration::from_secs(seconds);
                let health = Health::left_out_for(length, &limits, now);
                let health = Health::unpack(health.pack());
                let left_out = |at| health.is_left_out(&limits, at);
                assert_eq!(left_out(now), seconds > 0, "{seconds} of {quarantine}");
                let end = now + length;
                assert!(seconds == 0 || left_out(end - Duration::from_millis(1)));
                assert!(!left_out(end), "{seconds} of {quarantine}");
            }
        }
    }

    #[test]
    fn a_changed_quarantine_moves_the_end_of_those_that_run() {
        let limits = |seconds| HealthLimits {
            quarantine: Duration::from_secs(seconds),
            ..HealthLimits::default()
        };
        let health = Health::left_out_for(Duration::from_secs(5), &limits(30), at(1000));
        assert!(health.is_left_out(&limits(30), at(1004)));
        assert!(!health.is_left_out(&limits(30), at(1005)));
        assert!(health.is_left_out(&limits(40), at(1014)));
        assert!(!health.is_left_out(&limits(40), at(1015)));
        assert!(!health.is_left_out(&limits(20), at(1000)));
    }

    #[test]
    fn a_verdict_of_down_ends_only_with_another_verdict() {
        let limits = HealthLimits::default();
        let down = Health::default().judge(false, at(1));
        assert_eq!(Health::unpack(down.pack()), Health::Down { since: at(1) });
        for outcome in [Success, Failure] {
            assert_eq!(down.observe(outcome, &limits, at(100)), down);
        }
        assert!(down.is_left_out(&limits, at(1_000_000)));
        assert_eq!(down.judge(false, at(5)), down, "still since then");
        assert_eq!(down.judge(true, at(6)), Health::default());
    }

    #[test]
    fn what_is_unknown_is_skipped_until_a_connect_or_a_verdict() {
        let limits = HealthLimits { fall: 3, ..HealthLimits::default() };
        let unknown = Health::unpack(Health::Unknown.pack());
        assert!(unknown.is_left_out(&limits, at(1)));
        assert_eq!(unknown.observe(Success, &limits, at(1)), Health::default());
        assert_eq!(unknown.observe(Failure, &limits, at(1)).name(&limits, at(1)), "quarantined");
        assert_eq!(unknown.judge(true, at(1)), Health::default());
        assert_eq!(unknown.judge(false, at(1)).name(&limits, at(1)), "down");
    }

    #[test]
    fn a_good_verdict_ends_a_quarantine() {
        let limits = HealthLimits::default();
        let quarantined = Health::default().observe(Failure, &limits, at(1));
        assert_eq!(quarantined.judge(true, at(2)), Health::default());
        assert_eq!(quarantined.judge(false, at(2)), Health::Down { since: at(2) });
    }

    #[test]
    fn neither_connects_nor_good_probes_end_an_ejection() {
        let limits = HealthLimits::default();
        let ejected = Health::Ejected { since: at(5), times: 3 };
        assert_eq!(Health::unpack(ejected.pack()), ejected);
        assert_eq!(ejected.observe(Success, &limits, at(1000)), ejected);
        assert_eq!(ejected.observe(Failure, &limits, at(1000)), ejected);
        assert_eq!(ejected.judge(true, at(1000)), ejected);
        assert_eq!(ejected.judge(false, at(7)), Health::Down { since: at(7) });
        assert!(ejected.is_left_out(&limits, at(1_000_000)));
    }

    #[test]
    fn fall_and_rise_count_in_a_row() {
        let limits = HealthLimits { fall: 2, rise: 2, ..HealthLimits::default() };
        check(
            limits,
            &[(1, Failure), (1, Success), (1, Failure), (1, Failure), (12, Success), (12, Success)],
            &["healthy", "healthy", "healthy", "quarantined", "probation", "healthy"],
        );
    }
}
