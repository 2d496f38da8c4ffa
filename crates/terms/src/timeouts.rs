//! Time-outs of a session.

use std::time::Duration;

/// The time-outs of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one attempt to connect to a backend. Default 5 s.
    pub connect: Duration,
    /// Silence in both directions after which a session ends. Default: never.
    pub idle: Option<Duration>,
    /// Silence after which a session ends whose client has finished. Default 10 min.
    pub half_close: Option<Duration>,
    /// Silence after which a session ends whose backend has finished. Default 10 min. The classics
    /// end such a session at once; a backend that has exited cannot be told from one that only
    /// stopped sending.
    pub backend_half_close: Option<Duration>,
    /// How long the delivery of the last bytes before a reset may make no progress. Default 5 s.
    pub linger: Duration,
    /// How long sessions may continue after a shutdown was requested; `None` until they end.
    /// Default 30 s.
    pub shutdown: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: None,
            half_close: Some(Duration::from_secs(600)),
            backend_half_close: Some(Duration::from_secs(600)),
            linger: Duration::from_secs(5),
            shutdown: Some(Duration::from_secs(30)),
        }
    }
}
