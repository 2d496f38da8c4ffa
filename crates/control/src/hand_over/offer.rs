//! The old side of a hand-over: performs what [`Old`] says, on a thread of its own.

use super::frame::{self, FrameError};
use super::protocol::{Froze, Kind, Look, Old, OldEnd, OldStep, SILENT_LOOKS_MAX};
use super::record::{
    Batch, CompanionRecord, Counts, FlowRecord, Hello, Ready, Refusal, Rest, SessionRecord, Stop,
    Taken,
};
use super::request::{Beginning, HandOver, Names};
use crate::calls::{Belongings, Call};
use crate::desk::{Answer, Desk, Request};
use dataplane::{Moving, MovingFlow, Portion, Selection, Staying};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use sys::channel::{Channel, DESCRIPTORS_MAX, Flag, Life};
use sys::clock;
use telemetry::Level;
use terms::Instant;
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;

/// How long the new process may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take for each step on the way there, if it reports them. None depends on the
/// network for more than a few seconds.
const PROGRESS_WITHIN: Duration = Duration::from_secs(10);
/// How long any other message may take, also on a machine with far more to do than it can.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the process that this one has replaced is waited for. Less than the new one waits.
const ALONE_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked for meanwhile.
const ALONE_LOOK: Duration = Duration::from_millis(20);
/// The sizes of the first batches.
const FIRST_BATCHES: [usize; 2] = [1, 10];
/// The maximum number of sessions in a batch: each has two descriptors.
const SESSIONS_MAX: usize = DESCRIPTORS_MAX / 4;
/// The same where people wait for each other, who wait for the whole batch.
const LIGHT_SESSIONS_MAX: usize = 16;
/// The bytes held back in one batch, except that one session always fits.
const BATCH_BYTES: usize = 1 << 20;
/// How long a worker may take to give up sessions.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);
/// The pause before sessions that could not move are tried again, at first and after a while.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// How many short pauses there are.
const SHORT_PAUSES: usize = 100;
/// How long a beat of the new process is waited for at a time.
const GUARD_LOOK: Duration = Duration::from_millis(200);
/// How long the end of a process that was killed is waited for. Its program is not continued after
/// the signal, even if the kernel still has something to finish for it.
const DEATH_WITHIN: Duration = Duration::from_secs(1);

/// Serves one process at a time that wants to take over, until this process ends.
pub(crate) async fn serve(listener: UnixListener, desk: Desk) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(GUARD_LOOK).await; // most likely out of file descriptors
            continue;
        };
        let desk = desk.clone();
        let offered = stream.into_std().and_then(|it| Channel::new(OwnedFd::from(it)));
        if let Ok(channel) = offered {
            // If it panics, the channel has been closed.
            let offered = spawn_blocking(move || {
                let end = offer(&channel, &desk);
                (end == Some(OldEnd::Stopped)).then_some(channel)
            });
            if let Ok(Some(_channel)) = offered.await {
                // Its end shows the other process when this one has ended.
                return std::future::pending().await;
            }
        }
    }
}

/// Returns how it has ended, unless it has not begun.
fn offer(channel: &Channel, desk: &Desk) -> Option<OldEnd> {
    let peer = channel.peer().ok()?;
    if peer.uid != 0 && peer.uid != sys::process::user_id() {
        refuse(channel, "another user may not take this instance over");
        return None;
    }
    if std::process::id() == 1 && peer.pid.is_some() {
        refuse(
            channel,
            "this instance is the first process of its container, which ends with it; start the new \
             one in a container of its own that shares the directory of the admin socket",
        );
        return None;
    }
    let flag = Flag::new().ok()?;
    let mut offer = Offer {
        channel,
        desk,
        flag,
        peer: peer.pid,
        successor: None,
        guard_until: None,
        is_stopped: false,
        unwanted: Vec::new(),
        hello: None,
        begun: None,
        belongings: None,
        described_at: clock::now(),
        frozen: Vec::new(),
        frozen_flows: Vec::new(),
        refused: HashSet::new(),
        batches: 0,
        pauses: 0,
        pass: Pass::default(),
        flows: None,
        rest: Rest::default(),
        deadline: None,
        next_number: 0,
        trouble: None,
    };
    let mut old = Old::default();
    let end = loop {
        if let OldStep::End(end) = old.step() {
            break end;
        }
        offer.perform(&mut old);
    };
    offer.conclude(end);
    Some(end)
}

