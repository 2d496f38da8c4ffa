//! The ends of sessions that the kernel forwards.
//!
//! The kernel says so when it removes a connection from its table, which may be a minute after its end.
//! Until then, the helper finds it among the open ones, and it is reported once.

use super::sessions::MARKED;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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

/// Which sessions have been reported.
pub(super) struct Reported {
    /// By number and beginning: a number is used again.
    at: HashMap<(u32, Option<i64>), Report>,
    /// When what is over may have been reported by an earlier process unless it has begun later, in
    /// nanoseconds since 1970; `None` as soon as what is over has been looked for.
    begins: Option<i64>,
    forgotten_at: Instant,
}

#[derive(Clone, Copy)]
struct Report {
    at: Instant,
    /// Whether the connection has been removed. The helper may have seen it before that.
    is_removed: bool,
}

impl Reported {
    /// What has begun before that time, and is over already, is another process's.
    pub fn since(begins: i64) -> Self {
        Self { at: HashMap::new(), begins: Some(begins), forgotten_at: Instant::now() }
    }

    /// Takes out what has been reported already, be it by an earlier process.
    pub fn sift(&mut self, endings: Endings, has_looked: bool) -> Vec<Connection> {
        let Endings { mut over, mut removed, .. } = endings;
        let now = Instant::now();
        let is_full = self.at.len() >= REMEMBERED_MAX;
        let mut is_new =
            |it: &Connection, is_removed: bool| match self.at.entry((it.id, it.started)) {
                Entry::Occupied(mut known) => {
                    known.get_mut().is_removed |= is_removed;
                    false
                }
                Entry::Vacant(unknown) => {
                    // Of the others, nobody tells a second time.
                    if it.is_over() && !is_full {
                        unknown.insert(Report { at: now, is_removed });
                    }
                    true
                }
            };
        over.retain(|it| is_new(it, false));
        removed.retain(|it| is_new(it, true));
        over.append(&mut removed);
        if let Some(begins) = self.begins {
            over.retain(|it| it.started.is_some_and(|started| started >= begins));
        }
        if has_looked {
            self.begins = None;
        }
        if now.duration_since(self.forgotten_at) >= FORGOTTEN_EVERY {
            self.forgotten_at = now;
            self.at.retain(|_, it| {
                let limit = if it.is_removed { SEEN_WITHIN } else { REMOVED_WITHIN };
                now.duration_since(it.at) < limit
            });
        }
        over
    }
}

/// How many are remembered: more than end while the helper tells of them.
const REMEMBERED_MAX: usize = 500_000;
/// How often to forget what is known no longer.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(1);
/// How long the helper may take to tell what it has seen.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Twice as long as the kernel keeps what is over; not all removals are heard of.
const REMOVED_WITHIN: Duration = Duration::from_secs(124);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sessions::tests::connection;
    use sys::tracking::TcpState;

    fn endings(over: &[u32], removed: &[u32], started: i64) -> Endings {
        let all = |ids: &[u32]| {
            let closed = connection(Some(TcpState::TimeWait));
            let with = |id: &u32| Connection { id: *id, started: Some(started), ..closed.clone() };
            ids.iter().map(with).collect()
        };
        Endings { over: all(over), removed: all(removed), lost: 0 }
    }

    #[test]
    fn each_end_is_reported_once() {
        let mut reported = Reported::since(100);
        let mut sift = |over: &[u32], removed: &[u32], started, has_looked| -> Vec<u32> {
            let new = reported.sift(endings(over, removed, started), has_looked);
            new.into_iter().map(|it| it.id).collect()
        };
        // These an earlier process has seen, except the last one.
        assert_eq!(sift(&[], &[1], 99, false), [0; 0]);
        assert_eq!(sift(&[2, 3], &[], 99, true), [0; 0]);
        assert_eq!(sift(&[3, 4], &[2], 99, true), [4]);
        assert_eq!(sift(&[4, 5], &[3, 6], 99, true), [5, 6]);
        assert_eq!(sift(&[], &[4, 5], 99, false), [0; 0]);
        assert_eq!(sift(&[8], &[8], 99, true), [8]);
        // The helper has seen it before it was removed, and tells so afterwards.
        assert_eq!(sift(&[6], &[], 99, true), [0; 0]);
        // The number has been given to another one.
        assert_eq!(sift(&[6], &[], 101, true), [6]);
        let mut reported = Reported::since(100);
        assert_eq!(reported.sift(endings(&[7], &[], 100), true).len(), 1);
    }
}
