//! How long a backend takes to answer.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use terms::Instant;

/// The time constant of the average: after it, a sample counts for 37 %.
const MEMORY: f32 = 10_000.0;
/// The least time that counts, in milliseconds. Whoever is that fast is as fast as anybody.
const LEAST: f32 = 0.01;

/// The time that a backend takes to answer: a moving average that jumps to any higher sample
/// ("peak EWMA"), shared by all workers.
///
/// It falls with time even if nobody asks, so that a backend that was slow is tried again.
#[derive(Debug)]
pub struct Latency {
    /// Milliseconds (an `f32`) above the low half of the time of the last sample in milliseconds;
    /// zero before the first one.
    word: AtomicU64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// One of its own that is like another.
    pub(crate) fn copy(other: &Self) -> Self {
        Self { word: AtomicU64::new(other.word.load(Relaxed)) }
    }

    /// The latency at `now`, in milliseconds; `None` if there was no sample yet.
    #[must_use]
    pub fn read(&self, now: Instant) -> Option<f32> {
        let word = self.word.load(Relaxed);
        let (latency, age) = unpack(word, now);
        (word != 0).then(|| (latency * remaining(age)).max(LEAST))
    }

    /// Takes in how long the backend took to answer somebody.
    pub fn observe(&self, took: Duration, now: Instant) {
        let sample = (took.as_secs_f32() * 1000.0).max(LEAST);
        let next = |word: u64| {
            let (latency, age) = unpack(word, now);
            let kept = remaining(age);
            let average = latency * kept + sample * (1.0 - kept);
            Some(pack(if word == 0 || sample > latency * kept { sample } else { average }, now))
        };
        // The closure never declines.
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// Takes in that somebody has waited for so long, in vain so far: the latency is not below that.
    /// Returns whether that is news.
    pub fn observe_wait(&self, waited: Duration, now: Instant) -> bool {
        let is_longer =
            self.read(now).is_none_or(|latency| waited.as_secs_f32() * 1000.0 > latency);
        if is_longer {
            self.observe(waited, now);
        }
        is_longer
    }

    /// Takes in that the backend closed a connection and had sent nothing. That is quick, and must
    /// not attract others: it counts as five times the latency, and a second at least.
    pub fn punish(&self, now: Instant) {
        let latency = self.read(now).unwrap_or(LEAST);
        self.observe(Duration::from_secs_f32((latency * 5.0).clamp(1000.0, WORST) / 1000.0), now);
    }
}

/// The most that repeated punishment comes to, in milliseconds.
const WORST: f32 = 60_000.0;

/// The share of a latency that remains at this age, in milliseconds.
fn remaining(age: f32) -> f32 {
    if age < 1.0 { 1.0 } else { (-age / MEMORY).exp() }
}

fn pack(latency: f32, now: Instant) -> u64 {
    u64::from(latency.to_bits()) << 32 | now.as_millis() & u64::from(u32::MAX)
}

/// The latency as it was stored, and how many milliseconds ago that was.
fn unpack(word: u64, now: Instant) -> (f32, f32) {
    let age = (now.as_millis() as u32).wrapping_sub(word as u32);
    // Another worker's clock may be ahead by a little.
    let age = if age > u32::MAX - 60_000 { 0 } else { age };
    (f32::from_bits((word >> 32) as u32), age as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays samples in milliseconds, at times in milliseconds, and reads at the end.
    #[track_caller]
    fn check(samples: &[(u64, u64)], at: u64, expected: f32) {
        let latency = Latency::new();
        let moment = |millis: u64| Instant::from_millis(u64::from(u32::MAX) - 5000 + millis);
        for &(at, sample) in samples {
            latency.observe(Duration::from_millis(sample), moment(at));
        }
        let read = latency.read(moment(at)).unwrap();
        assert!((read / expected - 1.0).abs() < 0.01, "{read} instead of {expected}");
    }

    #[test]
    fn peaks_count_at_once_and_are_forgotten_slowly() {
        check(&[(0, 10)], 0, 10.0);
        check(&[(0, 10), (1, 100)], 1, 100.0);
        check(&[(0, 100), (10_000, 10)], 10_000, 36.79 + 6.321); // also past 2^32 ms
        check(&[(0, 100), (0, 10)], 0, 100.0);
        check(&[(0, 100), (10_000, 40)], 10_000, 40.0); // it had fallen below that
        check(&[(0, 100)], 10_000, 36.79);
        check(&[(0, 100)], 1_000_000, LEAST);
    }

    #[test]
    fn closing_at_once_counts_as_slow() {
        let (latency, now) = (Latency::new(), Instant::from_millis(7));
        assert_eq!(latency.read(now), None);
        latency.punish(now);
        assert_eq!(latency.read(now), Some(1000.0));
        (0..9).for_each(|_| latency.punish(now));
        assert_eq!(latency.read(now), Some(WORST));
    }

    #[test]
    fn a_wait_in_vain_counts_only_if_it_is_longer() {
        let (latency, now) = (Latency::new(), Instant::from_millis(7));
        latency.observe(Duration::from_millis(50), now);
        latency.observe_wait(Duration::from_millis(20), now);
        assert_eq!(latency.read(now), Some(50.0));
        latency.observe_wait(Duration::from_millis(80), now);
        assert_eq!(latency.read(now), Some(80.0));
    }
}
