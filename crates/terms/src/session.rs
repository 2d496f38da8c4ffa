//! The terms that describe a session.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether bulk data passes through kernel pipes (`splice(2)`) instead of through memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpliceMode {
    /// When a direction carries bulk data, for as long as that pays off.
    #[default]
    Auto,
    /// From the first byte.
    Always,
    /// Never.
    Never,
}

/// One of a session's two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The backend's.
    Upstream,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A backend that answers is being looked for.
    Connecting,
    /// Both sides are connected, or the balancer itself is about to answer.
    Open,
    /// It is closed as soon as its last bytes have been sent.
    Ending,
}

/// Which sessions come first in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionOrder {
    /// The oldest.
    #[default]
    Age,
    /// Those with the most bytes per second since they began.
    Rate,
    /// Those with the most bytes, in both directions.
    Bytes,
    /// Those with the longest round-trip time to the client.
    Rtt,
    /// Those that have been silent for the longest time.
    Idle,
}

/// Who ended a session, and how. Logs, metrics and the API use the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    /// Both sides finished; the client was first.
    ClientFin,
    /// The client's connection was reset.
    ClientReset,
    /// Both sides finished; the backend was first.
    BackendFin,
    /// The backend's connection was reset.
    BackendReset,
    /// No backend was left to try; the last one refused or was unreachable.
    ConnectRefused,
    /// No backend was left to try; the last one did not answer in time.
    ConnectTimeout,
    /// No backend was available.
    NoBackend,
    /// The backends that were available had as many sessions as their limits allow.
    Limit,
    /// An access list denied the client, and no reject backend accepted it.
    Denied,
    /// The listener takes connections only from known proxies (`accept-proxy`), and the peer was not
    /// one of them.
    ProxyUntrusted,
    /// A proxy sent something other than a header of the PROXY protocol, or closed the connection
    /// within it.
    ProxyInvalid,
    /// A proxy did not send all of the header within `connect-timeout`.
    ProxyTimeout,
    /// The TLS handshake with the client failed, or the client asked for TLS and did not begin it.
    #[serde(rename = "tls-handshake-failed")]
    TlsFailed,
    /// The client did not send all of its ClientHello in time, or did not complete the TLS handshake
    /// within `tls-timeout`.
    TlsTimeout,
    /// No backend was left to try; TLS with the last one failed.
    BackendTlsFailed,
    /// No local socket for the backend was available within the connect time-out.
    NoSocket,
    /// No data arrived for `idle-timeout`.
    IdleTimeout,
    /// The client had sent nothing, and no data arrived for `first-byte-timeout`.
    FirstByteTimeout,
    /// One side had finished, and no data arrived from the other for `half-close-timeout`.
    HalfCloseTimeout,
    /// Its backend went down, and the pool ends such sessions.
    BackendDown,
    /// A backend of an earlier tier is up again, and the pool has clients return to it.
    BackendUp,
    /// An operator had sessions distributed anew.
    Rebalance,
    /// The whole instance is being drained, and it was silent.
    Drain,
    /// It reached `max-age`.
    MaxAge,
    /// An operator ended it.
    Admin,
    /// The balancer answered it itself, as a dummy.
    Answered,
    /// It was still open at the shutdown's deadline.
    Shutdown,
    /// All expected answers of a UDP flow have passed.
    Complete,
    /// A UDP flow made room for another, since there was none left.
    Evicted,
    /// The kernel forwarded it, and both sides finished; nobody saw which was first.
    Closed,
    /// The kernel forwarded it, and one side reset it.
    Reset,
}

/// What peers see when the balancer ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A reset, so that a truncated transfer cannot be mistaken for a complete one. The native
    /// default.
    Reset,
    /// An orderly end of file, as in the classics.
    Close,
}

