//! What the results of one target's probes come to.

use std::time::Duration;

/// When a target is probed, and what its results have to be for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The time from one probe to the next.
    pub interval: Duration,
    /// How long a probe may take, the connect included.
    pub timeout: Duration,
    /// Passes in a row after which a target that is down is up.
    pub rise: u32,
    /// Failures in a row after which a target that is up is down.
    pub fall: u32,
}

/// What probes have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The target answers as it should.
    Up,
    /// It does not.
    Down,
}

/// The verdict about a target, and what speaks against it.
///
/// ~~~text
///             `fall` failures in a row
///        Up ---------------------------> Down
///         ^                               |
///         `---- `rise` passes in a row ---'
/// ~~~
///
/// Without a verdict, the first result is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    verdict: Option<Verdict>,
    /// Results in a row that contradict the verdict.
    against: u32,
    /// Failures since the verdict was that the target is down.
    failures: u32,
}

impl Track {
    pub fn new(verdict: Option<Verdict>) -> Self {
        Self { verdict, against: 0, failures: 0 }
    }

    pub fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Folds in a result; returns whether the verdict is another one now.
    pub fn observe(&mut self, has_passed: bool, rules: &Rules) -> bool {
        let result = if has_passed { Verdict::Up } else { Verdict::Down };
        if self.verdict == Some(result) {
            self.against = 0;
            self.failures = self.failures.saturating_add(u32::from(!has_passed));
            return false;
        }
        self.against = self.against.saturating_add(1);
        let enough = match self.verdict {
            None => 1,
            Some(Verdict::Up) => rules.fall,
            Some(Verdict::Down) => rules.rise,
        };
        let changes = self.against >= enough;
        if changes {
            *self = Self::new(Some(result));
        }
        changes
    }

    /// The time from one probe to the next: shorter while results contradict the verdict, longer
    /// for a target that has been down for some time.
    pub fn pause(&self, rules: &Rules) -> Duration {
        let interval = rules.interval.max(INTERVAL_MIN);
        if self.against > 0 || self.verdict.is_none() {
            return (interval / UNDECIDED).max(INTERVAL_MIN);
        }
        if self.verdict == Some(Verdict::Up) {
            return interval;
        }
        let factor = 1 << (self.failures / PATIENCE).min(2);
        (interval * factor).min(PAUSE_MAX.max(interval))
    }
}

/// Whatever is configured, no target is probed more often than this.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How many times faster a target is probed while undecided.
const UNDECIDED: u32 = 4;
/// Failures after which a target that is down is probed half as often, and once more half as often
/// after as many again.
const PATIENCE: u32 = 6;
/// The longest pause, unless the interval itself is longer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        interval: Duration::from_secs(4),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 3,
    };

    /// Plays results, `+` or `-`, and returns the verdicts after each: `u`, `d`.
    #[track_caller]
    fn check(verdict: Option<Verdict>, results: &str, expected: &str) {
        let mut track = Track::new(verdict);
        let verdicts = results.chars().map(|result| {
            let before = track.verdict();
            assert_eq!(track.observe(result == '+', &RULES), track.verdict() != before);
            match track.verdict() {
                Some(Verdict::Up) => 'u',
                Some(Verdict::Down) => 'd',
                None => '?',
            }
        });
        assert_eq!(verdicts.collect::<String>(), expected);
    }

    #[test]
    fn the_first_result_is_a_verdict_and_then_several_in_a_row_are_needed() {
        check(None, "+--+---+-++", "uuuuuuddddu");
        check(None, "-+-++", "ddddu");
        check(Some(Verdict::Up), "--+--", "uuuuu");
        check(Some(Verdict::Down), "+-+-", "dddd");
    }

    #[test]
    fn probes_are_closer_while_undecided_and_farther_apart_for_the_dead() {
        let seconds = |track: &Track| track.pause(&RULES).as_secs();
        let mut track = Track::new(Some(Verdict::Up));
        assert_eq!(seconds(&track), 4);
        track.observe(false, &RULES);
        assert_eq!(seconds(&track), 1);
        track.observe(false, &RULES);
        track.observe(false, &RULES);
        assert_eq!((track.verdict(), seconds(&track)), (Some(Verdict::Down), 4));
        let pauses: Vec<_> = (0..14)
            .map(|_| {
                track.observe(false, &RULES);
                seconds(&track)
            })
            .collect();
        assert_eq!(pauses, [4, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16, 16]);
        track.observe(true, &RULES);
        assert_eq!(seconds(&track), 1);
    }
}
