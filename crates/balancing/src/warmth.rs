//! How much of its share a backend gets that has only just become available.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use terms::Instant;

/// Since when a backend has been warming up. Shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Warmth {
    /// In nanoseconds; zero if it is warm.
    since: AtomicU64,
}

impl Warmth {
    pub fn new() -> Self {
        Self { since: AtomicU64::new(0) }
    }

    pub fn copy(other: &Self) -> Self {
        Self { since: AtomicU64::new(other.since.load(Relaxed)) }
    }

    pub fn begin(&self, now: Instant) {
        self.since.store(now.as_nanos().max(1), Relaxed);
    }

    /// Begins anew if it has begun.
    pub fn begin_again(&self, now: Instant) {
        if self.since.load(Relaxed) != 0 {
            self.begin(now);
        }
    }

    /// The part of its share that a backend gets at `now`: from a tenth to all of it, which takes
    /// `length`.
    pub fn part(&self, length: Duration, now: Instant) -> f64 {
        match self.since.load(Relaxed) {
            0 => 1.0,
            since => {
                let age = now.since(Instant::from_nanos(since));
                (age.as_secs_f64() / length.as_secs_f64().max(f64::MIN_POSITIVE)).clamp(LEAST, 1.0)
            }
        }
    }
}

const LEAST: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_grows_from_a_tenth_to_the_whole() {
        let at = |seconds: u64| Instant::from_millis(1_000_000 + seconds * 1000);
        let (warmth, length) = (Warmth::new(), Duration::from_secs(100));
        assert_eq!(warmth.part(length, at(0)), 1.0);
        warmth.begin_again(at(0));
        assert_eq!(warmth.part(length, at(0)), 1.0);
        warmth.begin(at(0));
        let parts = [0, 5, 10, 50, 100, 1000].map(|age| warmth.part(length, at(age)));
        assert_eq!(parts, [0.1, 0.1, 0.1, 0.5, 1.0, 1.0]);
        warmth.begin_again(at(1000));
        assert_eq!(warmth.part(length, at(1000)), 0.1);
    }
}
