//! The new side of a hand-over: performs what [`New`] says.

use super::error::TakeOverError;
use super::frame::{self, Frame, FrameError};
use super::protocol::{Fate, Kind, New, NewEnd, NewStep};
use super::record::{Batch, Described, Hello, Ready, Refusal, Rest, Standing, Stop, Taken};
use super::request::{Arrived, HandOver};
use crate::calls::{Belongings, Call};
use crate::desk::{Answer, Desk, Request};
use config::Bind;
use dataplane::{Mover, Moving, MovingFlow, RollCall, Staying};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;
use sys::alarm;
use sys::channel::{Channel, Flag, Life};
use sys::clock;
use sys::process::Needed;
use telemetry::{Level, PredecessorRow};
use terms::Instant;

/// How long the old process may take to answer, before it accepts no more.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait for the end of a process whose channel has ended without a word.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long the old process may take to make room for a word of farewell: it nearly always has some.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
/// The time between two beats.
const BEAT_EVERY: Duration = Duration::from_millis(200);

/// The old process, and what it has passed so far.
pub(crate) struct Predecessor {
    channel: Arc<Channel>,
    life: Life,
    flag: Arc<Flag>,
    state: New,
    /// Whether the old process guards this one, and listens for beats.
    sends_beats: bool,
    pub described: Described,
    /// The three standard streams.
    pub streams: Vec<OwnedFd>,
    pub admin: Option<OwnedFd>,
    /// The interface that says whether it is ready, and its name.
    pub ready_interface: Option<(String, OwnedFd)>,
    /// By the listening address as text.
    sockets: HashMap<String, (Vec<OwnedFd>, bool)>,
    /// Number, name and socket.
    pub passed: Vec<(i32, Option<String>, OwnedFd)>,
    /// What the companion of the old process has.
    pub belongings: Option<Belongings>,
    /// Whether this process is to be in the background, as if it had been started where the old one
    /// was.
    pub is_detached: bool,
}

impl Predecessor {
    /// Asks the instance whose socket for hand-overs is at `path`.
    ///
    /// # Errors
    /// If there is none, or it declines.
    pub fn ask(path: &Path, guard: Duration, is_detached: bool) -> Result<Self, TakeOverError> {
        let not_there =
            |source| TakeOverError::NotThere { path: path.display().to_string(), source };
        let channel = Channel::connect(path).map_err(not_there)?;
        let failed = |error: FrameError| TakeOverError::Failed(error.to_string());
        let deadline = Some(clock::now() + ANSWER_WITHIN);
        let hello = Hello {
            program: super::PROGRAM.to_owned(),
            boot: clock::boot_id(),
            descriptors: sys::process::raise_descriptor_limit(),
            guard_millis: u64::try_from(guard.as_millis()).unwrap_or(u64::MAX),
            takes_flows: true,
            reports_progress: true,
        };
        let mut state = New::default();
        // One that refuses at once does not read this.
        let _ = frame::send(&channel, Kind::Hello, &hello, &[], &[], deadline);
        state.done();
        let frame = frame::receive(&channel, deadline).map_err(failed)?;
        if frame.kind == Kind::Refuse {
            let refusal: Refusal = frame.record().map_err(failed)?;
            return Err(TakeOverError::Refused(refusal.reason));
        }
        let mut described: Described = frame.record().map_err(failed)?;
        let mut descriptors = VecDeque::from(frame.descriptors);
        let sockets = described.listeners.iter().flat_map(|it| &it.binds).map(|it| it.sockets);
        let admin = usize::from(described.has_admin_socket);
        let admin = admin + usize::from(described.ready_interface.is_some());
        let companions = described.companion.as_ref().map_or(0, |it| it.sockets);
        let wanted = 5 + admin + sockets.sum::<usize>() + described.passed.len() + companions;
        while descriptors.len() < wanted {
            let more = frame::receive(&channel, deadline).map_err(failed)?;
            if more.kind != Kind::State || more.descriptors.is_empty() {
                return Err(TakeOverError::Failed("sockets are missing".to_owned()));
            }
            descriptors.extend(more.descriptors);
        }
        let missing = || TakeOverError::Failed("descriptors are missing".to_owned());
        let mut next = || descriptors.pop_front().ok_or_else(missing);
        let (life, flag) = (Life::of(next()?), Arc::new(Flag::of(next()?)));
        let streams = vec![next()?, next()?, next()?];
        let admin = if described.has_admin_socket { Some(next()?) } else { None };
        let ready_interface = match &described.ready_interface {
            Some(name) => Some((name.clone(), next()?)),
            None => None,
        };
        let mut sockets = HashMap::new();
        for bind in described.listeners.iter().flat_map(|it| &it.binds) {
            let all: Result<Vec<_>, _> = (0..bind.sockets).map(|_| next()).collect();
            sockets.insert(bind.bind.clone(), (all?, bind.has_file));
        }
        let passed = described.passed.iter();
        let passed = passed.map(|(number, name)| Ok((*number, name.clone(), next()?)));
        let passed: Result<Vec<_>, TakeOverError> = passed.collect();
        let passed = passed?;
        let belongings = described.companion.take().map(|it| {
            let sockets: Result<Vec<_>, _> = (0..it.sockets).map(|_| next()).collect();
            sockets.map(|sockets| Belongings { record: it.record, sockets })
        });
        let belongings = belongings.transpose()?;
        state.done();
        Ok(Self {
            channel: Arc::new(channel),
            life,
            flag,
            state,
            sends_beats: described.hears_beats && !guard.is_zero(),
            described,
            streams,
            admin,
            ready_interface,
            sockets,
            passed,
            belongings,
            is_detached,
        })
    }

