//! How often something may happen.

use crate::sync::{AtomicU64, Ordering};
use std::fmt;
use std::str::FromStr;
use terms::Instant;

/// A number of times in a period: all of them at once, and then evenly (the generic cell rate
/// algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    times: u32,
    seconds: u32,
}

/// Why a text is no [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a number and a time of 1 s to 1 h, such as 20/s, 100/10s or 300/1m")]
pub struct InvalidRate;

impl Rate {
    /// Takes one of the times at `now`, if there is one left. `busy_until` remembers those taken.
    pub fn take(self, busy_until: &AtomicU64, now: Instant) -> bool {
        let (all, now) = (self.period(), now.as_nanos());
        let each = self.each();
        let mut before = busy_until.load(Ordering::Relaxed);
        loop {
            let after = before.max(now) + each;
            if after > now + all {
                return false;
            }
            let relaxed = Ordering::Relaxed;
            match busy_until.compare_exchange(before, after, relaxed, relaxed) {
                Ok(_) => return true,
                Err(other) => before = other,
            }
        }
    }

    /// Gives back a time that was taken and not used.
    pub fn give_back(self, busy_until: &AtomicU64) {
        busy_until.fetch_sub(self.each(), Ordering::Relaxed);
    }

    /// When there will be a time to take.
    pub fn next(self, busy_until: &AtomicU64) -> Instant {
        let after = busy_until.load(Ordering::Relaxed) + self.each();
        Instant::from_nanos(after.saturating_sub(self.period()))
    }

    /// All together, in nanoseconds.
    fn period(self) -> u64 {
        u64::from(self.seconds) * 1_000_000_000
    }

    /// The period divided by the times.
    fn each(self) -> u64 {
        self.period() / u64::from(self.times)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            1 => write!(f, "{}/s", self.times),
            seconds => write!(f, "{}/{seconds}s", self.times),
        }
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (times, time) = text.split_once('/').ok_or(InvalidRate)?;
        let unit = time.trim_start_matches(|it: char| it.is_ascii_digit());
        let count = &time[..time.len() - unit.len()];
        let factor = match unit {
            "s" | "" if !time.is_empty() => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(InvalidRate),
        };
        let number = |text: &str, most: u32| {
            let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
            let number = if is_number { text.parse::<u32>().ok() } else { None };
            number.filter(|it| (1..=most).contains(it)).ok_or(InvalidRate)
        };
        let seconds = match count {
            "" => factor,
            count => number(count, 3600)? * factor,
        };
        if seconds > 3600 {
            return Err(InvalidRate);
        }
        Ok(Self { times: number(times, 1_000_000_000)?, seconds })
    }
}
