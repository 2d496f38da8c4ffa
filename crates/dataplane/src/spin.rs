//! Waits for events, with or without sleeping.

use std::io;
use std::time::Duration;
use sys::clock;
use sys::epoll::Poller;
use terms::Instant;

/// Polls without sleeping while events come in quick succession.
pub(crate) struct Spin {
    /// How long to poll after the last event.
    length: Duration,
    last_event: Instant,
    /// Whether the last two events came close enough together to expect another soon.
    worthwhile: bool,
}

/// Events up to this many spin lengths apart count as close.
const GAPS: u32 = 10;

impl Spin {
    pub fn new(length: Duration) -> Self {
        Self { length, last_event: Instant::ZERO, worthwhile: false }
    }

    /// Waits for events until `due`, and returns the time.
    pub fn wait(&mut self, poller: &mut Poller, due: Option<Instant>) -> io::Result<Instant> {
        if self.worthwhile {
            let until = self.last_event + self.length;
            let until = due.map_or(until, |due| due.min(until));
            loop {
                poller.wait(Some(Duration::ZERO))?;
                if !poller.is_empty() || clock::now() >= until {
                    break;
                }
            }
        }
        if poller.is_empty() {
            sleep(poller, due)?;
        }
        let now = clock::now();
        if !poller.is_empty() {
            self.worthwhile = now.since(self.last_event) < self.length * GAPS;
            self.last_event = now;
        }
        Ok(now)
    }
}

/// Sleeps until there are events, or until `due`, and returns the time.
pub(crate) fn sleep(poller: &mut Poller, due: Option<Instant>) -> io::Result<Instant> {
    poller.wait(due.map(|due| due.since(clock::now())))?;
    Ok(clock::now())
}
