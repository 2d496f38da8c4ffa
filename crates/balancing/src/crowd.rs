//! The sessions of a whole tier.

use crate::sync::{AtomicU32, Ordering::Relaxed};

/// How many sessions the backends of a tier have together.
///
/// Counted only where a load bound needs it, and from then on: sessions that began before are not
/// among them, so the bound is too strict until they have ended.
#[derive(Debug, Default)]
pub struct Crowd(AtomicU32);

impl Crowd {
    /// One of its own that is like another.
    pub(crate) fn copy(other: &Self) -> Self {
        Self(AtomicU32::new(other.sessions()))
    }

    pub(crate) fn sessions(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
