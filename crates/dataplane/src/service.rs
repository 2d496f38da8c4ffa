//! One listener and everything behind it, as all workers see it.

use arc_swap::ArcSwap;
use balancing::Pool;
use relay::{SpliceMode, Timeouts};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A listener's settings, its pool, and what is counted for it.
#[derive(Debug)]
pub struct Service {
    /// Its place in the list of services, as events name it.
    pub id: usize,
    /// How sessions are treated.
    pub settings: Settings,
    /// The current snapshot of where sessions go.
    pub pool: ArcSwap<Pool>,
    /// Open sessions.
    pub sessions: AtomicU32,
    /// Sessions accepted since start.
    pub sessions_total: AtomicU64,
    /// Whether accepting waits until sessions have ended.
    pub(crate) paused: AtomicBool,
}

/// How a listener's sessions are treated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One attempt to connect to a backend.
    pub connect_timeout: Duration,
    /// When silence ends a session.
    pub timeouts: Timeouts,
    /// Open sessions after which accepting pauses.
    pub sessions_max: Option<u32>,
    /// Local address of connections to backends.
    pub source: Option<IpAddr>,
    /// Whether bulk data passes through pipes.
    pub splice: SpliceMode,
    /// What peers see of a session that we end ourselves.
    pub cut: Cut,
    /// What is told beside the end of each session.
    pub observe: Observe,
}

/// What peers see of a session that neither of them ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A reset.
    Reset,
    /// An orderly end of file.
    Close,
}

/// What is told beside the end of each session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// Every step of choosing and connecting ([`crate::Trace`]).
    pub steps: bool,
    /// Every block of data. Blocks are then at most 32 kB, and nothing is spliced.
    pub blocks: bool,
}

impl Service {
    /// Whether another session may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.settings.sessions_max.is_none_or(|most| self.sessions.load(Relaxed) < most)
    }

    /// A service with nothing counted yet.
    #[must_use]
    pub fn new(id: usize, settings: Settings, pool: Pool) -> Self {
        Self {
            id,
            settings,
            pool: ArcSwap::from_pointee(pool),
            sessions: AtomicU32::new(0),
            sessions_total: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        }
    }
}
