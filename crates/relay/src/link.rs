//! A session's two connections while data flows between them.

use crate::Received;
use crate::stream::{End, READ_LOG2_MAX, Stream};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use terms::{CloseReason, Instant, Side, SpliceMode, Timeouts};

/// Relays between a client and a backend: holds the state, and decides what to do next.
///
/// The worker reports what it saw ([`Link::handle_ready`], the `on_*` methods), asks for each
/// direction's [`Link::next_step`] until both wait, and then for the [`Link::verdict`]. Directions
/// are named after the side the bytes come *from*.
///
/// Rules: every byte once and in order; an end of file is passed on as a half-close after all bytes
/// before it; a reset is passed on as a reset after all bytes before it; nothing is read while bytes are
/// held back in memory, and no more than a pipe holds while they are held back there, so that a slow
/// reader slows its sender.
#[derive(Debug)]
pub struct Link {
    /// What is known about the client's and the backend's connection.
    pub(crate) ready: [Ready; 2],
    /// Bytes from the client, bytes from the backend.
    pub(crate) streams: [Stream; 2],
    mode: SpliceMode,
    /// Whose end of file was read first.
    pub(crate) first_end: Option<Side>,
    /// How much the victim of a reset had not acknowledged at the last look.
    unacknowledged: u32,
    pub(crate) last_activity: Instant,
}

/// Facts about one connection. Edge-triggered events come only once, so each fact is kept until an
/// operation disproves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ready {
    /// A read may yield bytes or an end.
    pub readable: bool,
    /// A write may be taken.
    pub writable: bool,
    /// The peer has finished sending: a short read is the last one.
    pub hangup: bool,
    /// An urgent byte is announced.
    pub urgent: bool,
    /// The connection has failed. What was received before can still be read.
    pub failed: bool,
}

impl Ready {
    /// Adds the facts of another event about the same connection.
    pub fn add(&mut self, event: Self) {
        // A hangup and a failure are for the next read to find.
        self.readable |= event.readable || event.hangup || event.failed || event.urgent;
        self.writable |= event.writable;
        self.hangup |= event.hangup;
        self.urgent |= event.urgent;
        self.failed |= event.failed;
    }
}

/// What to do next for one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read up to this many bytes and write them at once.
    Copy(usize),
    /// Move up to this many bytes through a pipe.
    Splice(usize),
    /// Write the bytes held back in memory.
    FlushResidue,
    /// Write the bytes held back in the pipe.
    FlushPipe,
    /// Read up to the urgent mark, then read the urgent byte.
    ReadUrgent,
    /// Write this urgent byte.
    WriteUrgent(u8),
    /// Send an end of file to the other side.
    Finish,
    /// Wait for an event.
    Wait,
}

/// The state of the link as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Open,
    /// Both directions have ended: close both connections.
    Close(CloseReason),
    /// One direction has ended, nothing is held back, and the configuration does not wait for the
    /// other: end both connections in order.
    Leave(CloseReason),
    /// One connection was reset, and everything it had sent was written: once `victim`'s send
    /// queue is empty, reset it too.
    Abort {
        /// The connection still to be reset.
        victim: Side,
        /// Why.
        reason: CloseReason,
    },
}

/// How much is spliced at once, as far as the pipe takes it.
const SPLICE_BYTES: usize = 1 << READ_LOG2_MAX;
/// The time between two looks at a send queue that does not empty. It grows the longer that takes.
const LOOK_MIN: Duration = Duration::from_millis(2);
const LOOK_MAX: Duration = Duration::from_millis(50);

impl Link {
    /// A link between two connections, with what is known about them.
    #[must_use]
    pub fn new(downstream: Ready, upstream: Ready, mode: SpliceMode, now: Instant) -> Self {
        Self {
            ready: [downstream, upstream],
            streams: [Stream::new(mode), Stream::new(mode)],
            mode,
            first_end: None,
            unacknowledged: u32::MAX,
            last_activity: now,
        }
    }

