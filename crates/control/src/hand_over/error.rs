//! Why another process cannot be taken over.

use std::io;

/// Why this process could not take over. The old one goes on.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Nobody can be asked there.
    #[error("no instance can be taken over at {path}")]
    NotThere {
        /// The socket for hand-overs.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The old process declined.
    #[error("the running instance declines: {0}")]
    Refused(String),
    /// The hand-over failed.
    #[error("the hand-over failed, and the running instance goes on: {0}")]
    Failed(String),
}
