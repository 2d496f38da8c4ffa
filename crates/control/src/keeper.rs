//! Writes the state file: soon after a change, at most once a second, and in another thread.

use crate::state::{Clients, Noted};
use config::state::State;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use sys::kept_file::KeptFile;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

/// Keeps the state file up to date, if there is one.
pub(crate) struct Keeper {
    /// Absent if no state is kept. While it is being written, the writer has it.
    file: Option<KeptFile>,
    writing: Option<JoinHandle<Written>>,
    /// What the file says, or will when it has been written.
    saved: State,
    /// Whether there may be something new.
    has_news: bool,
    /// Not to be written before this time.
    due: Instant,
    has_failed: bool,
    /// When clients are to be listed again, if any return to their backends.
    clients_due: Option<Instant>,
    /// A hash of those that were listed last.
    clients_seen: u64,
    pub noted: Noted,
}

/// The file, whether it could be written, and a hash of the clients in it.
type Written = (KeptFile, io::Result<()>, u64);

/// What a [`Keeper`] has to say.
pub(crate) enum News {
    /// The state is to be [saved](Keeper::save).
    Due,
    /// It could not be written for the first time, or for the first time since it last could.
    Failed(PathBuf, io::Error),
    /// It has been written after it could not be.
    WritesAgain(PathBuf),
}

/// The minimum time between two writes.
const PAUSE: Duration = Duration::from_secs(1);
/// The minimum time between two lists of clients.
const CLIENTS_PAUSE: Duration = Duration::from_secs(60);
/// The time until the next try after a failure.
const RETRY: Duration = Duration::from_secs(30);
/// How long the end of the process waits for the last write.
const LAST_WRITE: Duration = Duration::from_secs(1);

impl Keeper {
    /// Keeps `file`, if given, which says `saved`.
    pub fn new((file, saved, noted): (Option<KeptFile>, State, Noted)) -> Self {
        let due = Instant::now();
        Self {
            file,
            writing: None,
            saved,
            has_news: true,
            due,
            has_failed: false,
            clients_due: None,
            clients_seen: 0,
            noted,
        }
    }

    /// There may be something new.
    pub fn note_change(&mut self) {
        self.has_news = true;
    }

