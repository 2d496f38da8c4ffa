//! Work that goes through all sessions and flows, in slices so that no turn takes long.

use crate::event::SessionInfo;
use crate::listing::{Candidate, Found, Victims};
use crate::retiring::Recalling;
use crate::shared::Reply;
use crate::tap::Tap;
use crate::tools::Tools;
use std::collections::VecDeque;
use std::sync::Arc;
use terms::{CloseReason, Instant, ListenerId};

/// Chores, in the order they were asked for.
#[derive(Default)]
pub(crate) struct Chores {
    queue: VecDeque<Chore>,
    /// The key at which the first one continues.
    next_key: usize,
}

/// Something to be done for all sessions. `before` leaves out those that began after the order:
/// their numbers are not below it.
pub(crate) enum Chore {
    /// List sessions.
    List { before: u64, found: Found, reply: Reply<Vec<SessionInfo>> },
    /// Apply changed settings to the sessions of a listener.
    Refresh { listener: ListenerId },
    /// End sessions, and reply with the number.
    Cut { before: u64, whom: Victims, reason: CloseReason, count: usize, reply: Reply<usize> },
    /// Have a session watched, and reply whether it is, if it is here.
    Tap { tap: Arc<Tap>, is_watched: Option<bool>, reply: Reply<Option<bool>> },
    /// Have sessions end one after the other, and reply with the number.
    Recall { before: u64, recalling: Recalling, reply: Reply<usize> },
}

/// Sessions handled in one turn.
const SLICE: usize = 256;

impl Chores {
    pub fn add(&mut self, chore: Chore) {
        self.queue.push_back(chore);
    }

    /// Whether any is left to do.
    pub fn are_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Does a slice of the first chore.
    pub fn go_on(
        &mut self,
        sessions: &mut impl Listed,
        flows: &mut impl Listed,
        tools: &mut Tools,
        now: Instant,
    ) {
        let Some(chore) = self.queue.front_mut() else { return };
        let keys_end = sessions.keys_end().max(flows.keys_end());
        let end = keys_end.min(self.next_key + SLICE);
        for key in self.next_key..end {
            chore.look_at(key, sessions, tools, now);
            chore.look_at(key, flows, tools, now);
        }
        self.next_key = end;
        if end >= sessions.keys_end().max(flows.keys_end()) {
            self.next_key = 0;
            if let Some(chore) = self.queue.pop_front() {
                chore.finish(tools);
            }
        }
    }
}

/// What chores go through: a worker's sessions, or its flows, by their keys.
pub(crate) trait Listed {
    /// A bound that all keys are below.
    fn keys_end(&self) -> usize;

    /// Offers the session at this key to a list, if there is one and its number is below `before`.
    fn list(&mut self, key: usize, before: u64, found: &mut Found, tools: &Tools, now: Instant);

    /// Applies changed settings to the session at this key, if it is one of this listener.
    fn refresh(&mut self, key: usize, listener: ListenerId, tools: &mut Tools, now: Instant);

    /// Ends the session at this key for a reason that neither peer gave, if there is one and it is
    /// meant. Returns whether it ended.
    fn cut(
        &mut self,
        key: usize,
        is_meant: impl Fn(Candidate<'_>) -> bool,
        reason: CloseReason,
        tools: &mut Tools,
        now: Instant,
    ) -> bool;

    /// Has the session at this key watched, if it is the one that is meant. Returns whether it is
    /// then; `None` if it is another.
    fn tap(&mut self, key: usize, tap: &Arc<Tap>, tools: &Tools, now: Instant) -> Option<bool>;

    /// Has the session at this key end later, if there is one that was not begun after the order and
    /// is chosen.
    fn recall(&mut self, key: usize, before: u64, recalling: &mut Recalling, now: Instant);
}

impl Chore {
    fn look_at(&mut self, key: usize, all: &mut impl Listed, tools: &mut Tools, now: Instant) {
        match self {
            Self::List { before, found, .. } => all.list(key, *before, found, tools, now),
            Self::Refresh { listener } => all.refresh(key, *listener, tools, now),
            Self::Cut { before, whom, reason, count, .. } => {
                let is_meant = |it: Candidate<'_>| it.number < *before && whom.include(it);
                *count += usize::from(all.cut(key, is_meant, *reason, tools, now));
            }
            Self::Tap { tap, is_watched, .. } => {
                *is_watched = is_watched.or_else(|| all.tap(key, tap, tools, now));
            }
            Self::Recall { before, recalling, .. } => all.recall(key, *before, recalling, now),
        }
    }

    fn finish(self, tools: &mut Tools) {
        match self {
            Self::List { found, reply, .. } => reply(found.into_list()),
            Self::Refresh { .. } => {}
            Self::Cut { count, reply, .. } => {
                tools.outbox.flush_now(); // the events before the reply
                reply(count);
            }
            Self::Tap { is_watched, reply, .. } => reply(is_watched),
            Self::Recall { recalling, reply, .. } => reply(recalling.chosen()),
        }
    }
}
