//! Watches the configuration file: its contents, never its timestamps, so that it does not matter how
//! it is replaced (by an editor, a link of Kubernetes, a package).

use crate::load::load;
use crate::origin::ContentHash;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use sys::errors::with_causes;
use tokio::sync::Notify;

/// A watch on a file and on those beside it, in a thread of its own, until this is dropped.
pub(crate) struct Watch {
    _running: Sender<()>,
}

/// How often to look.
const LOOK: Duration = Duration::from_millis(250);
/// How many looks in a row must find the same contents before they count: whoever writes several
/// files has finished by then.
const QUIET_LOOKS: u32 = 2;
/// Looking needs little.
const STACK_BYTES: usize = 256 << 10;

impl Watch {
    /// Notifies `changed` when the contents are no longer those of `hash`, and then whenever they
    /// change again.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub fn start(path: &Arc<Path>, hash: ContentHash, changed: &Arc<Notify>) -> io::Result<Self> {
        let (running, ended) = channel();
        let (path, changed) = (Arc::clone(path), Arc::clone(changed));
        let thread = thread::Builder::new().name("watch".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || {
            let mut looks = Looks::new(Ok(hash));
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if looks.add(look(&path)) {
                    changed.notify_one();
                }
            }
        })?;
        Ok(Self { _running: running })
    }
}

/// What a look finds: the contents, or why they cannot be read.
type Seen = Result<ContentHash, String>;

fn look(path: &Path) -> Seen {
    let sources = load(path).map_err(|error| with_causes(&error))?;
    Ok(ContentHash::of(&sources))
}

/// Decides when contents have changed and are complete.
struct Looks {
    reported: Seen,
    last: Seen,
    same: u32,
}

impl Looks {
    fn new(known: Seen) -> Self {
        Self { reported: known.clone(), last: known, same: 0 }
    }

    /// Whether what was seen is to be reported.
    fn add(&mut self, seen: Seen) -> bool {
        if seen != self.last {
            (self.last, self.same) = (seen, 0);
            return false;
        }
        self.same = self.same.saturating_add(1);
        let is_news = self.same == QUIET_LOOKS && self.last != self.reported;
        if is_news {
            self.reported = self.last.clone();
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each letter is the contents at a look, `!` a file that cannot be read. Marks the looks after
    /// which a change is reported; `a` is known at first.
    #[track_caller]
    fn check(looks: &str, expected: &str) {
        let seen = |letter: char| match letter {
            '!' => Err("unreadable".to_owned()),
            letter => Ok(ContentHash::from_number(letter as u64)),
        };
        let mut state = Looks::new(seen('a'));
        let marks: String =
            looks.chars().map(|it| if state.add(seen(it)) { '^' } else { ' ' }).collect();
        assert_eq!(marks.trim_end(), expected.trim_end(), "{looks}");
    }

    #[test]
    fn contents_count_when_they_have_been_the_same_for_a_while() {
        check("aaaaaaa", "");
        check("abbbbbb", "   ^");
        check("abcbccc", "      ^");
        check("abaaaaa", ""); // written and put back
        check("abbbbaaabbb", "   ^   ^  ^".trim_end());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_reported_once() {
        check("a!!!!!!", "   ^");
        check("a!aaaa!!!b", "        ^");
        check("a!!!aaaa", "   ^  ^");
    }
}
