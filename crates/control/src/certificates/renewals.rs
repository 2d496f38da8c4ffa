//! Notices that files of certificates and keys have other contents, never other timestamps, so that it
//! does not matter how they are replaced.

use super::{Contents, Files, Way};
use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Looks at the files in a thread of its own, from when the first way is in use.
#[derive(Default)]
pub(crate) struct Renewals {
    running: Option<Running>,
    /// Notified when there are some.
    pub notify: Arc<Notify>,
}

struct Running {
    wanted: Wanted,
    /// Wakes the thread.
    wake: SyncSender<()>,
    watched: HashMap<Way, u64>,
    found: Receiver<News>,
}

/// The ways to watch, until the thread takes them: the last ones only, so that nothing piles up
/// while it looks at files.
type Wanted = Arc<Mutex<Option<HashMap<Way, u64>>>>;

/// What the thread reports.
#[derive(Debug)]
pub(crate) enum News {
    /// Files have other contents.
    Renewed(Box<Renewal>),
    /// That was the last one of a look. Before, the thread takes note of nothing that is in use.
    LookOver,
}

/// What the files of a way to use TLS have become.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub way: Way,
    pub contents: Contents,
}

/// How often to look, unless that takes long.
const LOOK: Duration = Duration::from_secs(1);
/// The thread pauses this many times as long as its last look took, so looking uses 1 % of its time.
const SHARE: u32 = 100;
/// News that wait to be used.
const FOUND_MAX: usize = 16;
/// What reading files and certificates needs.
const STACK_BYTES: usize = 256 << 10;

