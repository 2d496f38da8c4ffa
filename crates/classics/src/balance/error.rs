//! What balance(1) prints when it cannot start, and its exit status.

use super::options::usage;
use config::ExitStatus;
use std::path::PathBuf;

/// Why balance(1) did not start. Displays as the original's words, to be printed on standard
/// error as they are, followed by a newline unless they end with one.
///
/// The variants of which nothing is parsed are for the caller that binds and resolves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BalanceError {
    /// A letter that is no option.
    #[error("{argv0}: invalid option -- '{letter}'\n{}", usage())]
    InvalidOption {
        /// The program's name as it was called.
        argv0: String,
        /// The letter.
        letter: char,
    },
    /// An option at the end that needs a value.
    #[error("{argv0}: option requires an argument -- '{letter}'\n{}", usage())]
    MissingValue {
        /// The program's name as it was called.
        argv0: String,
        /// The letter.
        letter: char,
    },
    /// A bad number, or a wrong number of operands.
    #[error("{}", usage())]
    Usage,
    /// Not a port to listen on.
    #[error("invalid port [{0}], exiting.")]
    InvalidPort(String),
    /// More than 64 channels in a group, or 32 groups.
    #[error("MAXCHANNELS exceeded...")]
    TooMany,
    /// A channel's host, or the `-B` address, does not resolve.
    #[error("unknown or invalid address [{0}]")]
    UnknownAddress(String),
    /// A channel's port is neither a number nor a service.
    #[error("invalid port number [{0}]")]
    InvalidChannelPort(String),
    /// Two separators with nothing between them.
    #[error("balance: no channels in group")]
    EmptyGroup,
    /// What to listen on does not resolve; the reason is the resolver's.
    #[error("error at getaddrinfo: {0}\nexiting.")]
    Resolve(String),
    /// The system did not let us listen; the reason is the system's.
    #[error("bind(): {0}")]
    Bind(String),
    /// The name of the instance belongs to somebody else.
    #[error("open: Permission denied\ncheck rendezvousfile permissions [{}]", path.display())]
    NameDenied {
        /// The file or socket that holds the name.
        path: PathBuf,
        /// Whether it was wanted for `-i` or `-c`.
        control: bool,
    },
    /// The name of the instance cannot be made.
    #[error("cannot create rendezvous file {}", .0.display())]
    NameNotCreatable(PathBuf),
    /// There is no place for names of instances.
    #[error(
        "ERROR: rendezvous directory not available and/or creatable\n       \
         make {dir} as root, writable for all (mode 01777):\n# mkdir -m 01777 {dir}",
        dir = .0.display()
    )]
    NoDirectory(PathBuf),
}

impl BalanceError {
    /// The status that scripts know it by.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::InvalidOption { .. }
            | Self::MissingValue { .. }
            | Self::Usage
            | Self::InvalidPort(_)
            | Self::TooMany => ExitStatus::ClassicUsage,
            Self::UnknownAddress(_) | Self::InvalidChannelPort(_) => ExitStatus::DataError,
            Self::NameDenied { control: false, .. } => ExitStatus::NoInput,
            Self::EmptyGroup | Self::NoDirectory(_) => ExitStatus::Unavailable,
            Self::Resolve(_)
            | Self::Bind(_)
            | Self::NameDenied { control: true, .. }
            | Self::NameNotCreatable(_) => ExitStatus::OsError,
        }
    }
}
