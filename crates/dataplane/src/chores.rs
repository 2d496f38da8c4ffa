//! Work that goes through all sessions and flows, in slices so that no turn takes long.

use crate::datagrams::Datagrams;
use crate::event::SessionInfo;
use crate::sessions::Sessions;
use crate::shared::Reply;
use crate::tools::Tools;
use std::collections::VecDeque;
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
    /// List the sessions.
    List { before: u64, found: Vec<SessionInfo>, reply: Reply<Vec<SessionInfo>> },
    /// Apply changed settings to the sessions of a listener.
    Refresh { listener: ListenerId },
    /// End one session, or all, and reply with the number.
    Cut { before: u64, only: Option<u64>, reason: CloseReason, count: usize, reply: Reply<usize> },
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
        (sessions, datagrams): (&mut Sessions, &mut Datagrams),
        tools: &mut Tools,
        now: Instant,
    ) {
        let Some(chore) = self.queue.front_mut() else { return };
        let keys_end = sessions.keys_end().max(datagrams.keys_end());
        let end = keys_end.min(self.next_key + SLICE);
        for key in self.next_key..end {
            chore.look_at(key, sessions, tools, now);
            chore.look_at_flow(key, datagrams, tools, now);
        }
        self.next_key = end;
        if end >= sessions.keys_end().max(datagrams.keys_end()) {
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
                let is_meant = is_meant(*before, *only);
                *count += usize::from(sessions.cut(key, is_meant, *reason, tools, now));
            }
        }
    }

    fn look_at_flow(&mut self, key: usize, flows: &mut Datagrams, tools: &mut Tools, now: Instant) {
        match self {
            Self::List { before, found, .. } => found.extend(flows.info(key, *before, tools, now)),
            Self::Refresh { listener } => flows.refresh(key, *listener, tools, now),
            Self::Cut { before, only, reason, count, .. } => {
                let is_meant = is_meant(*before, *only);
                *count += usize::from(flows.cut(key, is_meant, *reason, tools, now));
            }
        }
    }

    fn finish(self, tools: &mut Tools) {
        match self {
            Self::List { found, reply, .. } => reply(found),
            Self::Refresh { .. } => {}
            Self::Cut { count, reply, .. } => {
                tools.outbox.flush_now(); // the events before the reply
                reply(count);
            }
        }
    }
}

/// Whether a chore is about the session with a number.
fn is_meant(before: u64, only: Option<u64>) -> impl Fn(u64) -> bool {
    move |number| number < before && only.is_none_or(|only| number == only)
}
