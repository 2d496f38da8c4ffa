//! Keys of TLS tickets on their way to another process.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What clients resume with, so that they can do so after an upgrade, too.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct TicketKeys {
    pub secrets: Vec<Vec<u8>>,
    /// When the last one was made.
    pub renewed: u64,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive() // they are secret
    }
}
