//! Time-outs of a session.

use std::time::Duration;

/// Whether, and when, the system asks a silent peer whether it is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAlive {
    /// After the time that the system is set to (tcp(7), `tcp_keepalive_time`).
    #[default]
    System,
    /// Never.
    Never,
    /// After this long without data. Three probes follow, a third of this time but at most 75 s
    /// apart; a peer that answers none of them is gone.
    After(Duration),
}

/// The time-outs of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one attempt to connect to a backend. Default 5 s.
    pub connect: Duration,
    /// Silence in both directions after which a session ends. Default: never.
    pub idle: Option<Duration>,
    /// Silence after which a session ends whose client has never sent anything. Default: never.
    pub first_byte: Option<Duration>,
    /// Silence after which a session ends whose client has finished. Default 10 min.
    pub half_close: Option<Duration>,
    /// Silence after which a session ends whose backend has finished. Default 10 min. The classics
    /// end such a session at once; a backend that has exited cannot be told from one that only
    /// stopped sending.
    pub backend_half_close: Option<Duration>,
    /// How long the delivery of the last bytes before a reset may make no progress. Default 5 s.
    pub linger: Duration,
    /// When the system asks a silent peer whether it is still there. Default: as the system does.
    pub keep_alive: KeepAlive,
    /// How long a peer may leave data unacknowledged before its connection is reset. Default: as
    /// long as the system allows (tcp(7), `TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// How long sessions may continue after a shutdown was requested; `None` until they end.
    /// Default 30 s.
    pub shutdown: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: None,
            first_byte: None,
            half_close: Some(Duration::from_secs(600)),
            backend_half_close: Some(Duration::from_secs(600)),
            linger: Duration::from_secs(5),
            keep_alive: KeepAlive::System,
            user_timeout: None,
            shutdown: Some(Duration::from_secs(30)),
        }
    }
}
