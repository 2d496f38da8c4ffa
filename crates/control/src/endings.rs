//! The sessions that ended last: why a client was cut off is asked after the fact.

use crate::shown::EndOf;
use dataplane::{Ended, Event};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::EndedSessionRow;
use terms::{CloseReason, Instant, ListenerId};

/// How many sessions that had a problem are remembered.
const PROBLEMS_MAX: usize = 20;

/// How many others. They are kept apart, so that on a busy instance they leave room for problems.
const OTHERS_MAX: usize = 10;

#[derive(Default)]
pub(crate) struct Endings {
    problems: VecDeque<Ending>,
    others: VecDeque<Ending>,
}

struct Ending {
    at: Instant,
    session: u64,
    listener: ListenerId,
    client: Option<SocketAddr>,
    backend: Option<Arc<str>>,
    reason: CloseReason,
    error: Option<String>,
    sent_bytes: u64,
    received_bytes: u64,
    duration: Duration,
}

impl Endings {
    /// Remembers what has ended.
    pub fn note_event(&mut self, event: &Event, now: Instant) {
        let Event::Ended(ended) = event else { return };
        let (all, most) = match ended.is_problem() {
            true => (&mut self.problems, PROBLEMS_MAX),
            false => (&mut self.others, OTHERS_MAX),
        };
        all.truncate(most - 1);
        all.push_front(Ending::new(ended, now));
    }

    /// All that are remembered, the latest first. `name` names listeners.
    pub fn rows<'a>(
        &self,
        now: Instant,
        name: impl Fn(ListenerId) -> &'a str,
    ) -> Vec<EndedSessionRow> {
        let mut all: Vec<_> = self.problems.iter().chain(&self.others).collect();
        all.sort_by_key(|it| now.since(it.at));
        let row = |it: &Ending| EndedSessionRow {
            session: it.session,
            seconds: now.since(it.at).as_secs_f64(),
            listener: name(it.listener).to_owned(),
            client: EndOf(it.client).to_string(),
            backend: it.backend.clone(),
            reason: it.reason,
            error: it.error.clone(),
            sent_bytes: it.sent_bytes,
            received_bytes: it.received_bytes,
            duration_seconds: it.duration.as_secs_f64(),
        };
        all.into_iter().map(row).collect()
    }
}

impl Ending {
    fn new(ended: &Ended, at: Instant) -> Self {
        Self {
            at,
            session: ended.session,
            listener: ended.listener,
            client: ended.client,
            // Not the backend itself: who has one keeps it from being forgotten once removed.
            backend: ended.backend.as_ref().map(|it| Arc::clone(&it.name)),
            reason: ended.reason,
            error: ended.tls_failure().map(str::to_owned),
            sent_bytes: ended.sent_bytes,
            received_bytes: ended.received_bytes,
            duration: ended.duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(session: u64, reason: CloseReason) -> Event {
        Event::Ended(Ended {
            session,
            listener: ListenerId::new(0),
            client: Some("192.0.2.1:7".parse().unwrap()),
            peer: None,
            server_name: None,
            tls: None,
            backend_tls: None,
            backend: None,
            had_place: false,
            source: None,
            reason,
            sent_bytes: 0,
            received_bytes: 0,
            connect: None,
            first_byte: None,
            client_path: Some(dataplane::TcpPath::default()),
            backend_path: None,
            duration: Duration::ZERO,
        })
    }

    #[test]
    fn a_flood_of_orderly_ends_leaves_problems_to_be_seen() {
        let mut endings = Endings::default();
        let at = Instant::from_millis;
        let mut note = |now, session, reason| endings.note_event(&ended(session, reason), at(now));
        note(1000, 1, CloseReason::IdleTimeout);
        note(1000, 2, CloseReason::ClientFin);
        (3..1003).for_each(|it| note(2000, it, CloseReason::BackendFin));
        let rows = endings.rows(at(4000), |_| "web");
        let sessions: Vec<_> = rows.iter().map(|it| it.session).collect();
        assert_eq!(sessions, [1002, 1001, 1000, 999, 998, 997, 996, 995, 994, 993, 1]);
        assert_eq!((rows[10].seconds, &*rows[10].listener), (3.0, "web"));
    }
}