    /// The sockets of a listening address, and whether it is a Unix socket whose file is the
    /// instance's.
    pub fn take(&mut self, bind: &Bind) -> Option<(Vec<OwnedFd>, bool)> {
        self.sockets.remove(&bind.to_string()).filter(|(sockets, _)| !sockets.is_empty())
    }

    /// The sockets of all listening addresses that nobody has taken.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.values().flat_map(|(sockets, _)| sockets).map(AsFd::as_fd)
    }

    /// What the old process sets before it serves again.
    pub fn flag(&self) -> Arc<Flag> {
        Arc::clone(&self.flag)
    }

    /// The way to tell the old process that this one ends in an orderly way.
    pub fn farewell(&self) -> Farewell {
        Farewell {
            channel: Arc::downgrade(&self.channel),
            hears_stop: self.described.hears_stop,
            hears_release: self.described.hears_release,
            is_settled: false,
        }
    }

    /// The old process, with nothing left in it.
    pub fn row(&self) -> PredecessorRow {
        PredecessorRow { pid: self.described.pid, ..PredecessorRow::default() }
    }

    /// Who must not be lost before this process accepts.
    pub fn needed(&self) -> Needed<'_> {
        Needed { channel: &self.channel, life: &self.life }
    }

    /// Tells the old process that this one has got further, so that it goes on waiting.
    pub fn report_progress(&self) {
        alarm::extend(super::STEP_WITHIN);
        if self.described.hears_progress {
            // If the old process is gone, that is noticed where its answer is needed.
            let deadline = Some(clock::now() + ANSWER_WITHIN);
            let _ = frame::send_bare(&self.channel, Kind::Progress, deadline);
        }
    }

    /// Says that this process is ready, and waits for the order to accept. Returns what the old
    /// process last said about itself.
    ///
    /// # Errors
    /// If it goes on instead.
    pub fn await_switch(&mut self) -> Result<Standing, TakeOverError> {
        self.state.done(); // prepared
        let mut standing = None;
        loop {
            match self.state.step() {
                NewStep::Send(Kind::Ready) => {
                    let deadline = Some(clock::now() + ANSWER_WITHIN);
                    let own = self.sends_beats.then(Life::own).and_then(Result::ok);
                    self.sends_beats = own.is_some();
                    let (pid, sends_beats) = (std::process::id(), self.sends_beats);
                    let unwanted = self.sockets.keys().cloned().collect();
                    let ready = Ready { pid, sends_beats, unwanted };
                    let own: Vec<BorrowedFd<'_>> = own.iter().map(AsFd::as_fd).collect();
                    match frame::send(&self.channel, Kind::Ready, &ready, &[], &own, deadline) {
                        Ok(()) => self.state.done(),
                        Err(_) => self.state.failed(),
                    }
                }
                NewStep::AwaitSwitch => {
                    let frame = frame::receive(&self.channel, None);
                    match frame.ok().filter(|it| it.kind == Kind::Switch) {
                        Some(frame) => {
                            let read = frame.record();
                            let read = read.map_err(|it| TakeOverError::Failed(it.to_string()));
                            standing = Some(read?);
                            self.state.done();
                        }
                        None => self.state.failed(),
                    }
                }
                NewStep::LearnFate => self.state.learnt(self.fate()),
                NewStep::Open => {
                    return Ok(standing.unwrap_or_else(|| self.described.standing.clone()));
                }
                _ => {
                    let why = "it did not wait for this process".to_owned();
                    return Err(TakeOverError::Failed(why));
                }
            }
        }
    }

    /// What became of the old process, which has ended the channel.
    fn fate(&self) -> Fate {
        // It either sets the flag before it ends the channel, or is about to end.
        loop {
            let has_ended = self.life.has_ended(Some(clock::now() + FATE_LOOK));
            match (self.flag.is_set(), has_ended) {
                (true, true) => return Fate::DeadAfterwards,
                (true, false) => return Fate::TakenBack,
                (false, true) => return Fate::Dead,
                (false, false) if self.life.has_ended(Some(clock::now() + END_WITHIN)) => {}
                // It has failed in an unknown way, and lives: what it has is its own.
                (false, false) => return Fate::TakenBack,
            }
        }
    }

    /// Brings the sessions of the old process in, on the calling thread, until it has none.
    /// `first_pass` is called with a report as soon as all that could move has moved, or with an error
    /// if that did not succeed.
    pub fn bring_in(
        mut self,
        desk: &Desk,
        (mover, roll_call): (&Mover, &RollCall),
        first_pass: impl FnOnce(Result<&Report, TakeOverError>),
    ) {
        self.state.done(); // open
        self.sockets.clear(); // of addresses that this process does not have
        let mut arrival = Arrival {
            desk,
            mover,
            batch: Vec::new(),
            flows: Vec::new(),
            report: Report { old: self.row(), ..Report::default() },
            first_pass: Some(first_pass),
            frozen_at: Instant::ZERO,
            begun_at: clock::now(),
        };
        loop {
            if let NewStep::End(end) = self.state.step() {
                arrival.conclude(end);
                if end == NewEnd::Serving && self.sends_beats {
                    arrival.beat(&self.channel, self.described.hears_release, roll_call);
                }
                // As long as the old process guards this one, it sees from the channel that it lives.
                let _ = frame::receive(&self.channel, None);
                let _ = arrival.ask(HandOver::Alone);
                return;
            }
            self.perform(&mut arrival);
        }
    }

    fn perform(&mut self, arrival: &mut Arrival<'_, impl FnOnce(Result<&Report, TakeOverError>)>) {
        match self.state.step() {
            NewStep::AwaitMore => match frame::receive(&self.channel, None) {
                Ok(frame) => match arrival.hear(frame) {
                    Ok(kind) => self.state.received(kind),
                    Err(()) => self.state.failed(),
                },
                Err(_) => self.state.failed(),
            },
            NewStep::Send(Kind::Taken) => {
                let refused = std::mem::take(&mut arrival.report.refused_now);
                let taken = Taken { refused };
                let deadline = Some(clock::now() + ANSWER_WITHIN);
                match frame::send(&self.channel, Kind::Taken, &taken, &[], &[], deadline) {
                    Ok(()) => self.state.done(),
                    Err(_) => self.state.failed(),
                }
            }
            NewStep::AwaitCommit => match frame::receive(&self.channel, None) {
                Ok(Frame { kind: Kind::Commit, .. }) => self.state.done(),
                _ => self.state.failed(),
            },
            NewStep::Adopt => {
                arrival.adopt();
                self.state.done();
            }
            NewStep::LearnFate => self.state.learnt(self.fate()),
            NewStep::Drop => {
                arrival.mover.let_go(std::mem::take(&mut arrival.batch));
                arrival.mover.let_go_of_flows(std::mem::take(&mut arrival.flows));
                self.state.done();
            }
            _ => self.state.failed(),
        }
    }
}

