//! The room for another session of a listener, and whether accepting waits for it.
//!
//! Whoever pauses a listener asks once more afterwards, and whoever makes room looks afterwards
//! whether the listener is paused. A fence lies between the two steps of each (`SeqCst`), so one of
//! them sees the other's first step, and accepting never waits for room that there is.

use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::{AtomicBool, AtomicU32, fence};

/// A listener's sessions, and whether accepting waits until some have ended.
#[derive(Debug)]
pub(crate) struct Room {
    /// Open sessions.
    sessions: AtomicU32,
    /// Sessions whose backend has not answered yet.
    connecting: AtomicU32,
    paused: AtomicBool,
}

/// The numbers at which accepting pauses; `None` for no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomLimits {
    pub sessions: Option<u32>,
    pub connecting: Option<u32>,
}

impl Room {
    pub fn new() -> Self {
        Self {
            sessions: AtomicU32::new(0),
            connecting: AtomicU32::new(0),
            paused: AtomicBool::new(false),
        }
    }

    /// Open sessions.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Relaxed)
    }

    /// Sessions whose backend has not answered yet.
    pub fn connecting(&self) -> u32 {
        self.connecting.load(Relaxed)
    }

    /// Counts a session just accepted.
    pub fn begin_session(&self) {
        self.sessions.fetch_add(1, Relaxed);
    }

    /// Counts a session that has ended; ask [`Self::is_paused`] afterwards.
    pub fn end_session(&self) {
        self.sessions.fetch_sub(1, Relaxed);
        fence(SeqCst);
    }

    /// Counts a session whose backend has not answered yet.
    pub fn begin_connecting(&self) {
        self.connecting.fetch_add(1, Relaxed);
    }

    /// Counts a session whose backend has answered, or that has none any more; ask
    /// [`Self::is_paused`] afterwards.
    pub fn end_connecting(&self) {
        self.connecting.fetch_sub(1, Relaxed);
        fence(SeqCst);
    }

    /// Whether another session may begin.
    pub fn has_room(&self, limits: RoomLimits) -> bool {
        let below = |count: u32, most: Option<u32>| most.is_none_or(|most| count < most);
        below(self.sessions(), limits.sessions) && below(self.connecting(), limits.connecting)
    }

    /// Records that accepting waits; ask [`Self::has_room`] once more afterwards.
    pub fn pause(&self) {
        self.paused.store(true, Relaxed);
        fence(SeqCst);
    }

    /// Records that accepting continues.
    pub fn unpause(&self) {
        self.paused.store(false, Relaxed);
    }

    /// Whether accepting waits.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }
}
