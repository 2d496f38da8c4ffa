//! Notices that files of certificates and keys have other contents, never other timestamps, so that it
//! does not matter how they are replaced.

use super::{Contents, Files, Way};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
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
    wanted: Sender<HashMap<Way, u64>>,
    watched: HashMap<Way, u64>,
    found: Receiver<Renewal>,
}

/// What the files of a way to use TLS have become.
pub(crate) struct Renewal {
    pub way: Way,
    pub contents: Contents,
}

/// How often to look, unless that takes long.
const LOOK: Duration = Duration::from_secs(1);
/// The thread pauses this many times as long as its last look took, so looking uses 1 % of its time.
const SHARE: u32 = 100;
/// Renewals that wait to be used.
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
                let (wanted, arriving) = channel();
                let (finder, found) = sync_channel(FOUND_MAX);
                let notify = Arc::clone(&self.notify);
                let thread = thread::Builder::new().name("certificates".to_owned());
                thread.stack_size(STACK_BYTES).spawn(move || look(&arriving, &finder, &notify))?;
                let _ = wanted.send(ways.clone());
                self.running = Some(Running { wanted, watched: ways, found });
            }
            Some(running) if running.watched != ways => {
                let _ = running.wanted.send(ways.clone());
                running.watched = ways;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The next one, if there is any.
    pub fn next(&mut self) -> Option<Renewal> {
        self.running.as_ref()?.found.try_recv().ok()
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
fn look(arriving: &Receiver<HashMap<Way, u64>>, finder: &SyncSender<Renewal>, notify: &Notify) {
    let mut all: HashMap<Way, Watched> = HashMap::new();
    let mut pause = LOOK;
    loop {
        match arriving.recv_timeout(pause) {
            Ok(ways) => {
                let watch = |(way, hash)| (way, Watched { reported: hash, last: hash });
                all = ways.into_iter().map(watch).collect();
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let begun = Instant::now();
                for (way, watched) in &mut all {
                    let files = Files::read(way);
                    if watched.is_news(files.hash) {
                        let (way, contents) = (way.clone(), files.into_contents());
                        if finder.send(Renewal { way, contents }).is_err() {
                            return;
                        }
                        notify.notify_one();
                    }
                }
                pause = LOOK.max(begun.elapsed() * SHARE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
