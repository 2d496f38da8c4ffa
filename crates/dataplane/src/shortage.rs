//! Shortages, each reported once until it is over.

use crate::event::{Event, Trouble};
use crate::outbox::Outbox;
use std::time::Duration;
use terms::Instant;

/// When each shortage was last met, until it is over.
#[derive(Debug, Default)]
pub(crate) struct Shortages {
    descriptors: Option<Instant>,
    ports: Option<Instant>,
}

/// How long there must be enough before a shortage is said to be over.
const CALM: Duration = Duration::from_secs(2);

impl Shortages {
    /// Notes that something could not be had, and reports it if that is news.
    pub fn note(&mut self, trouble: Trouble, outbox: &mut Outbox, now: Instant) {
        if self.slot(trouble).replace(now).is_none() {
            outbox.tell(Event::Trouble(trouble));
        }
    }

    /// Whether that has not happened for a while.
    pub fn is_calm(&self, trouble: Trouble, now: Instant) -> bool {
        let since = match trouble {
            Trouble::Descriptors => self.descriptors,
            Trouble::Ports => self.ports,
        };
        since.is_none_or(|since| now.since(since) >= CALM)
    }

    /// Reports that a shortage is over, if there was one and it is [calm](Self::is_calm).
    pub fn end_if_calm(&mut self, trouble: Trouble, outbox: &mut Outbox, now: Instant) {
        if self.is_calm(trouble, now) && self.slot(trouble).take().is_some() {
            outbox.tell(Event::TroubleOver(trouble));
        }
    }

    /// When to check whether the shortage of ports is over. That of file descriptors is over when
    /// accepting goes on.
    pub fn due(&self) -> Option<Instant> {
        self.ports.map(|since| since + CALM)
    }

    fn slot(&mut self, trouble: Trouble) -> &mut Option<Instant> {
        match trouble {
            Trouble::Descriptors => &mut self.descriptors,
            Trouble::Ports => &mut self.ports,
        }
    }
}
