//! Work on all sessions, done in slices so that no turn is long.

use crate::event::SessionInfo;
use crate::sessions::Sessions;
use crate::tools::Tools;
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use terms::{CloseReason, Instant, ListenerId};

/// Work that goes through all sessions, in the order it was asked for.
#[derive(Default)]
pub(crate) struct Chores {
    queue: VecDeque<Chore>,
    /// The key at which the first one goes on.
    next_key: usize,
}

/// What is to be done. Sessions that begin later are not concerned: their numbers are not below
/// `before`.
pub(crate) enum Chore {
    /// List them.
    List { before: u64, found: Vec<SessionInfo>, reply: Sender<Vec<SessionInfo>> },
    /// Have those of a listener notice that its settings have changed.
    Refresh { listener: ListenerId },
    /// End one, or all, and say how many.
    Cut { before: u64, only: Option<u64>, reason: CloseReason, count: usize, reply: Sender<usize> },
}

/// Sessions looked at in one turn.
const SLICE: usize = 256;

impl Chores {
    pub fn add(&mut self, chore: Chore) {
        self.queue.push_back(chore);
    }

    /// Whether there is something to go on with.
    pub fn are_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Does a slice of the first chore.
    pub fn go_on(&mut self, sessions: &mut Sessions, tools: &mut Tools, now: Instant) {
        let Some(chore) = self.queue.front_mut() else { return };
        let end = sessions.keys_end().min(self.next_key + SLICE);
        for key in self.next_key..end {
            chore.look_at(key, sessions, tools, now);
        }
        self.next_key = end;
        if end >= sessions.keys_end() {
            self.next_key = 0;
            if let Some(chore) = self.queue.pop_front() {
                chore.finish(tools);
            }
        }
    }
}

impl Chore {
    fn look_at(&mut self, key: usize, sessions: &mut Sessions, tools: &mut Tools, now: Instant) {
        match self {
            Self::List { before, found, .. } => {
                found.extend(sessions.info(key, *before, tools, now));
            }
            Self::Refresh { listener } => sessions.refresh(key, *listener, tools, now),
            Self::Cut { before, only, reason, count, .. } => {
                let is_meant =
                    |number: u64| number < *before && only.is_none_or(|only| number == only);
                *count += usize::from(sessions.cut(key, is_meant, *reason, tools, now));
            }
        }
    }

    fn finish(self, tools: &mut Tools) {
        match self {
            Self::List { found, reply, .. } => drop(reply.send(found)),
            Self::Refresh { .. } => {}
            Self::Cut { count, reply, .. } => {
                tools.outbox.flush_now(); // what is told of them comes before the answer
                let _ = reply.send(count);
            }
        }
    }
}
