//! Events on their way to the control plane.

use crate::event::Event;
use std::time::Duration;
use terms::Instant;

/// Gathers events into batches, so that many of them wake the control plane once.
pub(crate) struct Outbox {
    pub events: Vec<Event>,
    since: Option<Instant>,
    /// How many of the events are known to be ones that may wait.
    patient: usize,
    sink: Box<dyn FnMut(Vec<Event>) + Send>,
}

/// A batch is complete with this many events, or at this age.
const EVENTS_MAX: usize = 256;
const AGE_MAX: Duration = Duration::from_millis(10);

impl Outbox {
    pub fn new(sink: Box<dyn FnMut(Vec<Event>) + Send>) -> Self {
        Self { events: Vec::new(), since: None, patient: 0, sink }
    }

    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// When the current batch is to be flushed.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + AGE_MAX)
    }

    /// Passes the batch on if it is complete. Only starts and ends of sessions wait; anything else is
    /// passed on at once, together with them.
    pub fn flush(&mut self, now: Instant) {
        if self.events.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let may_wait = |event: &Event| matches!(event, Event::Started(_) | Event::Ended(_));
        let is_urgent = !self.events[self.patient..].iter().all(may_wait);
        self.patient = self.events.len();
        if is_urgent || self.events.len() >= EVENTS_MAX || now.since(since) >= AGE_MAX {
            self.flush_now();
        }
    }

    pub fn flush_now(&mut self) {
        self.since = None;
        self.patient = 0;
        if !self.events.is_empty() {
            // The next batch is likely to be as long as this one.
            let next = Vec::with_capacity(self.events.len());
            let batch = std::mem::replace(&mut self.events, next);
            (self.sink)(batch);
        }
    }
}
