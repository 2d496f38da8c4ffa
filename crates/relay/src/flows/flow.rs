//! One flow: what has passed, and when it is over.

use serde::{Deserialize, Serialize};
use terms::{CloseReason, FlowRules, Instant};

/// What has passed between a client and its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// When it began.
    pub started: Instant,
    /// When a datagram was last seen.
    active: Instant,
    requests: u32,
    responses: u32,
    sent_bytes: u64,
    received_bytes: u64,
    is_proven: bool,
}

/// What has passed in a flow, for another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    started: u64,
    active: u64,
    requests: u32,
    responses: u32,
    sent: u64,
    received: u64,
    is_proven: bool,
}

impl Flow {
    /// A flow that has seen nothing yet.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            started: now,
            active: now,
            requests: 0,
            responses: 0,
            sent_bytes: 0,
            received_bytes: 0,
            is_proven: false,
        }
    }

    /// What another process needs to continue it.
    #[must_use]
    pub fn counts(&self) -> FlowCounts {
        FlowCounts {
            started: self.started.as_nanos(),
            active: self.active.as_nanos(),
            requests: self.requests,
            responses: self.responses,
            sent: self.sent_bytes,
            received: self.received_bytes,
            is_proven: self.is_proven,
        }
    }

    /// The flow that another process has passed on.
    #[must_use]
    pub fn resume(counts: &FlowCounts) -> Self {
        Self {
            started: Instant::from_nanos(counts.started),
            active: Instant::from_nanos(counts.active),
            requests: counts.requests,
            responses: counts.responses,
            sent_bytes: counts.sent,
            received_bytes: counts.received,
            is_proven: counts.is_proven,
        }
    }

    /// A datagram came from the client.
    pub fn on_request(&mut self, bytes: usize, now: Instant) {
        self.active = now;
        self.requests = self.requests.saturating_add(1);
        self.sent_bytes += bytes as u64;
        self.is_proven |= self.responses > 0;
    }

    /// A datagram came from the backend.
    pub fn on_response(&mut self, bytes: usize, now: Instant) {
        self.active = now;
        self.responses = self.responses.saturating_add(1);
        self.received_bytes += bytes as u64;
    }

    /// Whether the client has sent something after an answer. Whoever forges the address of a client
    /// does not see answers, so such a flow makes room last.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Whether any answer has come.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.responses > 0
    }

    /// Whether the client's next datagram begins another flow.
    #[must_use]
    pub fn is_spent(&self, rules: &FlowRules) -> bool {
        rules.requests.is_some_and(|most| self.requests >= most.get())
    }

    /// Whether all expected answers have passed.
    #[must_use]
    pub fn is_complete(&self, rules: &FlowRules) -> bool {
        rules.responses.is_some_and(|each| {
            u64::from(self.responses) >= u64::from(each.get()) * u64::from(self.requests)
        })
    }

    /// Why the flow is over now, if it is.
    #[must_use]
    pub fn end(&self, rules: &FlowRules, now: Instant) -> Option<CloseReason> {
        if self.requests > 0 && self.is_complete(rules) {
            return Some(CloseReason::Complete);
        }
        (now >= self.due(rules)).then_some(CloseReason::IdleTimeout)
    }

    /// When it ends, unless a datagram comes before.
    #[must_use]
    pub fn due(&self, rules: &FlowRules) -> Instant {
        self.active + rules.timeout
    }

    /// When a datagram was last seen.
    #[must_use]
    pub const fn last_activity(&self) -> Instant {
        self.active
    }

    /// Bytes from the client, and from the backend.
    #[must_use]
    pub const fn bytes(&self) -> (u64, u64) {
        (self.sent_bytes, self.received_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn number(number: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(number)
    }

    #[test]
    fn a_flow_ends_after_silence() {
        let rules = FlowRules::default();
        let mut flow = Flow::new(at(0));
        flow.on_request(10, at(100));
        assert_eq!(flow.end(&rules, at(30_099)), None);
        flow.on_response(20, at(30_099));
        assert_eq!(flow.end(&rules, at(30_100)), None);
        assert_eq!(flow.due(&rules), at(60_099));
        assert_eq!(flow.end(&rules, at(60_099)), Some(CloseReason::IdleTimeout));
        assert_eq!(flow.bytes(), (10, 20));
    }

    #[test]
    fn a_flow_ends_when_each_request_has_its_answers() {
        let rules = FlowRules { responses: number(2), ..FlowRules::default() };
        let mut flow = Flow::new(at(0));
        // As a resolver that asks for both kinds of addresses at once.
        flow.on_request(1, at(0));
        flow.on_request(1, at(0));
        for _ in 0..3 {
            flow.on_response(1, at(1));
            assert_eq!(flow.end(&rules, at(1)), None);
        }
        flow.on_response(1, at(1));
        assert_eq!(flow.end(&rules, at(1)), Some(CloseReason::Complete));
    }

    #[test]
    fn a_spent_flow_takes_no_more_requests() {
        let rules = FlowRules { requests: number(2), ..FlowRules::default() };
        let mut flow = Flow::new(at(0));
        flow.on_request(1, at(0));
        assert!(!flow.is_spent(&rules));
        flow.on_request(1, at(0));
        assert!(flow.is_spent(&rules));
        assert!(!flow.is_spent(&FlowRules::default()));
    }

    #[test]
    fn only_a_client_that_sees_answers_is_proven() {
        let mut flow = Flow::new(at(0));
        flow.on_request(1, at(0));
        flow.on_request(1, at(0));
        flow.on_response(1, at(0));
        assert!(!flow.is_proven());
        flow.on_request(1, at(0));
        assert!(flow.is_proven());
    }
}
