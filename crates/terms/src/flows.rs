//! What ends a UDP flow.

use std::num::NonZeroU32;
use std::time::Duration;

/// What ends a UDP flow, and when its first datagrams go to another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRules {
    /// The silence after which a flow ends. Default 30 s.
    pub timeout: Duration,
    /// The number of datagrams from the client after which the next one begins another flow, with a
    /// backend of its own. Default: no limit.
    pub requests: Option<NonZeroU32>,
    /// The number of answers to each datagram from the client; when they have passed, the flow ends.
    /// Default: not known.
    pub responses: Option<NonZeroU32>,
    /// How long to wait for the first answer before the first datagrams go to the next backend.
    /// Default: forever.
    pub retry_after: Option<Duration>,
}

impl FlowRules {
    /// The default of [`FlowRules::timeout`].
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
}

impl Default for FlowRules {
    fn default() -> Self {
        Self { timeout: Self::DEFAULT_TIMEOUT, requests: None, responses: None, retry_after: None }
    }
}