    /// Waits until there is something to do or to say; for ever if no state is kept. May be dropped
    /// while it waits.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(writing) = &mut self.writing {
                let written = writing.await;
                self.writing = None;
                // Without the file, which a writer that panicked has lost, nothing is kept.
                let Ok(written) = written else { continue };
                if let Some(news) = self.written(written) {
                    return news;
                }
            } else if self.file.is_some() && self.has_news {
                sleep_until(self.due).await;
                return News::Due;
            } else if let Some(due) = self.clients_due.filter(|_| self.file.is_some()) {
                sleep_until(due).await;
                return News::Due;
            } else {
                std::future::pending::<()>().await;
            }
        }
    }

    fn written(&mut self, (file, result, clients_seen): Written) -> Option<News> {
        let path = file.path().to_owned();
        (self.file, self.clients_seen) = (Some(file), clients_seen);
        let had_failed = std::mem::replace(&mut self.has_failed, result.is_err());
        match result {
            Ok(()) => had_failed.then_some(News::WritesAgain(path)),
            Err(error) => {
                self.has_news = true;
                self.saved = State::default();
                self.due = Instant::now() + RETRY;
                (!had_failed).then_some(News::Failed(path, error))
            }
        }
    }

    /// Begins to write `state`, unless the file says so already. The lists of clients are part of it,
    /// and seldom the reason for it.
    pub fn save(&mut self, state: State, clients: Vec<Clients>) {
        self.has_news = false;
        self.begin(state, clients, false);
    }

    /// Writes the last state of this instance, and waits for that, but not for long. Nothing is
    /// written afterwards: the file is the next instance's.
    pub async fn save_last(&mut self, state: State, clients: Vec<Clients>) {
        let last = async {
            if let Some(writing) = self.writing.take() {
                self.file = writing.await.ok().map(|(file, ..)| file);
            }
            self.begin(state, clients, true);
            if let Some(writing) = self.writing.take() {
                // Its failure has been reported, or is that of this very moment.
                let _ = writing.await;
            }
        };
        let _ = timeout(LAST_WRITE, last).await;
        (self.file, self.writing) = (None, None);
    }

    fn begin(&mut self, mut state: State, clients: Vec<Clients>, is_last: bool) {
        let now = Instant::now();
        let is_same = state.is_same(&self.saved);
        let lists_clients = !clients.is_empty()
            && (is_last || !is_same || self.clients_due.is_none_or(|due| due <= now));
        if is_same && !lists_clients {
            return;
        }
        let Some(mut file) = self.file.take() else { return };
        self.saved = state.clone();
        self.due = now + PAUSE;
        self.clients_due = (!clients.is_empty()).then_some(now + CLIENTS_PAUSE);
        let seen = self.clients_seen;
        self.writing = Some(spawn_blocking(move || {
            state.clients = Clients::list(&clients);
            let mut hasher = DefaultHasher::new();
            state.clients.hash(&mut hasher);
            let sees = hasher.finish();
            let result = match state.to_bytes() {
                _ if is_same && seen == sees => Ok(()),
                _ if is_last && file.is_taken_over() => Ok(()),
                Some(bytes) => file.write(&bytes),
                None => Err(io::Error::other("there is too much to remember")),
            };
            (file, result, sees)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::path::Path;

    fn state(name: &str) -> State {
        let address = "192.0.2.1:80".parse().unwrap();
        let names = [(name.to_owned(), vec![address])].into();
        State { version: State::VERSION, instance: "i".into(), names, ..State::default() }
    }

    fn keeper(dir: &Path) -> Keeper {
        let file = KeptFile::new(dir, OsStr::new("i.json"), None).unwrap();
        Keeper::new((Some(file), State::default(), Noted::default()))
    }

    fn names(dir: &Path) -> Option<Vec<String>> {
        let bytes = std::fs::read(dir.join("i.json")).ok()?;
        Some(State::parse(&bytes, "i").unwrap().names.into_keys().collect())
    }

    #[tokio::test]
    async fn what_changes_is_written_at_once_and_then_once_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = keeper(dir.path());
        let begin = Instant::now();
        let mut writes = 0;
        while begin.elapsed() < PAUSE * 3 / 2 {
            assert!(matches!(keeper.next().await, News::Due));
            writes += 1;
            keeper.save(state(&format!("{writes}")), Vec::new());
            keeper.note_change();
        }
        assert!(matches!(writes, 2 | 3), "{writes} writes");
        keeper.save_last(state("last"), Vec::new()).await;
        assert_eq!(names(dir.path()), Some(vec!["last".to_owned()]));
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = keeper(dir.path());
        std::fs::create_dir(dir.path().join("i.json")).unwrap();
        assert!(matches!(keeper.next().await, News::Due));
        keeper.save(state("a"), Vec::new());
        assert!(matches!(keeper.next().await, News::Failed(..)));
        keeper.due = Instant::now();
        assert!(matches!(keeper.next().await, News::Due));
        keeper.save(state("a"), Vec::new());
        let more = timeout(PAUSE, keeper.next()).await;
        assert!(more.is_err(), "reported again");
        std::fs::remove_dir(dir.path().join("i.json")).unwrap();
        keeper.due = Instant::now();
        assert!(matches!(keeper.next().await, News::Due));
        keeper.save(state("a"), Vec::new());
        assert!(matches!(keeper.next().await, News::WritesAgain(_)));
        assert_eq!(names(dir.path()), Some(vec!["a".to_owned()]));
    }

    #[tokio::test]
    async fn the_file_of_a_successor_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = keeper(dir.path());
        old.save(state("old"), Vec::new());
        assert!(timeout(PAUSE / 2, old.next()).await.is_err());
        let mut new = keeper(dir.path());
        new.save(state("new"), Vec::new());
        assert!(timeout(PAUSE / 2, new.next()).await.is_err());
        old.save_last(state("old, too"), Vec::new()).await;
        assert_eq!(names(dir.path()), Some(vec!["new".to_owned()]));
        old.save(state("never"), Vec::new());
        assert_eq!(names(dir.path()), Some(vec!["new".to_owned()]));
    }
}