/// The way to tell the old process that this one ends in an orderly way, as long as there is a
/// channel.
pub(crate) struct Farewell {
    channel: Weak<Channel>,
    hears_stop: bool,
    hears_release: bool,
    /// Whether the old process has handed everything over.
    pub is_settled: bool,
}

impl Farewell {
    /// Says it. Sessions of the old process may go on within `limit`. Returns whether it was said.
    pub fn say(&self, limit: Option<Duration>) -> bool {
        let Some(channel) = self.channel.upgrade() else { return false };
        let deadline = Some(clock::now() + FAREWELL_WITHIN);
        let limit = limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let stop = Stop { limit_millis: limit };
        // Each is one small piece, which other messages do not come in between of.
        match (self.hears_stop, self.is_settled && self.hears_release) {
            (true, _) => frame::send(&channel, Kind::Stop, &stop, &[], &[], deadline).is_ok(),
            (false, true) => frame::send_bare(&channel, Kind::Release, deadline).is_ok(),
            (false, false) => false,
        }
    }
}

/// Waits for each worker to finish what it is doing. Returns false if one has ended.
fn all_answer(roll_call: &RollCall) -> bool {
    let (sender, answers) = mpsc::channel();
    roll_call.begin(move |()| {
        let _ = sender.send(());
    });
    (0..roll_call.workers()).all(|_| answers.recv().is_ok())
}