fn refuse(channel: &Channel, reason: &str) {
    let refusal = Refusal { reason: reason.to_owned() };
    let deadline = Some(clock::now() + ANSWER_WITHIN);
    let _ = frame::send(channel, Kind::Refuse, &refusal, &[], &[], deadline);
}

/// A hand-over under way.
struct Offer<'a> {
    channel: &'a Channel,
    desk: &'a Desk,
    flag: Flag,
    /// The new process.
    peer: Option<i32>,
    hello: Option<Hello>,
    /// What the owner gave at the beginning.
    begun: Option<Beginning>,
    /// What the companion gave, which has stopped for it.
    belongings: Option<Belongings>,
    described_at: Instant,
    /// The new process, if it sends beats when it is guarded.
    successor: Option<Life>,
    /// When the guard ends, once it has begun.
    guard_until: Option<Instant>,
    /// Whether the new process has said that it ends in an orderly way.
    is_stopped: bool,
    /// The listening addresses that the new process does not have, until clients are refused there.
    unwanted: Vec<String>,
    frozen: Vec<Moving>,
    frozen_flows: Vec<MovingFlow>,
    /// Sessions that the new process cannot continue.
    refused: HashSet<u64>,
    batches: usize,
    pauses: usize,
    pass: Pass,
    /// Where the pass through all flows is, if it is under way: worker and key.
    flows: Option<(usize, usize)>,
    rest: Rest,
    /// When sessions that cannot move are given up.
    deadline: Option<Instant>,
    next_number: u64,
    /// Why it has failed.
    trouble: Option<String>,
}

/// One pass through all sessions. The first has three parts: the silent ones come first, and those
/// that hold back much last.
#[derive(Default)]
struct Pass {
    selection: Selection,
    worker: usize,
    key: usize,
    moved: usize,
    staying: Staying,
    refused: usize,
}

