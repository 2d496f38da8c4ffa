//! Events on their way to the control plane.

use crate::event::Event;
use std::time::Duration;
use terms::Instant;

/// Gathers events, so that the control plane is woken once for many.
pub(crate) struct Outbox {
    pub events: Vec<Event>,
    since: Option<Instant>,
    sink: Box<dyn FnMut(Vec<Event>) + Send>,
}

/// A batch is this many events, or what has come in so long.
const EVENTS_MAX: usize = 256;
const AGE_MAX: Duration = Duration::from_millis(10);

impl Outbox {
    pub fn new(sink: Box<dyn FnMut(Vec<Event>) + Send>) -> Self {
        Self { events: Vec::new(), since: None, sink }
    }

    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// When the oldest event has waited for long enough.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + AGE_MAX)
    }

    /// Gives a batch on if it is time. Only ends of sessions wait; operators want the rest at once.
    pub fn flush(&mut self, now: Instant) {
        if self.events.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let is_urgent = self.events.iter().any(|event| !matches!(event, Event::Ended(_)));
        if is_urgent || self.events.len() >= EVENTS_MAX || now.since(since) >= AGE_MAX {
            self.flush_now();
        }
    }

    pub fn flush_now(&mut self) {
        self.since = None;
        if !self.events.is_empty() {
            let batch = std::mem::replace(&mut self.events, Vec::with_capacity(16));
            (self.sink)(batch);
        }
    }
}