const FATE_LOOK: Duration = Duration::from_millis(20);

/// What has come of a hand-over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The old process, and what is still there.
    pub old: PredecessorRow,
    /// Sessions that moved.
    pub moved: usize,
    /// From the first batch to the last one so far.
    pub took: Duration,
    /// The longest time from the arrival of a batch to when it went on.
    pub longest: Duration,
    /// Of the last batch.
    refused_now: Vec<u64>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { moved, took, longest, old, .. } = self;
        let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
        write!(f, "upgraded: {moved} sessions moved")?;
        if *moved > 0 {
            write!(f, " in {:.0} ms, none waited for more than {:.1} ms", ms(took), ms(longest))?;
        }
        match old.sessions() {
            none if none.is_empty() => Ok(()),
            some => write!(f, "; the old process, {}, finishes {some}", old.pid),
        }
    }
}

/// The old process, and its sessions that cannot move now.
fn left(pid: u32, staying: Staying, refused: usize) -> PredecessorRow {
    PredecessorRow {
        pid,
        tls: staying.tls as u64,
        flows: staying.flows as u64,
        unsettled: staying.unsettled as u64,
        refused: refused as u64,
    }
}

struct Arrival<'a, F> {
    desk: &'a Desk,
    mover: &'a Mover,
    batch: Vec<Moving>,
    flows: Vec<MovingFlow>,
    report: Report,
    first_pass: Option<F>,
    frozen_at: Instant,
    begun_at: Instant,
}