impl Offer<'_> {
    /// Performs a step.
    fn perform(&mut self, old: &mut Old) {
        let result = match old.step() {
            OldStep::Freeze if self.is_stopped => return old.froze(Froze::NoneLeft),
            OldStep::Freeze => match self.freeze() {
                Ok(found) => return old.froze(found),
                Err(error) => Err(error),
            },
            OldStep::Guard => match self.guard() {
                Ok((found, is_over)) => {
                    if self.is_stopped {
                        old.stop();
                    }
                    return old.looked(found, is_over);
                }
                Err(error) => Err(error),
            },
            step => self.try_to(step),
        };
        if result.is_err() && self.begun.is_some() {
            // It may have said why it has gone.
            while let Ok(Some(_)) = self.hear(clock::now()) {}
        }
        if self.is_stopped {
            old.stop();
        }
        match result {
            Ok(()) => {
                old.done();
                if self.successor.is_some() {
                    old.expect_beats();
                }
            }
            Err(error) => {
                self.trouble.get_or_insert(error.to_string());
                old.failed();
            }
        }
    }

    fn try_to(&mut self, step: OldStep) -> Result<(), FrameError> {
        match step {
            OldStep::Await(Kind::Hello) => self.hear_hello(),
            OldStep::Send(Kind::State) => self.send_state(),
            OldStep::Await(Kind::Ready) => {
                let (ready, mut descriptors) = self.hear_ready()?;
                let is_guarded = ready.sends_beats && self.guard_time() > Duration::ZERO;
                self.successor = descriptors.pop().filter(|_| is_guarded).map(Life::of);
                // In another namespace, its number is not the one that it has here.
                self.peer = self.peer.and(i32::try_from(ready.pid).ok());
                self.unwanted = ready.unwanted;
                Ok(())
            }
            OldStep::Unwatch => {
                self.ask(HandOver::Unwatch)?;
                self.next_number = self.number()?;
                Ok(())
            }
            OldStep::Send(Kind::Switch) => {
                let (since, number) = (self.described_at, self.next_number);
                let mut standing = self.ask(|answer| HandOver::Standing(since, number, answer))?;
                let takes_flows = self.hello.as_ref().is_some_and(|it| it.takes_flows);
                standing.flows_follow = takes_flows && self.begun()?.has_flows;
                self.flows = standing.flows_follow.then_some((0, 0));
                self.deadline = self.begun()?.drain.map(|drain| clock::now() + drain);
                self.send(Kind::Switch, &standing, &[], &[])
            }
            OldStep::Send(Kind::Batch) => self.send_batch(),
            OldStep::Await(Kind::Taken) => self.hear_taken(),
            OldStep::Send(Kind::Commit) => {
                let deadline = Some(clock::now() + ANSWER_WITHIN);
                frame::send_bare(self.channel, Kind::Commit, deadline)
            }
            OldStep::LetGo => {
                self.pass.moved += self.frozen.len();
                self.batches += 1;
                let gone = std::mem::take(&mut self.frozen);
                let gone_flows = std::mem::take(&mut self.frozen_flows);
                let mover = &self.begun()?.mover;
                mover.let_go(gone);
                mover.let_go_of_flows(gone_flows);
                Ok(())
            }
            OldStep::Send(kind @ (Kind::Rest | Kind::Final)) => {
                self.rest.counts = self.counts()?;
                self.send(kind, &self.rest, &[], &[])?;
                match std::mem::take(&mut self.unwanted) {
                    none if none.is_empty() => Ok(()),
                    unwanted => self.ask(|answer| HandOver::Refuse(unwanted, answer)),
                }
            }
            OldStep::Pause => {
                let pause = PAUSES[usize::from(self.pauses >= SHORT_PAUSES)];
                self.pauses += 1;
                self.watch_channel(pause)
            }
            OldStep::Kill => self.kill(),
            OldStep::Revoke => {
                self.flag.set();
                Ok(())
            }
            OldStep::Thaw => {
                let frozen = std::mem::take(&mut self.frozen);
                let frozen_flows = std::mem::take(&mut self.frozen_flows);
                if let Some(begun) = &self.begun {
                    begun.mover.adopt(frozen);
                    begun.mover.adopt_flows(frozen_flows);
                }
                Ok(())
            }
            OldStep::Watch => {
                // Unless this process is about to exit.
                let _ = self.ask(HandOver::Watch);
                Ok(())
            }
            OldStep::Await(_)
            | OldStep::Send(_)
            | OldStep::Freeze
            | OldStep::Guard
            | OldStep::End(_) => Ok(()),
        }
    }

    /// How long the new process is to be guarded.
    fn guard_time(&self) -> Duration {
        Duration::from_millis(self.hello.as_ref().map_or(0, |it| it.guard_millis))
    }

    /// Looks for a beat. Returns whether the guard is over, too. If there are no beats, one look takes
    /// all the time.
    fn guard(&mut self) -> Result<(Look, bool), FrameError> {
        let now = clock::now();
        let until = *self.guard_until.get_or_insert(now + self.guard_time());
        let has_beats = self.successor.is_some();
        let time = if has_beats { GUARD_LOOK } else { until.since(now) };
        let found = match self.hear(now + time) {
            Ok(None) => Look::Release,
            Ok(Some(frame)) if frame.kind == Kind::Beat && has_beats => Look::Beat,
            Ok(Some(frame)) if frame.kind == Kind::Release => Look::Release,
            Ok(Some(_)) => {
                return Err(FrameError::Foreign("an unexpected message came".to_owned()));
            }
            Err(FrameError::Channel(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Look::Silence
            }
            Err(error) => return Err(error),
        };
        Ok((found, clock::now() >= until))
    }

    /// Kills the new process.
    fn kill(&mut self) -> Result<(), FrameError> {
        let Some(successor) = &self.successor else { return Err(gone()) };
        if let Err(error) = successor.kill() {
            // In another container, perhaps.
            let fields = vec![("error", error.to_string())];
            let message = "the new process gives no sign of life, and cannot be killed";
            let note = HandOver::Note(Level::Error, message, fields);
            let _ = self.desk.tell(Request::HandOver(Box::new(note)));
            self.successor = None;
            return Err(error.into());
        }
        let _ = successor.has_ended(Some(clock::now() + DEATH_WITHIN));
        let silence = GUARD_LOOK * SILENT_LOOKS_MAX;
        self.trouble.get_or_insert_with(|| {
            format!("the new process gave no sign of life for {silence:?}, and was killed")
        });
        Ok(())
    }

    fn hear_hello(&mut self) -> Result<(), FrameError> {
        let hello: Hello = self.expect(Kind::Hello, ANSWER_WITHIN)?.record()?;
        self.hello = Some(hello.clone());
        let begun = self.begin(hello)?;
        self.described_at = clock::now();
        if let Err(reason) = begun {
            refuse(self.channel, &reason);
            return Err(FrameError::Foreign(reason));
        }
        Ok(())
    }

    /// Stops the companion and the owner, and collects what they hand over; or returns why that is
    /// impossible.
    fn begin(&mut self, hello: Hello) -> Result<Result<(), String>, FrameError> {
        let until = clock::now() + ALONE_WITHIN;
        while self.ask(HandOver::Predecessor)?.is_some() && clock::now() < until {
            std::thread::sleep(ALONE_LOOK);
        }
        if let Some(companion) = &self.desk.companion {
            match companion.hand_over() {
                Ok(belongings) => self.belongings = Some(belongings),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let begun = self.ask(|answer| HandOver::Begin(hello, answer))?;
        Ok(begun.map(|mut beginning| {
            if let Some(Belongings { record, sockets }) = &mut self.belongings {
                let record = CompanionRecord { record: record.take(), sockets: sockets.len() };
                beginning.described.companion = Some(record);
                beginning.sockets.append(sockets);
            }
            self.begun = Some(beginning);
        }))
    }

    fn send_state(&mut self) -> Result<(), FrameError> {
        let life = Life::own()?;
        let Some(begun) = &mut self.begun else { return Err(gone()) };
        let sockets = std::mem::take(&mut begun.sockets);
        let admin = begun.admin.take();
        begun.described.has_admin_socket = admin.is_some();
        let ready_interface = begun.ready_interface.take();
        let (input, output, errors) = (io::stdin(), io::stdout(), io::stderr());
        let mut all = vec![life.as_fd(), self.flag.as_fd()];
        all.extend([input.as_fd(), output.as_fd(), errors.as_fd()]);
        all.extend(admin.iter().chain(&ready_interface).chain(&sockets).map(AsFd::as_fd));
        let mut pieces = all.chunks(DESCRIPTORS_MAX);
        self.send(Kind::State, &self.begun()?.described, &[], pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|more| self.send(Kind::State, &(), &[], more))
    }

    /// Waits until the new process is ready, as long as it gets further.
    fn hear_ready(&self) -> Result<(Ready, Vec<OwnedFd>), FrameError> {
        let reports = self.hello.as_ref().is_some_and(|it| it.reports_progress);
        let latest = clock::now() + READY_WITHIN;
        loop {
            let step = clock::now() + PROGRESS_WITHIN;
            let deadline = if reports { latest.min(step) } else { latest };
            let frame =
                frame::receive(self.channel, Some(deadline)).map_err(|error| match error {
                    FrameError::Channel(it) if it.kind() == io::ErrorKind::TimedOut => {
                        let how =
                            if deadline < latest { "gets no further" } else { "takes too long" };
                        FrameError::Foreign(format!(
                            "the new process {how} on its way to being ready"
                        ))
                    }
                    error => error,
                })?;
            match frame.kind {
                Kind::Progress => {}
                Kind::Ready => return Ok((frame.record()?, frame.descriptors)),
                kind => return Err(FrameError::Foreign(format!("{kind:?} came instead of Ready"))),
            }
        }
    }

    /// Takes flows out of the workers, one portion at a time, as long as there are some: what their
    /// clients send waits. Returns whether there were any.
    fn freeze_flows(&mut self) -> Result<bool, FrameError> {
        while let Some((worker, key)) = self.flows {
            let mover = self.begun()?.mover.clone();
            if worker >= mover.workers() {
                self.flows = None;
                break;
            }
            let (sender, found) = channel();
            let count = self.batch_size(DESCRIPTORS_MAX);
            mover.freeze_flows(worker, key, count, move |it| drop(sender.send(it)));
            let found = found.recv_timeout(FREEZE_WITHIN).map_err(|_| gone())?;
            self.flows = Some(found.next_key.map_or((worker + 1, 0), |key| (worker, key)));
            if !found.flows.is_empty() {
                self.frozen_flows = found.flows;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes sessions out of the workers, one portion at a time.
    fn freeze(&mut self) -> Result<Froze, FrameError> {
        if self.freeze_flows()? {
            return Ok(Froze::Some);
        }
        loop {
            let mover = self.begun()?.mover.clone();
            if self.pass.worker >= mover.workers() {
                if let Some(selection) = next(self.pass.selection) {
                    self.pass = Pass { selection, moved: self.pass.moved, ..Pass::default() };
                    continue;
                }
                // Those that become ready later are few.
                let next_pass = Pass { selection: Selection::All, ..Pass::default() };
                let pass = std::mem::replace(&mut self.pass, next_pass);
                self.rest =
                    Rest { staying: pass.staying, refused: pass.refused, ..Rest::default() };
                let is_late = self.deadline.is_some_and(|deadline| clock::now() >= deadline);
                match (pass.moved, mover.sessions()) {
                    (0, 0) => return Ok(Froze::NoneLeft),
                    (0, _) if is_late => return Ok(Froze::NoneLeft),
                    (0, _) => return Ok(Froze::NoneNow),
                    _ => continue, // others may have become ready meanwhile
                }
            }
            let selection = self.pass.selection;
            let most =
                if selection == Selection::Light { LIGHT_SESSIONS_MAX } else { SESSIONS_MAX };
            let sessions = self.batch_size(most);
            let portion = Portion { sessions, bytes: BATCH_BYTES, selection };
            let (sender, found) = channel();
            mover.freeze(self.pass.worker, self.pass.key, portion, move |it| drop(sender.send(it)));
            let found = found.recv_timeout(FREEZE_WITHIN).map_err(|_| gone())?;
            self.pass.staying = self.pass.staying.plus(found.staying);
            match found.next_key {
                Some(key) => self.pass.key = key,
                None => (self.pass.worker, self.pass.key) = (self.pass.worker + 1, 0),
            }
            let is_refused = |it: &Moving| self.refused.contains(&it.state.number);
            let (back, frozen): (Vec<_>, Vec<_>) = found.sessions.into_iter().partition(is_refused);
            self.pass.refused += back.len();
            mover.adopt(back);
            if !frozen.is_empty() {
                self.frozen = frozen;
                return Ok(Froze::Some);
            }
        }
    }

    /// How many sessions or flows the next batch has, if there are enough.
    fn batch_size(&self, most: usize) -> usize {
        FIRST_BATCHES.get(self.batches).copied().unwrap_or(most)
    }

    fn send_batch(&mut self) -> Result<(), FrameError> {
        let names = &self.begun()?.names;
        let sessions = self.frozen.iter().map(|it| names.record(it)).collect();
        let flows = self.frozen_flows.iter().map(|it| names.flow_record(it)).collect();
        let sockets = self.frozen.iter().flat_map(|it| &it.sockets);
        let upstreams = self.frozen_flows.iter().filter_map(|it| Some(&it.upstream.as_ref()?.1));
        let descriptors: Vec<BorrowedFd<'_>> = sockets.chain(upstreams).map(AsFd::as_fd).collect();
        let held = self.frozen.iter().flat_map(|it| &it.residues).map(Vec::as_slice);
        let kept = self.frozen_flows.iter().flat_map(|it| &it.kept).map(|it| &**it);
        let tail: Vec<&[u8]> = held.chain(kept).collect();
        self.send(Kind::Batch, &Batch { sessions, flows }, &tail, &descriptors)
    }

    fn hear_taken(&mut self) -> Result<(), FrameError> {
        let taken: Taken = self.expect(Kind::Taken, ANSWER_WITHIN)?.record()?;
        self.refused.extend(taken.refused);
        let is_refused = |it: &Moving| self.refused.contains(&it.state.number);
        let frozen = std::mem::take(&mut self.frozen);
        let (back, frozen): (Vec<_>, Vec<_>) = frozen.into_iter().partition(is_refused);
        self.frozen = frozen;
        self.begun()?.mover.adopt(back);
        let is_refused = |it: &MovingFlow| self.refused.contains(&it.state.number);
        let frozen = std::mem::take(&mut self.frozen_flows);
        let (back, frozen): (Vec<_>, Vec<_>) = frozen.into_iter().partition(is_refused);
        self.frozen_flows = frozen;
        self.begun()?.mover.adopt_flows(back);
        Ok(())
    }

    /// Receives a message; `None` if that says that the new process ends in an orderly way.
    fn hear(&mut self, deadline: Instant) -> Result<Option<frame::Frame>, FrameError> {
        let frame = frame::receive(self.channel, Some(deadline))?;
        if frame.kind != Kind::Stop {
            return Ok(Some(frame));
        }
        let stop: Stop = frame.record()?;
        let until = stop.limit_millis.map(|limit| clock::now() + Duration::from_millis(limit));
        self.deadline = [self.deadline, until].into_iter().flatten().min();
        self.is_stopped = true;
        Ok(None)
    }

    /// Waits, and fails if the new process says something or goes away: nothing is expected of it,
    /// except that it ends in an orderly way.
    fn watch_channel(&mut self, time: Duration) -> Result<(), FrameError> {
        match self.hear(clock::now() + time) {
            Err(FrameError::Channel(error)) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            Err(error) => Err(error),
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(FrameError::Foreign("an unexpected message came".to_owned())),
        }
    }

    /// A number that no session of this process has.
    fn number(&self) -> Result<u64, FrameError> {
        let mover = &self.begun()?.mover;
        let (sender, numbers) = channel();
        mover.next_number(move |number| {
            let _ = sender.send(number);
        });
        let numbers = (0..mover.workers()).map(|_| numbers.recv_timeout(FREEZE_WITHIN));
        let numbers: Result<Vec<_>, _> = numbers.collect();
        numbers.ok().and_then(|all| all.into_iter().max()).ok_or_else(gone)
    }

    fn counts(&self) -> Result<Counts, FrameError> {
        let number = self.next_number;
        self.ask(|answer| HandOver::Counts(number, answer))
    }

    fn begun(&self) -> Result<&Beginning, FrameError> {
        self.begun.as_ref().ok_or_else(gone)
    }

    fn send(
        &self,
        kind: Kind,
        record: &impl serde::Serialize,
        tail: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), FrameError> {
        let deadline = Some(clock::now() + ANSWER_WITHIN);
        frame::send(self.channel, kind, record, tail, descriptors, deadline)
    }

    fn expect(&mut self, kind: Kind, within: Duration) -> Result<frame::Frame, FrameError> {
        let deadline = clock::now() + within;
        let frame = loop {
            if let Some(frame) = self.hear(deadline)? {
                break frame;
            }
        };
        match frame.kind == kind {
            true => Ok(frame),
            false => Err(FrameError::Foreign(format!("{:?} came instead of {kind:?}", frame.kind))),
        }
    }

    fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> HandOver) -> Result<T, FrameError> {
        let ask = |answer| Request::HandOver(Box::new(request(answer)));
        self.desk.ask_blocking(ask).ok_or_else(gone)
    }

    /// Reports how it ended.
    fn conclude(self, end: OldEnd) {
        let trouble = self.trouble.clone().unwrap_or_default();
        let program = self.hello.as_ref().map(|it| it.program.clone()).unwrap_or_default();
        let fields = vec![("by", program), ("error", trouble)];
        let note = |level, message| HandOver::Note(level, message, fields);
        let serves = matches!(end, OldEnd::Unchanged | OldEnd::TakenBack);
        let goes_on = serves && self.belongings.is_some();
        if let Some(companion) = self.desk.companion.as_ref().filter(|_| goes_on) {
            companion.call(Call::GoOn);
        }
        match end {
            OldEnd::Unchanged if self.begun.is_some() => {
                let _ = self.ask(HandOver::Abandon);
                let message = "upgrade failed; nothing has changed";
                let _ = self.desk.tell(Request::HandOver(Box::new(note(Level::Warn, message))));
            }
            OldEnd::Unchanged => {}
            OldEnd::TakenBack => {
                let message = "upgrade failed; this process serves again";
                let _ = self.desk.tell(Request::HandOver(Box::new(note(Level::Error, message))));
            }
            OldEnd::Gone => {
                let peer = self.peer.filter(|_| !self.is_stopped);
                let _ = self.ask(|answer| HandOver::Leave(peer, answer));
            }
            OldEnd::Stopped => {
                let left = self.deadline.map(|deadline| deadline.since(clock::now()));
                let _ = self.ask(|answer| HandOver::Finish(left, answer));
            }
        }
    }
}

/// Which sessions of the first pass follow these.
fn next(selection: Selection) -> Option<Selection> {
    match selection {
        Selection::Silent => Some(Selection::Light),
        Selection::Light => Some(Selection::All),
        Selection::All => None,
    }
}

/// This process is about to exit.
fn gone() -> FrameError {
    FrameError::Foreign("this process is shutting down".to_owned())
}

impl Names {
    /// What the new process needs to know about a flow.
    fn flow_record(&self, moving: &MovingFlow) -> FlowRecord {
        let backend = moving.upstream.as_ref().map(|(lease, _)| lease.backend().id);
        FlowRecord {
            listener: self.listeners.get(&moving.listener.id()).cloned().unwrap_or_default(),
            backend: backend.map(|id| self.backends.get(&id).cloned().unwrap_or_default()),
            kept: moving.kept.iter().map(|it| it.len()).collect(),
            state: moving.state.clone(),
        }
    }

    /// What the new process needs to know about a session.
    fn record(&self, moving: &Moving) -> SessionRecord {
        let backend = moving.lease.backend();
        SessionRecord {
            backend: self.backends.get(&backend.id).cloned().unwrap_or_default(),
            listener: self.listeners.get(&moving.listener.id()).cloned().unwrap_or_default(),
            is_routed: moving.affinity.as_ref().is_some_and(|table| {
                let own = moving.listener.pool();
                own.affinity.as_ref().is_none_or(|it| !Arc::ptr_eq(it, table))
            }),
            held: moving.residues.each_ref().map(Vec::len),
            state: moving.state.clone(),
        }
    }
}
