//! What the two sides of a hand-over ask of the owner of the instance.

use super::record::{BackendRecord, Batch, Counts, Described, Hello, Standing};
use dataplane::{Mover, Moving, MovingFlow};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;
use telemetry::{Level, PredecessorRow};
use terms::{BackendId, Instant, ListenerId};
use tokio::sync::oneshot::Sender as Answer;

/// A step of a hand-over for which the owner of the instance is needed.
pub(crate) enum HandOver {
    /// The old side begins, unless there is a reason against it. No command changes the instance
    /// from now on.
    Begin(Hello, Answer<Result<Beginning, String>>),
    /// The process that this one has replaced, if that is still there.
    Predecessor(Answer<Option<u32>>),
    /// It stops accepting, at its admin socket, too.
    Unwatch(Answer<()>),
    /// What has changed since this time.
    Standing(Instant, u64, Answer<Standing>),
    /// What has been counted.
    Counts(u64, Answer<Counts>),
    /// It refuses clients at these addresses, which the new side does not have.
    Refuse(Vec<String>, Answer<()>),
    /// It accepts again.
    Watch(Answer<()>),
    /// It has not changed anything.
    Abandon(Answer<()>),
    /// This process is the instance now: the old one leaves.
    Leave(Option<i32>, Answer<()>),
    /// The process that this one has been left to has ended in an orderly way, so this one only
    /// finishes its sessions, within that time.
    Finish(Option<Duration>, Answer<()>),
    /// Sessions have come to the new side, with their connections and the bytes held back.
    Arrive(Batch, Vec<OwnedFd>, Vec<u8>, Answer<Option<Arrived>>),
    /// What the old side has counted.
    Inherit(PredecessorRow, Counts, Answer<()>),
    /// The old side has no sessions any more.
    Settle(Answer<()>),
    /// The old side serves again, so the new one only finishes the sessions that it has.
    Retire(Answer<()>),
    /// The process that this one has replaced is gone.
    Alone(Answer<()>),
    /// Whether this process is to be guarded no longer. The answer shows that the owner does its work.
    Beat(Answer<bool>),
    /// A line for the log.
    Note(Level, &'static str, Vec<(&'static str, String)>),
}

/// The instance, when a hand-over begins.
pub(crate) struct Beginning {
    pub described: Described,
    pub sockets: Vec<OwnedFd>,
    pub admin: Option<OwnedFd>,
    /// What keeps the interface that says whether the instance is ready.
    pub ready_interface: Option<OwnedFd>,
    pub mover: Mover,
    pub names: Names,
    /// Whether there may be UDP flows.
    pub has_flows: bool,
    /// How long sessions that cannot move may go on.
    pub drain: Option<Duration>,
}

/// How the other process knows listeners and backends.
#[derive(Default)]
pub(crate) struct Names {
    pub listeners: HashMap<ListenerId, String>,
    pub backends: HashMap<BackendId, BackendRecord>,
}

/// Sessions that have arrived and wait to be continued.
pub(crate) struct Arrived {
    pub sessions: Vec<Moving>,
    pub flows: Vec<MovingFlow>,
    /// The numbers of those that cannot be.
    pub refused: Vec<u64>,
}