impl<F: FnOnce(Result<&Report, TakeOverError>)> Arrival<'_, F> {
    /// Takes in a message. What cannot be understood ends the hand-over.
    fn hear(&mut self, frame: Frame) -> Result<Kind, ()> {
        let kind = frame.kind;
        match kind {
            Kind::Batch => {
                self.frozen_at = clock::now();
                let batch: Batch = frame.record().map_err(drop)?;
                let Frame { descriptors, tail, .. } = frame;
                let arrive = |answer| HandOver::Arrive(batch, descriptors, tail, answer);
                let Arrived { sessions, flows, refused } = self.ask(arrive).flatten().ok_or(())?;
                if !sessions.is_empty() {
                    self.mover.flows_are_over();
                }
                (self.batch, self.flows, self.report.refused_now) = (sessions, flows, refused);
            }
            Kind::Rest | Kind::Final => {
                self.mover.flows_are_over();
                let Rest { staying, refused, counts } = frame.record().map_err(drop)?;
                self.report.old = left(self.report.old.pid, staying, refused);
                let old = self.report.old;
                self.ask(|answer| HandOver::Inherit(old, counts, answer)).ok_or(())?;
                self.tell_first_pass(Ok(()));
            }
            _ => {}
        }
        Ok(kind)
    }

    fn adopt(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let flows = std::mem::take(&mut self.flows);
        self.report.moved += batch.len() + flows.len();
        self.mover.adopt(batch);
        let homeless = self.mover.adopt_flows(flows);
        self.mover.let_go_of_flows(homeless);
        let now = clock::now();
        self.report.longest = self.report.longest.max(now.since(self.frozen_at));
        self.report.took = now.since(self.begun_at);
    }

    /// Tells whoever started this process how it went. What happens later is in the log only.
    fn tell_first_pass(&mut self, end: Result<(), TakeOverError>) {
        if let Some(first_pass) = self.first_pass.take() {
            first_pass(end.map(|()| &self.report));
        }
    }

    /// Sends beats until the old process does not listen any more, or this one is about to exit.
    /// There is none as long as the owner of the instance or a worker hangs. If the old process
    /// understands a release, it gets one as soon as another process asks to take over.
    fn beat(&self, channel: &Channel, hears_release: bool, roll_call: &RollCall) {
        let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        while let Some(needs_no_guard) = self.ask(HandOver::Beat).filter(|_| all_answer(roll_call))
        {
            if needs_no_guard && hears_release {
                let deadline = Some(clock::now() + ANSWER_WITHIN);
                let _ = frame::send_bare(channel, Kind::Release, deadline);
                return;
            }
            let soon = Some(clock::now() + BEAT_EVERY);
            match frame::send_bare(channel, Kind::Beat, soon) {
                Err(FrameError::Channel(error)) if is_late(&error) => {} // it has many to read
                Err(_) => return,
                Ok(()) => {}
            }
            match frame::receive(channel, soon) {
                Err(FrameError::Channel(error)) if is_late(&error) => {}
                _ => return,
            }
        }
    }

    fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> HandOver) -> Option<T> {
        self.desk.ask_blocking(|answer| Request::HandOver(Box::new(request(answer))))
    }

    fn conclude(&mut self, end: NewEnd) {
        self.mover.flows_are_over();
        let moved = ("moved", self.report.moved.to_string());
        let old = ("old_pid", self.report.old.pid.to_string());
        let (level, message) = match end {
            NewEnd::Serving => {
                let settled = self.ask(HandOver::Settle);
                self.tell_first_pass(Ok(()));
                if settled.is_none() {
                    return; // about to exit
                }
                let message = match self.report.old.sessions().is_empty() {
                    true => "the old process has handed everything over",
                    false => "the old process has handed over what could move",
                };
                (Level::Info, message)
            }
            NewEnd::Unused | NewEnd::Retired => {
                self.tell_first_pass(Err(TakeOverError::Failed(format!(
                    "it has taken back what had not moved; the new process, {}, finishes the {} \
                     sessions that had",
                    std::process::id(),
                    self.report.moved
                ))));
                if let Some(companion) = &self.desk.companion {
                    companion.call(Call::Retire);
                }
                let _ = self.ask(HandOver::Retire);
                (Level::Error, "the old process serves again; this one finishes its sessions")
            }
        };
        let note = HandOver::Note(level, message, vec![old, moved]);
        let _ = self.desk.tell(Request::HandOver(Box::new(note)));
    }
}