    /// Takes in what an event reported about `side`'s connection.
    pub fn handle_ready(&mut self, side: Side, event: Ready) {
        self.streams[side as usize].needless |= event.readable && self.needs_no_news(side);
        self.ready[side as usize].add(event);
    }

    /// Whether events of `side` would say nothing new until its pipe is empty, except for its end: it
    /// is known to have bytes, which must wait for those in the pipe, and to take some.
    fn needs_no_news(&self, side: Side) -> bool {
        let ready = self.ready[side as usize];
        self.in_pipe(side) > 0 && ready.readable && ready.writable
    }

    /// Whether only the end of `side` is to be reported, because other events have turned out to say
    /// nothing new. A fast sender before a slow reader would wake the worker for each of its segments.
    #[must_use]
    pub fn is_to_be_muted(&mut self, side: Side) -> bool {
        let needs_no_news = self.needs_no_news(side);
        let needless = &mut self.streams[side as usize].needless;
        *needless &= needs_no_news;
        *needless
    }

    /// Whether only the end of `side` is reported.
    #[must_use]
    pub fn is_muted(&self, side: Side) -> bool {
        self.streams[side as usize].is_muted
    }

    /// Only the end of `side` is reported from now on, or everything again.
    pub fn set_muted(&mut self, side: Side, is_muted: bool) {
        self.streams[side as usize].is_muted = is_muted;
    }

