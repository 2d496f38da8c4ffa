//! What pen(1) prints when it cannot start, and its exit status.

use super::options::usage;
use config::ExitStatus;
use terms::NoCiphers;

/// Why pen(1) did not start. Displays as the original's words for standard error, without a
/// newline and sometimes empty; see [`PenError::stdout`] for what else is printed.
///
/// Some variants are only made by the caller, which binds, changes users and opens files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PenError {
    /// The letter is not an option.
    #[error("{argv0}: invalid option -- '{letter}'")]
    InvalidOption {
        /// The program's name as it was called.
        argv0: String,
        /// The letter.
        letter: char,
    },
    /// The last option needs a value.
    #[error("{argv0}: option requires an argument -- '{letter}'")]
    MissingValue {
        /// The program's name as it was called.
        argv0: String,
        /// The letter.
        letter: char,
    },
    /// Nothing to listen on, or a connect time-out below 1.
    #[error("")]
    Usage,
    /// `-i`.
    #[error("Windows only")]
    WindowsOnly,
    /// The name given with `-L` is not a protocol.
    #[error("protocol version {0} not known")]
    UnknownProtocol(String),
    /// This version does not support the feature.
    #[error("{what}, which this version of Evenkeel does not do yet; {advice}")]
    NotYet {
        /// What was asked for, as the subject of a sentence.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// `ssl_ciphers` leaves nothing for TLS 1.2.
    #[error("ssl_ciphers: {0}")]
    Ciphers(NoCiphers),
    /// The port to listen on is invalid.
    #[error("Port {0} out of range")]
    PortOutOfRange(i32),
    /// The address to listen on is invalid.
    #[error("Can't convert address '{0}'")]
    BadListenAddress(String),
    /// Direct server return needs an address of IPv4.
    #[error("Address {0} is not valid\nCan't initialize direct server return")]
    ServiceAddress(String),
    /// The kernel cannot be asked for direct server return.
    #[error("Can't initialize direct server return: {0}")]
    DirectReturn(String),
    /// The address could not be bound.
    #[error("can't bind local address")]
    Bind,
    /// A server's host has no address.
    #[error("unknown or invalid address [{0}]")]
    UnknownAddress(String),
    /// The user does not exist.
    #[error("Can't getpwnam({0})")]
    UnknownUser(String),
    /// The root directory cannot be changed.
    #[error("Can't chroot({0})")]
    Chroot(String),
    /// The pid file cannot be written.
    #[error("Can't create pidfile {0}")]
    PidFile(String),
    /// The log file cannot be opened.
    #[error("Can't open logfile {0}")]
    LogFile(String),
    /// The host of the log has no address.
    #[error("Bogus host {0}")]
    LogHost(String),
}

impl PenError {
    /// The text for standard output.
    pub fn stdout(&self) -> Option<String> {
        match self {
            Self::InvalidOption { .. } | Self::MissingValue { .. } | Self::Usage => Some(usage()),
            _ => None,
        }
    }

    /// The exit status, as scripts know it: bad usage is a success.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::InvalidOption { .. }
            | Self::MissingValue { .. }
            | Self::Usage
            | Self::WindowsOnly => ExitStatus::Success,
            _ => ExitStatus::Failure,
        }
    }
}
