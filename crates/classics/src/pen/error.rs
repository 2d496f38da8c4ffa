//! What pen(1) says when it cannot start, and the status it leaves with.

use super::options::usage;
use config::ExitStatus;

/// Why pen(1) did not start. Displays as the original's words for standard error, without a
/// newline and sometimes empty; see [`PenError::stdout`] for what else is printed.
///
/// The variants that nothing here makes are for the caller that binds, becomes and opens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PenError {
    /// A letter that is no option.
    #[error("{argv0}: invalid option -- '{letter}'")]
    InvalidOption {
        /// The program's name as it was called.
        argv0: String,
        /// The letter.
        letter: char,
    },
    /// An option at the end that needs a value.
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
    /// A name behind `-L` that is no protocol.
    #[error("protocol version {0} not known")]
    UnknownProtocol(String),
    /// What this version does not do.
    #[error("{what}, which this version of Evenkeel does not do yet; {advice}")]
    NotYet {
        /// What was asked for, as the subject of a sentence.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// Not a port to listen on.
    #[error("Port {0} out of range")]
    PortOutOfRange(i32),
    /// What to listen on is no address.
    #[error("Can't convert address '{0}'")]
    BadListenAddress(String),
    /// The system did not let us listen.
    #[error("can't bind local address")]
    Bind,
    /// A server's host is not to be had.
    #[error("unknown or invalid address [{0}]")]
    UnknownAddress(String),
    /// No such user.
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
    /// The host that logs go to is not to be had.
    #[error("Bogus host {0}")]
    LogHost(String),
}

impl PenError {
    /// What standard output is given.
    pub fn stdout(&self) -> Option<String> {
        match self {
            Self::InvalidOption { .. } | Self::MissingValue { .. } | Self::Usage => Some(usage()),
            _ => None,
        }
    }

    /// The status that scripts know it by: bad usage is a success.
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
