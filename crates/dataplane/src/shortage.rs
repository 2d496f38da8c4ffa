//! Shortages, each reported once until it is over.

use crate::event::{Event, Trouble};
use crate::outbox::Outbox;
use std::time::Duration;
use sys::net::Source;
use terms::{Address, Instant};

/// When each shortage was last met, until it is over.
#[derive(Debug, Default)]
pub(crate) struct Shortages {
    descriptors: Option<Instant>,
    ports: Option<Instant>,
    flows: Option<Instant>,
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
            Trouble::Flows => self.flows,
        };
        since.is_none_or(|since| now.since(since) >= CALM)
    }

    /// Reports that a shortage is over, if there was one and it is [calm](Self::is_calm).
    pub fn end_if_calm(&mut self, trouble: Trouble, outbox: &mut Outbox, now: Instant) {
        if self.is_calm(trouble, now) && self.slot(trouble).take().is_some() {
            outbox.tell(Event::TroubleOver(trouble));
        }
    }

    /// When to check whether the shortage of ports or flows is over. That of file descriptors is
    /// over when accepting goes on.
    pub fn due(&self) -> Option<Instant> {
        [self.ports, self.flows].into_iter().flatten().min().map(|since| since + CALM)
    }

    fn slot(&mut self, trouble: Trouble) -> &mut Option<Instant> {
        match trouble {
            Trouble::Descriptors => &mut self.descriptors,
            Trouble::Ports => &mut self.ports,
            Trouble::Flows => &mut self.flows,
        }
    }
}

/// Where there was no local port a moment ago.
///
/// The system looks at every port before it says so. Sessions that wait for one would have it do
/// that again and again, at the cost of all others; this way only one of them asks at a time.
#[derive(Debug, Default)]
pub(crate) struct Portless(Vec<(Address, Source, Instant)>);

/// How long the answer is remembered.
const REMEMBERED: Duration = Duration::from_millis(20);
/// How many are remembered. Beyond this, the system is asked.
const PORTLESS_MAX: usize = 64;

impl Portless {
    /// Whether there was no port for such a connection a moment ago.
    pub fn contains(&self, address: &Address, source: Source, now: Instant) -> bool {
        self.0.iter().any(|(known, from, since)| {
            now.since(*since) < REMEMBERED && *from == source && known == address
        })
    }

    /// Remembers that there is no port for such a connection.
    pub fn add(&mut self, address: &Address, source: Source, now: Instant) {
        self.0.retain(|(_, _, since)| now.since(*since) < REMEMBERED);
        if self.0.len() < PORTLESS_MAX && !self.contains(address, source, now) {
            self.0.push((address.clone(), source, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_at_a_time_asks_for_a_port() {
        let address = |port| Address::Ip(([192, 0, 2, 1], port).into());
        let at = Instant::from_millis;
        let mut portless = Portless::default();
        assert!(!portless.contains(&address(1), Source::System, at(100)));
        portless.add(&address(1), Source::System, at(100));
        assert!(portless.contains(&address(1), Source::System, at(119)));
        assert!(!portless.contains(&address(2), Source::System, at(119)));
        let own = Source::Own([192, 0, 2, 9].into());
        assert!(!portless.contains(&address(1), own, at(119)));
        // The answers of sessions that did not ask keep nobody from asking.
        portless.add(&address(1), Source::System, at(119));
        assert!(!portless.contains(&address(1), Source::System, at(120)));
        for port in 0..1000 {
            portless.add(&address(port), Source::System, at(130));
        }
        assert_eq!(portless.0.len(), PORTLESS_MAX);
    }
}
