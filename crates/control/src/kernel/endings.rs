//! The ends of sessions that the kernel forwards.
//!
//! The kernel says so when it removes a connection from its table, which may be a minute after its end.
//! Until then, the helper finds it among the open ones, and it is reported once.

use super::sessions::MARKED;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use sys::tracking::{Connection, Removals};
use tokio::sync::Notify;

/// Sessions that have ended, for as long as nobody takes them.
#[derive(Default)]
pub(super) struct Endings {
    /// Those of which the kernel keeps the connection.
    pub over: Vec<Connection>,
    /// Those whose connection it has removed.
    pub removed: Vec<Connection>,
    /// How many times some were lost, at least.
    pub lost: usize,
}

/// How many are kept until somebody takes them.
const KEPT_MAX: usize = 100_000;
/// How long to wait after each look, so that many sessions are taken at once.
const PAUSE: Duration = Duration::from_millis(20);

/// Begins a thread that hears of removals for as long as somebody has `endings`.
///
/// # Errors
/// If the system has no room for another thread.
pub(super) fn follow(
    removals: Removals,
    endings: &Arc<Mutex<Endings>>,
    notify: Arc<Notify>,
) -> io::Result<()> {
    let endings = Arc::downgrade(endings);
    let run = move || while let Some(()) = take(&removals, &endings, &notify) {};
    std::thread::Builder::new().name("kernel-ends".to_owned()).spawn(run)?;
    Ok(())
}

fn take(removals: &Removals, endings: &Weak<Mutex<Endings>>, notify: &Notify) -> Option<()> {
    let mut removed = Vec::new();
    let has_lost = removals.read(MARKED, |it| removed.push(it)).ok()?;
    let endings = endings.upgrade()?;
    if has_lost || !removed.is_empty() {
        let mut endings = endings.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT_MAX.saturating_sub(endings.removed.len());
        endings.lost += usize::from(has_lost) + removed.len().saturating_sub(room);
        removed.truncate(room);
        endings.removed.append(&mut removed);
        notify.notify_one();
    }
    std::thread::sleep(PAUSE);
    Some(())
}

/// Which sessions have been reported before their connections were removed.
#[derive(Default)]
pub(super) struct Reported {
    at: HashMap<u32, Instant>,
    /// Whether what is over has been looked for.
    has_begun: bool,
}

impl Reported {
    /// Takes out what has been reported already, be it by an earlier process.
    pub fn sift(&mut self, endings: Endings, has_looked: bool) -> Vec<Connection> {
        let Endings { mut over, mut removed, .. } = endings;
        let now = Instant::now();
        over.retain(|it| self.at.insert(it.id, now).is_none());
        removed.retain(|it| self.at.remove(&it.id).is_none());
        over.append(&mut removed);
        // Not all removals are heard of.
        self.at.retain(|_, at| now.duration_since(*at) < REMOVED_WITHIN);
        if !self.has_begun {
            over.clear();
        }
        self.has_begun |= has_looked;
        over
    }
}

/// Twice as long as the kernel keeps what is over.
const REMOVED_WITHIN: Duration = Duration::from_secs(124);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sessions::tests::connection;
    use sys::tracking::TcpState;

    fn endings(over: &[u32], removed: &[u32]) -> Endings {
        let all = |ids: &[u32]| {
            let closed = connection(Some(TcpState::TimeWait));
            ids.iter().map(|id| Connection { id: *id, ..closed.clone() }).collect()
        };
        Endings { over: all(over), removed: all(removed), lost: 0 }
    }

    #[test]
    fn each_end_is_reported_once() {
        let mut reported = Reported::default();
        let mut sift = |over: &[u32], removed: &[u32], has_looked| -> Vec<u32> {
            let new = reported.sift(endings(over, removed), has_looked);
            new.into_iter().map(|it| it.id).collect()
        };
        // These an earlier process has seen.
        assert_eq!(sift(&[], &[1], false), [0; 0]);
        assert_eq!(sift(&[2, 3], &[], true), [0; 0]);
        assert_eq!(sift(&[3, 4], &[2], true), [4]);
        assert_eq!(sift(&[4, 5], &[3, 6], true), [5, 6]);
        assert_eq!(sift(&[], &[4, 5], false), [0; 0]);
        // The number has been given to another one.
        assert_eq!(sift(&[], &[4], false), [4]);
    }
}
