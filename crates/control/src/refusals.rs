//! How many lines about refused requests are written.

use std::time::Duration;
use tokio::time::Instant;

/// Lines about what was refused. Whoever may only look cannot fill the log with them.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// When the current period began.
    since: Option<Instant>,
    /// The lines in it.
    lines: u32,
    /// Those that were not written.
    silent: u64,
}

/// At most this many lines are written in each period.
const PERIOD: Duration = Duration::from_secs(10);
const LINES_MAX: u32 = 20;

impl Refusals {
    /// Whether a line may be written, and how many were not before it.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now - since >= PERIOD) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES_MAX {
            self.silent += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_do_not_fill_the_log() {
        let mut refusals = Refusals::default();
        let lines = (0..1000).filter_map(|_| refusals.admit(Instant::now()));
        assert_eq!(lines.collect::<Vec<_>>(), [0; LINES_MAX as usize]);
        tokio::time::advance(PERIOD).await;
        assert_eq!(refusals.admit(Instant::now()), Some(980));
        assert_eq!(refusals.admit(Instant::now()), Some(0));
    }
}
