//! The command line of penctl(1).

use super::host_and_port;
use config::ExitStatus;

/// What is printed when words are missing, with status 0.
pub const PENCTL_USAGE: &str = "usage: penctl host:port command\n";

/// What penctl(1) is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PenctlArgs {
    /// Where the balancer is.
    pub target: PenctlTarget,
    /// What to send, with its line end.
    pub line: String,
}

/// Where the balancer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PenctlTarget {
    /// At a host and a port or service, to be looked up.
    Tcp {
        /// The host, without brackets.
        host: String,
        /// The port or service.
        port: String,
    },
    /// At a Unix socket.
    Unix(String),
}

/// Why nothing was done. Displays as one line for standard error, except the usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PenctlError {
    /// Words are missing: [`PENCTL_USAGE`] goes to standard output, and the status is 0.
    #[error("")]
    Usage,
    /// No colon in front of a port.
    #[error("no port given")]
    NoPort,
    /// The host does not resolve; the reason is the resolver's.
    #[error("getaddrinfo: {0}")]
    Resolve(String),
    /// Nobody answers there.
    #[error("error connecting to server")]
    Connect,
    /// More than 1021 characters.
    #[error("Overlong argument list")]
    Overlong,
}

impl PenctlArgs {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// [`PenctlError::Usage`], [`PenctlError::NoPort`] and [`PenctlError::Overlong`].
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, PenctlError> {
        let Some((target, words)) = words.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            return Err(PenctlError::Usage);
        };
        let target = PenctlTarget::parse(target.as_ref())?;
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let line = words.join(" ");
        if line.len() > LONGEST_COMMAND {
            return Err(PenctlError::Overlong);
        }
        Ok(Self { target, line: line + "\n" })
    }
}

impl PenctlTarget {
    fn parse(text: &str) -> Result<Self, PenctlError> {
        if text.contains('/') {
            return Ok(Self::Unix(text.to_owned()));
        }
        let (host, port) = host_and_port(text).ok_or(PenctlError::NoPort)?;
        Ok(Self::Tcp { host: host.to_owned(), port: port.to_owned() })
    }
}

impl PenctlError {
    /// The status that scripts know it by.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Usage => ExitStatus::Success,
            _ => ExitStatus::Failure,
        }
    }
}

const LONGEST_COMMAND: usize = 1021;
