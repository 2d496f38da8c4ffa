//! Why a connection to a backend did not come about.

use crate::TlsFault;
use std::fmt;
use std::io;

/// Why a connect to a backend failed.
///
/// Most of these speak of the backend. [`ConnectFailure::is_ours`] says which speak of this machine
/// alone, so that the backend is not to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectFailure {
    /// Nobody listens there.
    Refused,
    /// Nothing was heard within the connect time-out.
    TimedOut,
    /// The backend reset the connection before the first byte.
    Reset,
    /// The backend did not agree to TLS, or said more than that.
    NoTls,
    /// The backend did not greet as its protocol has it when it is ready.
    Unready,
    /// The TLS handshake with the backend failed.
    Tls(TlsFault),
    /// No route leads there.
    NoRoute,
    /// A router, or the network itself, said that the host cannot be reached.
    Unreachable,
    /// The Unix socket does not exist.
    Missing,
    /// A file's permissions or a packet filter forbid it.
    Forbidden,
    /// This host has no address of the family to connect from, as where IPv6 is switched off.
    NoAddress,
    /// The backend's name has no address now.
    Unresolved,
    /// The connection would have come back to ourselves.
    Loop,
    /// The Unix socket's queue is full; it may have room in a moment.
    Busy,
    /// All local ports towards this address are taken.
    NoPort,
    /// There is no file descriptor or memory for another socket.
    NoSocket,
    /// Anything else, by the system's number.
    Other(i32),
}

/// The kinds of failures that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Nobody listens there.
    Refused,
    /// Nothing was heard in time.
    Timeout,
    /// The backend reset the connection before the first byte.
    Reset,
    /// No way leads there, or the name has no address.
    Unreachable,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 5] =
        [Self::Refused, Self::Timeout, Self::Reset, Self::Unreachable, Self::Other];

    /// The word, such as `refused`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }
}

impl ConnectFailure {
    /// As what it is counted.
    #[must_use]
    pub const fn kind(self) -> FailureKind {
        match self {
            Self::Refused | Self::Missing => FailureKind::Refused,
            Self::TimedOut | Self::Busy => FailureKind::Timeout,
            Self::Reset => FailureKind::Reset,
            Self::NoRoute | Self::Unreachable | Self::NoAddress | Self::Unresolved => {
                FailureKind::Unreachable
            }
            Self::NoTls | Self::Unready | Self::Tls(_) | Self::Forbidden | Self::Loop => {
                FailureKind::Other
            }
            Self::NoPort | Self::NoSocket | Self::Other(_) => FailureKind::Other,
        }
    }

    /// Whether this machine ran short of something, which the backend cannot help.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::NoPort | Self::NoSocket)
    }
}

/// In plain words: `connection refused`.
impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::TimedOut => "no answer within the connect time-out",
            Self::Reset => "connection reset before the first byte",
            Self::NoTls => "the backend does not agree to TLS",
            Self::Unready => "the backend's greeting is not that of a server that is ready",
            Self::Tls(fault) => return write!(f, "TLS failed: {fault}"),
            Self::NoRoute => "network unreachable",
            Self::Unreachable => "host unreachable",
            Self::Missing => "no such socket",
            Self::Forbidden => "permission denied",
            Self::NoAddress => "this host has no address of that family",
            Self::Unresolved => "the name has no address",
            Self::Loop => "the address is our own listener's",
            Self::Busy => "the socket's queue is full",
            Self::NoPort => "no local port is free",
            Self::NoSocket => "out of file descriptors or memory",
            Self::Other(number) => return io::Error::from_raw_os_error(*number).fmt(f),
        })
    }
}

impl std::error::Error for ConnectFailure {}
