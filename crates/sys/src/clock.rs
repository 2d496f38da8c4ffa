//! The only place that reads clocks.

use rustix::time::{ClockId, clock_gettime};
use terms::Instant;

/// The current time, on a clock that never goes back. Its origin is a hundred years before boot, so
/// that times before the start of the process can be expressed.
#[must_use]
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos((BEFORE_BOOT_SECONDS + seconds) * 1_000_000_000 + nanos)
}

/// Microseconds since boot, without the time suspended, as a service manager counts them
/// (sd_notify(3), `MONOTONIC_USEC`).
#[must_use]
pub fn monotonic_micros() -> u64 {
    (now().as_nanos() - BEFORE_BOOT_SECONDS * 1_000_000_000) / 1000
}

/// A hundred years: more than any number of seconds that fits `pen`'s settings.
const BEFORE_BOOT_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// Identifies this boot of the machine, since which [`now`] runs; empty if it has no identity.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

/// The current calendar time: nanoseconds since 1970 (UTC).
#[must_use]
pub fn wall_nanos() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