    /// The backend has answered: silence is measured from now on.
    pub fn on_connected(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// What to do next with the bytes that come from `from`.
    #[must_use]
    pub fn next_step(&self, from: Side) -> Step {
        let stream = &self.streams[from as usize];
        let source = self.ready[from as usize];
        let target = self.ready[from.other() as usize];
        if stream.output != End::Open {
            return Step::Wait;
        }
        if !stream.holds_nothing() {
            return self.next_step_holding(from);
        }
        match stream.input {
            End::Open if !source.readable => Step::Wait,
            End::Open if source.urgent => Step::ReadUrgent,
            End::Open if stream.is_splicing() && !self.may_need_again(from) => {
                Step::Splice(SPLICE_BYTES)
            }
            End::Open => Step::Copy(stream.read_size()),
            // The second end of file needs no call of its own: closing says it.
            End::Finished if self.streams[from.other() as usize].is_over() => Step::Wait,
            End::Finished if !target.writable => Step::Wait,
            End::Finished => Step::Finish,
            End::Lost => Step::Wait,
        }
    }

    /// What to do next if bytes from `from` are held back.
    #[inline(never)] // which keeps it off the way of those that hold nothing: most
    fn next_step_holding(&self, from: Side) -> Step {
        let stream = &self.streams[from as usize];
        let target = self.ready[from.other() as usize];
        match stream.urgent_byte {
            // What comes meanwhile is written with the rest at once, which wakes everybody less.
            _ if !target.writable && self.may_fill_up(from) => Step::Splice(SPLICE_BYTES),
            _ if !target.writable => Step::Wait,
            _ if !stream.residue().is_empty() => Step::FlushResidue,
            _ if stream.in_pipe > 0 => Step::FlushPipe,
            Some(byte) => Step::WriteUrgent(byte),
            None => Step::Wait,
        }
    }

    /// Whether what comes from `from` may follow what its pipe holds.
    fn may_fill_up(&self, from: Side) -> bool {
        let stream = &self.streams[from as usize];
        let source = self.ready[from as usize];
        stream.may_fill_up()
            && stream.residue().is_empty()
            && stream.urgent_byte.is_none()
            && stream.input == End::Open
            && source.readable
            && !source.urgent
    }

    /// The state of the link. Ask when both directions wait.
    #[must_use]
    pub fn verdict(&self, timeouts: &Timeouts) -> Verdict {
        for side in [Side::Upstream, Side::Downstream] {
            if self.is_lost(side) && self.streams[side as usize].is_drained() {
                let reason = match side {
                    Side::Upstream => CloseReason::BackendReset,
                    Side::Downstream => CloseReason::ClientReset,
                };
                return Verdict::Abort { victim: side.other(), reason };
            }
        }
        if self.streams.iter().all(Stream::is_over) {
            let reason = match self.first_end {
                Some(Side::Upstream) => CloseReason::BackendFin,
                _ => CloseReason::ClientFin,
            };
            return Verdict::Close(reason);
        }
        let [from_client, from_backend] = &self.streams;
        let at_once = |limit: Option<Duration>| limit == Some(Duration::ZERO);
        if at_once(timeouts.half_close) && from_client.is_over() && from_backend.holds_nothing() {
            return Verdict::Leave(CloseReason::ClientFin);
        }
        if at_once(timeouts.backend_half_close)
            && from_backend.is_over()
            && from_client.holds_nothing()
        {
            return Verdict::Leave(CloseReason::BackendFin);
        }
        Verdict::Open
    }

    /// A read found nothing for now, so an announced urgent byte has been read, too.
    pub fn on_drained(&mut self, from: Side) {
        let ready = &mut self.ready[from as usize];
        ready.readable = false;
        ready.urgent = false;
    }

    /// A read into memory returned at least one byte.
    pub fn on_copied(&mut self, from: Side, received: Received, now: Instant) {
        let ready = &mut self.ready[from as usize];
        self.last_activity = now;
        let stream = &mut self.streams[from as usize];
        stream.learn_copied(received.bytes, self.mode);
        // A short read means that the queue is empty, and with a hangup known before the
        // read, that this was the last of it. A read also stops short at an urgent mark, and
        // after a failure only the failure itself is the end.
        if received.is_short && !ready.urgent && !ready.failed {
            ready.readable = false;
            if ready.hangup {
                self.on_ended(from);
            }
        }
    }

    /// A read into the pipe moved `count` bytes, at least one.
    pub fn on_spliced(&mut self, from: Side, count: usize, now: Instant) {
        self.last_activity = now;
        let stream = &mut self.streams[from as usize];
        stream.add_to_pipe(count, self.mode);
    }

    /// Nothing could be added to what the pipe holds: it is full, or the bytes have ended, or there
    /// are none for now. The next read into the empty pipe shows which.
    pub fn on_pipe_full(&mut self, from: Side) {
        self.streams[from as usize].filled_up = true;
    }

    /// Nothing could be added to what the pipe holds, because the connection has failed.
    pub fn on_source_failed(&mut self, from: Side) {
        self.ready[from as usize].failed = true;
        self.on_pipe_full(from);
    }

    /// The pipe was emptied into memory, and `bytes` were in it.
    pub fn on_pipe_emptied(&mut self, from: Side, bytes: &[u8]) {
        self.streams[from as usize].empty_pipe(bytes);
    }

    /// No pipe is available.
    pub fn on_no_pipe(&mut self, from: Side) {
        self.streams[from as usize].stop_splicing();
    }

    /// A read found the end of file.
    pub fn on_ended(&mut self, from: Side) {
        let stream = &mut self.streams[from as usize];
        self.ready[from as usize].readable = false;
        // A connection known to have failed ends with a reset even if the error was already
        // taken by a write, which leaves an end of file to be read.
        if self.ready[from as usize].failed {
            stream.input = End::Lost;
        } else {
            stream.input = End::Finished;
            self.first_end.get_or_insert(from);
        }
    }

    /// A read failed for good.
    pub fn on_read_lost(&mut self, from: Side) {
        self.ready[from as usize].failed = true;
        self.on_ended(from);
    }

    /// An urgent byte was read at its place.
    pub fn on_urgent(&mut self, from: Side, byte: u8, now: Instant) {
        self.ready[from as usize].urgent = false;
        self.last_activity = now;
        self.streams[from as usize].urgent_byte = Some(byte);
    }

    /// A write of bytes straight from memory took `taken` of `bytes`; the rest is held back.
    pub fn on_written(&mut self, from: Side, bytes: &[u8], taken: usize) {
        let stream = &mut self.streams[from as usize];
        stream.bytes += taken as u64;
        stream.hold(&bytes[taken..]);
        if taken < bytes.len() {
            self.on_blocked(from);
        }
    }

    /// A write of the residue took `taken` bytes of it.
    pub fn on_residue_written(&mut self, from: Side, taken: usize, now: Instant) {
        let stream = &mut self.streams[from as usize];
        let all = taken == stream.residue().len();
        stream.bytes += taken as u64;
        stream.release(taken);
        self.last_activity = now;
        if !all {
            self.on_blocked(from);
        }
    }

    /// A write from the pipe took `taken` bytes.
    pub fn on_pipe_written(&mut self, from: Side, taken: usize, now: Instant) {
        self.streams[from as usize].take_from_pipe(taken);
        self.last_activity = now; // what a full socket left is found by the next write
    }

    /// None of `bytes` could be written, because the system is short of memory. They are held back,
    /// and written at the next call.
    pub fn on_unwritten(&mut self, from: Side, bytes: &[u8]) {
        self.streams[from as usize].hold(bytes);
    }

    /// The urgent byte was written.
    pub fn on_urgent_written(&mut self, from: Side, now: Instant) {
        self.streams[from as usize].urgent_byte = None;
        self.last_activity = now;
    }

    /// A write found no room.
    pub fn on_blocked(&mut self, from: Side) {
        self.ready[from.other() as usize].writable = false;
    }

    /// A write of `unsent` failed for good: the connection written to was reset.
    ///
    /// What that side sent before can still be read, and ends as a reset. What could not be written
    /// is kept for another backend, in case nothing has been passed on yet.
    pub fn on_write_lost(&mut self, from: Side, unsent: &[u8]) {
        let stream = &mut self.streams[from as usize];
        stream.output = End::Lost;
        stream.hold(unsent);
        let victim = from.other();
        self.ready[victim as usize].failed = true;
        let back = &mut self.streams[victim as usize];
        if back.input == End::Finished {
            back.input = End::Lost; // it had finished sending, then went away
        } else if back.input == End::Open {
            self.ready[victim as usize].readable = true;
        }
    }

    /// The half-close was passed on.
    pub fn on_finished(&mut self, from: Side, now: Instant) {
        self.streams[from as usize].output = End::Finished;
        self.last_activity = now;
    }

    /// How many of the bytes written to the [victim](Self::victim) its kernel has not acknowledged.
    ///
    /// Fewer than at the last look means that the victim is still reading, so `linger` starts
    /// again.
    pub fn on_unacknowledged(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if bytes < self.unacknowledged {
            self.last_activity = now;
        }
        self.unacknowledged = bytes;
    }

    /// When to look again at what the [victim](Self::victim) has not acknowledged; `None` means to
    /// reset it now, because it has everything, or has taken nothing for `linger`.
    #[must_use]
    pub fn next_look(&self, timeouts: &Timeouts, now: Instant) -> Option<Instant> {
        let waited = now.since(self.last_activity);
        let goes_on = self.unacknowledged > 0 && waited < timeouts.linger;
        goes_on.then(|| now + (waited / 2).clamp(LOOK_MIN, LOOK_MAX))
    }

    /// The bytes held back in memory, to be written next.
    #[must_use]
    pub fn residue(&self, from: Side) -> &[u8] {
        self.streams[from as usize].residue()
    }

    /// Bytes in the pipe, to be written next.
    #[must_use]
    pub fn in_pipe(&self, from: Side) -> usize {
        self.streams[from as usize].in_pipe as usize
    }

    /// Bytes that came from `from` and have not been passed on yet.
    #[must_use]
    pub fn held(&self, from: Side) -> usize {
        let stream = &self.streams[from as usize];
        let urgent = usize::from(stream.urgent_byte.is_some());
        stream.residue().len() + self.in_pipe(from) + urgent
    }

    /// Whether `side` has ended, in order or by a reset.
    #[must_use]
    pub fn has_ended(&self, side: Side) -> bool {
        self.streams[side as usize].input != End::Open
    }

    /// Whether the peer of `side` is known to have finished sending. There may be bytes to be read.
    #[must_use]
    pub fn is_hung_up(&self, side: Side) -> bool {
        self.ready[side as usize].hangup
    }

    /// When data or an end of file last passed.
    #[must_use]
    pub fn last_activity(&self) -> Instant {
        self.last_activity
    }

    /// Bytes delivered from the client, and from the backend.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.streams[0].bytes, self.streams[1].bytes)
    }

