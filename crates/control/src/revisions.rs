//! The revisions of the configuration of an instance that was started from a file.

use crate::origin::{ContentHash, Origin};
use crate::replace::Fallback;
use config::Config;
use std::path::Path;
use std::sync::Arc;
use telemetry::Status;
use tokio::time::Instant;

/// The revisions of the configuration of an instance that was started from a file.
pub(crate) struct Revisions {
    pub path: Arc<Path>,
    /// One at the start, and one more with each reload that changed something, and with each that
    /// was taken back.
    pub number: u64,
    pub hash: ContentHash,
    pub unconfirmed: Option<Unconfirmed>,
}

/// A reload that will be taken back.
pub(crate) struct Unconfirmed {
    pub deadline: Instant,
    pub fallback: Fallback,
    /// What ran right after it.
    pub after: Config,
    /// The hash of what was loaded before.
    pub hash: ContentHash,
}

impl Revisions {
    /// The first revision.
    pub fn new(origin: &Origin, hash: ContentHash) -> Self {
        Self { path: origin.path().into(), number: 1, hash, unconfirmed: None }
    }

    /// Continues to count where another process was: with its number and the hash of its text.
    pub fn follow(&mut self, (number, hash): &(u64, String)) {
        self.number = number + u64::from(*hash != self.hash.to_string());
    }

    /// Adds them to a status.
    pub fn describe(&self, status: Status) -> Status {
        let left = |it: &Unconfirmed| it.deadline.saturating_duration_since(Instant::now());
        Status {
            file: Some(self.path.display().to_string()),
            revision: self.number,
            file_hash: Some(self.hash.to_string()),
            unconfirmed_seconds: self.unconfirmed.as_ref().map(|it| left(it).as_secs()),
            ..status
        }
    }

    /// When an unconfirmed reload is to be taken back.
    pub fn revert_at(&self) -> Option<Instant> {
        self.unconfirmed.as_ref().map(|it| it.deadline)
    }
}
