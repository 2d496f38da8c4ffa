//! When things take too long.

use std::time::Duration;

/// When things take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt to connect to a backend. Default 5 s.
    pub connect: Duration,
    /// Silence in both directions that ends a session. Default: never.
    pub idle: Option<Duration>,
    /// Silence that ends a session whose client has finished. Default 10 min.
    pub half_close: Option<Duration>,
    /// Silence that ends a session whose backend has finished. Default 10 min. The classics end
    /// at once there; a backend that is gone cannot be told from one that only listens.
    pub backend_half_close: Option<Duration>,
    /// How long the last bytes before a reset may take without progress. Default 5 s.
    pub linger: Duration,
    /// How long sessions may go on after a shutdown was asked for; `None`: until they end.
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
