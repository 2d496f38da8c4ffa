//! Edge-triggered readiness of many descriptors, and a way to wake a sleeping worker.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A set of descriptors to wait on.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// The events of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The token given to [`Poller::add_stream`] or [`Poller::add_listener`].
    pub token: u64,
    flags: EventFlags,
}

/// All events of a stream, each change once.
const STREAM_EVENTS: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);

impl Poller {
    /// An empty set that reports up to `capacity` events at a time.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(capacity) })
    }

    /// Watches a stream for all events, reporting each change once.
    pub fn add_stream(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), STREAM_EVENTS)?)
    }

    /// Has a stream reported only when its peer has finished sending or the connection has failed,
    /// or again for all events, with those that are due.
    ///
    /// Arriving bytes would wake the worker even if only events for something else, such as urgent
    /// bytes, were asked for: the kernel announces them as possibly urgent.
    pub fn watch_end_only(&self, fd: impl AsFd, token: u64, end_only: bool) -> io::Result<()> {
        let flags = if end_only { EventFlags::RDHUP | EventFlags::ET } else { STREAM_EVENTS };
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags)?)
    }

    /// Watches a listener or a waker, and reports it for as long as there is something to take.
    pub fn add_listener(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Stops watching a descriptor that stays open.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until something is ready, for at most `timeout` (forever if `None`).
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        // The kernel counts milliseconds: rounding up avoids waking too early.
        let timeout = timeout.map(|timeout| {
            let millis = timeout.as_nanos().div_ceil(1_000_000).min(1 << 30) as i64;
            Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
        });
        let wait = |events: &mut Vec<epoll::Event>, timeout: Option<&Timespec>| {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout)
        };
        let mut result = wait(&mut self.events, timeout.as_ref());
        if result == Err(rustix::io::Errno::INTR) {
            // As after a pause of the process (signal(7)): what came meanwhile is still to be seen.
            result = wait(&mut self.events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
        match result {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The number of events of the last wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the last wait found no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The last wait's event at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`Self::len`].
    #[must_use]
    pub fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        Event { token: event.data.u64(), flags: event.flags }
    }
}

impl Event {
    /// Bytes or an end of file can be read, or a connection can be accepted.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.flags.intersects(EventFlags::IN)
    }

    /// Bytes can be written.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.flags.intersects(EventFlags::OUT)
    }

    /// The peer has finished sending.
    #[must_use]
    pub fn is_hangup(self) -> bool {
        self.flags.intersects(EventFlags::RDHUP | EventFlags::HUP)
    }

    /// An urgent byte has arrived.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self.flags.intersects(EventFlags::PRI)
    }

    /// The connection has failed.
    #[must_use]
    pub fn is_failed(self) -> bool {
        self.flags.intersects(EventFlags::ERR)
    }
}

/// Wakes a worker that waits on its [`Poller`].
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A waker to be watched with [`Poller::add_listener`].
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes the worker now, or as soon as it waits.
    pub fn wake(&self) {
        // Fails only if the counter is full, and then the worker is awake.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Clears the wake-ups so far.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