impl Renewals {
    /// Watches the files of these ways, of which the hash of what was read last is given.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub fn watch(&mut self, ways: HashMap<Way, u64>) -> io::Result<()> {
        match &mut self.running {
            None if ways.is_empty() => {}
            None => {
                let (wake, woken) = sync_channel(1);
                let (finder, found) = sync_channel(FOUND_MAX);
                let (wanted, notify) = (Wanted::default(), Arc::clone(&self.notify));
                let running = Running { wanted: Arc::clone(&wanted), wake, watched: ways, found };
                let look = move || look_on(&wanted, &woken, &finder, &notify);
                let thread = thread::Builder::new().name("certificates".to_owned());
                thread.stack_size(STACK_BYTES).spawn(look)?;
                running.tell();
                self.running = Some(running);
            }
            Some(running) if running.watched != ways => {
                running.watched = ways;
                running.tell();
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The next one, if there is any.
    pub fn next(&mut self) -> Option<News> {
        self.running.as_ref()?.found.try_recv().ok()
    }

    /// What is watched now.
    #[cfg(test)]
    pub fn watched(&self) -> Option<&HashMap<Way, u64>> {
        self.running.as_ref().map(|it| &it.watched)
    }
}

impl Running {
    /// Has the thread know what it is to watch now.
    fn tell(&self) {
        let ways = Some(self.watched.clone());
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = ways;
        let _ = self.wake.try_send(()); // once is enough
    }
}

/// What is known about the files of one way.
struct Watched {
    /// What is in use, or was reported.
    reported: u64,
    /// What was seen at the last look.
    last: u64,
}

impl Watched {
    /// Whether what was seen is to be reported: it is new, and whoever writes it has finished.
    fn is_news(&mut self, seen: u64) -> bool {
        let is_news = seen == self.last && seen != self.reported;
        self.last = seen;
        if is_news {
            self.reported = seen;
        }
        is_news
    }
}

/// Looks again and again, until nobody is interested any more.
fn look_on(wanted: &Wanted, woken: &Receiver<()>, finder: &SyncSender<News>, notify: &Notify) {
    let mut all: HashMap<Way, Watched> = HashMap::new();
    let mut pause = LOOK;
    loop {
        match woken.recv_timeout(pause) {
            Ok(()) => take_over(wanted, &mut all),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let begun = Instant::now();
                if look(&mut all, finder, notify).is_err() {
                    return;
                }
                pause = LOOK.max(begun.elapsed() * SHARE);
            }
        }
    }
}

/// Watches what is wanted now, if that is not watched already.
fn take_over(wanted: &Wanted, all: &mut HashMap<Way, Watched>) {
    let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(ways) = wanted {
        let watch = |(way, hash)| (way, Watched { reported: hash, last: hash });
        *all = ways.into_iter().map(watch).collect();
    }
}

/// Looks at all files once. Fails if nobody is interested any more.
fn look(
    all: &mut HashMap<Way, Watched>,
    finder: &SyncSender<News>,
    notify: &Notify,
) -> Result<(), SendError<News>> {
    let mut has_news = false;
    for (way, watched) in all {
        let files = Files::read(way);
        if watched.is_news(files.hash) {
            let (way, contents) = (way.clone(), files.into_contents());
            finder.send(News::Renewed(Box::new(Renewal { way, contents })))?;
            notify.notify_one();
            has_news = true;
        }
    }
    if has_news {
        finder.send(News::LookOver)?;
        notify.notify_one();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::ClientTls;
    use std::fs;
    use std::path::Path;

    /// A way that uses this file.
    fn way(file: &Path) -> Way {
        Way::Backends(ClientTls {
            verifies: true,
            authorities: vec![file.to_owned()],
            certificate: None,
            key: None,
            protocols: Vec::new(),
        })
    }

    #[test]
    fn of_what_is_to_be_watched_only_the_last_waits() {
        let (wake, woken) = sync_channel(1);
        let (_finder, found) = sync_channel(FOUND_MAX);
        let (wanted, watched) = (Wanted::default(), HashMap::new());
        let running = Some(Running { wanted: Arc::clone(&wanted), wake, watched, found });
        let mut renewals = Renewals { running, ..Renewals::default() };
        for hash in 0..100 {
            renewals.watch(HashMap::from([(way(Path::new("a")), hash)])).unwrap();
        }
        assert_eq!(woken.try_iter().count(), 1);
        let mut all = HashMap::new();
        // The thread may be woken again for what it has already taken.
        for _ in 0..2 {
            take_over(&wanted, &mut all);
            assert_eq!(all.values().map(|it| it.reported).collect::<Vec<_>>(), [99]);
        }
        // What is known already is not said again.
        renewals.watch(HashMap::from([(way(Path::new("a")), 99)])).unwrap();
        assert_eq!((&*wanted.lock().unwrap(), woken.try_iter().count()), (&None, 0));
    }

    #[test]
    fn a_look_reports_what_is_new_and_then_that_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<_> = (0..5).map(|it| dir.path().join(format!("{it}.pem"))).collect();
        files.iter().for_each(|file| fs::write(file, "old").unwrap());
        let watch = |file| {
            let hash = Files::read(&way(file)).hash;
            (way(file), Watched { reported: hash, last: hash })
        };
        let mut all = files.iter().map(|it| watch(it)).collect();
        let (finder, found) = sync_channel(FOUND_MAX);
        let mut check = |expected: &str| {
            look(&mut all, &finder, &Notify::new()).unwrap();
            let mark = |news| if matches!(news, News::LookOver) { '.' } else { 'r' };
            assert_eq!(found.try_iter().map(mark).collect::<String>(), expected);
        };
        check("");
        files[1..4].iter().for_each(|file| fs::write(file, "new").unwrap());
        check("");
        check("rrr.");
        check("");
        fs::remove_file(&files[0]).unwrap();
        check("");
        check("r.");
    }

    /// Each letter is the contents at a look, of which `a` is in use. Marks the looks after which
    /// they are reported.
    #[track_caller]
    fn check(looks: &str, expected: &str) {
        let mut watched = Watched { reported: 'a'.into(), last: 'a'.into() };
        let marks: String =
            looks.chars().map(|it| if watched.is_news(it.into()) { '^' } else { ' ' }).collect();
        assert_eq!(marks.trim_end(), expected, "{looks}");
    }

    #[test]
    fn contents_are_reported_once_they_have_been_seen_twice() {
        check("aaaa", "");
        check("abbb", "  ^");
        check("abcbccc", "     ^");
        check("abaa", "");
        check("abbaab", "  ^ ^");
    }
}