impl CloseReason {
    /// All reasons, in the order of the documentation.
    pub const ALL: [Self; 31] = [
        Self::ClientFin,
        Self::ClientReset,
        Self::BackendFin,
        Self::BackendReset,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::NoBackend,
        Self::Limit,
        Self::Denied,
        Self::ProxyUntrusted,
        Self::ProxyInvalid,
        Self::ProxyTimeout,
        Self::TlsFailed,
        Self::TlsTimeout,
        Self::BackendTlsFailed,
        Self::NoSocket,
        Self::IdleTimeout,
        Self::FirstByteTimeout,
        Self::HalfCloseTimeout,
        Self::BackendDown,
        Self::BackendUp,
        Self::Rebalance,
        Self::Drain,
        Self::MaxAge,
        Self::Admin,
        Self::Answered,
        Self::Shutdown,
        Self::Complete,
        Self::Evicted,
        Self::Closed,
        Self::Reset,
    ];

    /// What it means, for people who see it for the first time.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ClientFin => "the client closed first, in order",
            Self::ClientReset => "the client reset the connection, or vanished",
            Self::BackendFin => "the backend closed first, in order",
            Self::BackendReset => "the backend reset the connection, or vanished",
            Self::ConnectRefused => "the backend refused the connection, and no other was left",
            Self::ConnectTimeout => "no backend answered in time",
            Self::NoBackend => "no backend was available",
            Self::Limit => "all backends had as many sessions as their limits allow",
            Self::Denied => "the access rules deny this client",
            Self::ProxyUntrusted => "accept-proxy does not name this peer",
            Self::ProxyInvalid | Self::ProxyTimeout => "the proxy did not announce the client",
            Self::TlsFailed => "no TLS could be agreed on",
            Self::TlsTimeout => "the client did not finish its part of TLS in time",
            Self::BackendTlsFailed => {
                "no TLS could be agreed on with the backend, and no other was left"
            }
            Self::NoSocket => "the system had no socket or port left",
            Self::IdleTimeout => "nothing was sent for the idle time-out",
            Self::FirstByteTimeout => "the client sent nothing in time",
            Self::HalfCloseTimeout => "one side had closed, the other did not in time",
            Self::BackendDown => "its backend went down",
            Self::BackendUp => "its client is to return to an earlier tier",
            Self::Rebalance => "an operator had sessions distributed anew",
            Self::Drain => "the balancer was drained, and it was silent",
            Self::MaxAge => "it was as old as it may become",
            Self::Admin => "an operator ended it",
            Self::Answered => "it was answered here",
            Self::Shutdown => "the balancer was shut down",
            Self::Complete => "each datagram had its answers",
            Self::Evicted => "it made room for other flows",
            Self::Closed => "both sides closed, in order",
            Self::Reset => "one side reset the connection",
        }
    }

    /// Whether both sides got all they were sent, and neither was cut off.
    #[must_use]
    pub const fn is_orderly(self) -> bool {
        matches!(
            self,
            Self::ClientFin | Self::BackendFin | Self::Closed | Self::Answered | Self::Complete
        )
    }

    /// The word, such as `client-fin`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientFin => "client-fin",
            Self::ClientReset => "client-reset",
            Self::BackendFin => "backend-fin",
            Self::BackendReset => "backend-reset",
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::NoBackend => "no-backend",
            Self::Limit => "limit",
            Self::Denied => "denied",
            Self::ProxyUntrusted => "proxy-untrusted",
            Self::ProxyInvalid => "proxy-invalid",
            Self::ProxyTimeout => "proxy-timeout",
            Self::TlsFailed => "tls-handshake-failed",
            Self::TlsTimeout => "tls-timeout",
            Self::BackendTlsFailed => "backend-tls-failed",
            Self::NoSocket => "no-socket",
            Self::IdleTimeout => "idle-timeout",
            Self::FirstByteTimeout => "first-byte-timeout",
            Self::HalfCloseTimeout => "half-close-timeout",
            Self::BackendDown => "backend-down",
            Self::BackendUp => "backend-up",
            Self::Rebalance => "rebalance",
            Self::Drain => "drain",
            Self::MaxAge => "max-age",
            Self::Admin => "admin",
            Self::Answered => "answered",
            Self::Shutdown => "shutdown",
            Self::Complete => "complete",
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Downstream => Self::Upstream,
            Self::Upstream => Self::Downstream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_reason_in_the_list_is_its_number() {
        for (reason, place) in CloseReason::ALL.into_iter().zip(0..) {
            assert_eq!(reason as usize, place, "{reason}");
        }
    }
}
