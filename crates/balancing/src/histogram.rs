//! How long things took, counted in buckets.

use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper ends of a histogram's buckets. Whatever takes longer is counted in one more.
pub type Bounds = [Duration; BOUNDS];

/// The number of bounds.
pub const BOUNDS: usize = 12;

/// For what takes a peer's answer, or a round trip: 0.25 ms to 10 s.
pub const LATENCIES: Bounds = micros([
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000,
]);

/// For how long sessions last: 10 ms to a day.
pub const LIFETIMES: Bounds = micros([
    10_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
]);

/// A histogram that one worker writes, without locked instructions, and others read.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS + 1],
    sum_nanos: AtomicU64,
}

/// What histograms have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many lie in each bucket; the last one is for what exceeds all bounds.
    pub counts: [u64; BOUNDS + 1],
    /// The sum of all that was counted.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one more.
    pub fn count(&self, took: Duration, bounds: &Bounds) {
        let bucket = bounds.iter().take_while(|bound| took > **bound).count();
        bump(&self.counts[bucket], 1);
        bump(&self.sum_nanos, u64::try_from(took.as_nanos()).unwrap_or(0));
    }

    /// Sets what has been counted. Only one thread may call this or [`Self::count`].
    pub fn set(&self, counted: &Distribution) {
        for (counter, count) in self.counts.iter().zip(counted.counts) {
            counter.store(count, Relaxed);
        }
        self.sum_nanos.store(u64::try_from(counted.sum.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Adds what was counted to `sum`.
    pub fn add_to(&self, sum: &mut Distribution) {
        for (sum, count) in sum.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
        sum.sum += Duration::from_nanos(self.sum_nanos.load(Relaxed));
    }
}

impl Distribution {
    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl std::ops::AddAssign for Distribution {
    fn add_assign(&mut self, other: Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum += other.sum;
    }
}

/// Adds without a locked instruction: the counter has one writer.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

const fn micros(micros: [u64; BOUNDS]) -> Bounds {
    let mut bounds = [Duration::ZERO; BOUNDS];
    let mut index = 0;
    while index < BOUNDS {
        bounds[index] = Duration::from_micros(micros[index]);
        index += 1;
    }
    bounds
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_exceeds_all_is_counted_too() {
        let histogram = Histogram::default();
        for micros in [0, 250, 251, 10_000_000, 10_000_001] {
            histogram.count(Duration::from_micros(micros), &LATENCIES);
        }
        let mut found = Distribution::default();
        histogram.add_to(&mut found);
        assert_eq!(found.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(found.sum, Duration::from_micros(20_000_502));
    }

    #[test]
    fn bounds_ascend() {
        assert!(LATENCIES.is_sorted() && LIFETIMES.is_sorted());
    }
}