    /// Whether nothing has been passed on yet, so that another backend can still take over.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        let [up, down] = &self.streams;
        up.bytes == 0 && up.in_pipe == 0 && up.output != End::Finished && down.is_untouched()
    }

    /// A link from the same client to another backend, with what the client has sent so far.
    ///
    /// Only for a link that [is untouched](Self::is_untouched).
    #[must_use]
    pub fn to_another(mut self, upstream: Ready, now: Instant) -> Self {
        let mut downstream = self.ready[Side::Downstream as usize];
        // An end of file that was read but not passed on is found again by reading again.
        downstream.readable = true;
        let mut link = Self::new(downstream, upstream, self.mode, now);
        link.streams[Side::Downstream as usize].inherit(&mut self.streams[0]);
        link
    }

    /// Whether data from this side may have to be sent to another backend. It then does not go into
    /// the pipe, from which it could not be recovered.
    fn may_need_again(&self, from: Side) -> bool {
        from == Side::Downstream && self.is_untouched()
    }

    /// The connection to be reset because the other one was.
    #[must_use]
    pub fn victim(&self) -> Option<Side> {
        [Side::Downstream, Side::Upstream].into_iter().find(|side| self.is_lost(side.other()))
    }

    /// Whether the connection of `side` was reset.
    #[must_use]
    pub fn is_lost(&self, side: Side) -> bool {
        self.streams[side as usize].input == End::Lost
            || self.streams[side.other() as usize].output == End::Lost
    }

    /// When to look at [`Self::expired`], if nothing happens before.
    #[must_use]
    pub fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        self.limit(timeouts).map(|(limit, _)| self.last_activity + limit)
    }

    /// Why the session must end now, if it has been silent for too long.
    #[must_use]
    pub fn expired(&self, timeouts: &Timeouts, now: Instant) -> Option<CloseReason> {
        let (limit, reason) = self.limit(timeouts)?;
        (now.since(self.last_activity) >= limit).then_some(reason)
    }

    fn limit(&self, timeouts: &Timeouts) -> Option<(Duration, CloseReason)> {
        let lost = [Side::Downstream, Side::Upstream].into_iter().find(|&side| self.is_lost(side));
        let [from_client, from_backend] = &self.streams;
        let half_close = match (from_client.is_over(), from_backend.is_over()) {
            (_, true) => timeouts.backend_half_close,
            (true, false) => timeouts.half_close,
            (false, false) => None,
        };
        let candidates = [
            // A reset waits for a slow reader, but not for ever.
            lost.map(|side| (timeouts.linger, reset_reason(side))),
            // Zero is no silence but a verdict, as soon as everything is delivered.
            half_close
                .filter(|limit| !limit.is_zero())
                .map(|limit| (limit, CloseReason::HalfCloseTimeout)),
            timeouts.idle.map(|limit| (limit, CloseReason::IdleTimeout)),
            timeouts
                .first_byte
                .filter(|_| from_client.is_untouched())
                .map(|limit| (limit, CloseReason::FirstByteTimeout)),
        ];
        candidates.into_iter().flatten().min_by_key(|&(limit, _)| limit)
    }
}

fn reset_reason(side: Side) -> CloseReason {
    match side {
        Side::Upstream => CloseReason::BackendReset,
        Side::Downstream => CloseReason::ClientReset,
    }
}

impl Stream {
    /// Whether nothing more will ever pass, because the input has finished and all of it was
    /// written.
    fn is_over(&self) -> bool {
        self.output == End::Finished || self.input == End::Finished && self.holds_nothing()
    }

    /// Whether the input has ended and none of it is held back.
    fn is_drained(&self) -> bool {
        self.output == End::Lost || self.input != End::Open && self.holds_nothing()
    }

    fn is_untouched(&self) -> bool {
        self.bytes == 0 && self.holds_nothing() && self.output != End::Finished
    }
}
