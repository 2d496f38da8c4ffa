//! Performs a link's steps on whatever can read and write.

use crate::{Link, Step};
use terms::{Instant, Side};

/// A session's two connections, as the worker's system calls or a simulation's queues.
pub trait Wire {
    /// Reads up to `size` bytes from `side`.
    fn read(&mut self, side: Side, size: usize) -> Result<Received, Fault>;
    /// What the last read, be it of ordinary bytes, an urgent one, an end of file or a failure,
    /// gave to be passed on: what was received, unless the wire changes it.
    fn passing(&self) -> &[u8];
    /// Writes what is [passing](Self::passing) to `side`; tells how many bytes it took.
    fn write_passing(&mut self, side: Side) -> Result<usize, Fault>;
    /// Writes `bytes` to `side`; tells how many it took.
    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Fault>;
    /// Moves up to `size` bytes from `side` into its pipe, which is empty. Zero is end of file or
    /// an urgent mark.
    fn splice_in(&mut self, side: Side, size: usize) -> Result<usize, Fault>;
    /// Moves up to `size` bytes from the pipe of `from` to the other side.
    fn splice_out(&mut self, from: Side, size: usize) -> Result<usize, Fault>;
    /// Reads the urgent byte, if everything before it was read. A wire keeps urgent bytes in line
    /// with the others (`SO_OOBINLINE`), so that one not noticed in time is not lost either.
    fn read_urgent(&mut self, side: Side) -> Urgent;
    /// Writes an urgent byte to `side`.
    fn write_urgent(&mut self, side: Side, byte: u8) -> Result<(), Fault>;
    /// Tells `side` that nothing more will come.
    fn finish(&mut self, side: Side);
}

/// What a read took from a connection, whatever of it is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes; zero is end of file.
    pub bytes: usize,
    /// There was less than could have been taken, so that nothing is left.
    pub is_short: bool,
}

/// Why nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not now; an event will tell when.
    WouldBlock,
    /// There is no pipe to be had.
    NoPipe,
    /// The connection has failed.
    Lost,
}

/// What asking for an urgent byte gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgent {
    /// Other bytes come first, or it was read over.
    NotAtMark,
    /// This.
    Byte(u8),
}

/// Performs steps until both directions wait or about `budget` bytes were moved.
///
/// Returns whether there is more to do at once: the caller comes back after serving others, so
/// that a bulk stream does not hold them up.
pub fn pump(link: &mut Link, wire: &mut impl Wire, budget: usize, now: Instant) -> bool {
    let mut left = budget;
    loop {
        let mut idle = true;
        for from in [Side::Downstream, Side::Upstream] {
            let step = link.next_step(from);
            if step == Step::Wait {
                continue;
            }
            if left == 0 {
                return true;
            }
            idle = false;
            let moved = perform(link, wire, from, step, now);
            left = left.saturating_sub(moved.max(STEP_COST));
        }
        if idle {
            return false;
        }
    }
}

/// What a step costs of the budget even if it moves nothing.
const STEP_COST: usize = 1 << 12;

fn perform(link: &mut Link, wire: &mut impl Wire, from: Side, step: Step, now: Instant) -> usize {
    match step {
        Step::Copy(size) => copy(link, wire, from, size, now),
        Step::Splice(size) => splice(link, wire, from, size, now),
        Step::FlushPipe => flush_pipe(link, wire, from, now),
        Step::FlushResidue => {
            match wire.write(from.other(), link.residue(from)) {
                Ok(taken) => link.on_residue_written(from, taken, now),
                Err(Fault::Lost) => link.on_write_lost(from, &[]),
                Err(_) => link.on_blocked(from),
            }
            0
        }
        Step::ReadUrgent => match wire.read_urgent(from) {
            Urgent::NotAtMark => copy(link, wire, from, UP_TO_MARK, now),
            Urgent::Byte(byte) => {
                pass_on(link, wire, from); // what was before it
                link.on_urgent(from, byte, now);
                0
            }
        },
        Step::WriteUrgent(byte) => {
            match wire.write_urgent(from.other(), byte) {
                Ok(()) => link.on_urgent_written(from, now),
                Err(Fault::Lost) => link.on_write_lost(from, &[]),
                Err(_) => link.on_blocked(from),
            }
            0
        }
        Step::Finish => {
            wire.finish(from.other());
            link.on_finished(from, now);
            0
        }
        Step::Wait => 0,
    }
}

/// How much to read at once on the way to an urgent mark.
const UP_TO_MARK: usize = 1 << 16;

fn copy(link: &mut Link, wire: &mut impl Wire, from: Side, size: usize, now: Instant) -> usize {
    let bytes = match wire.read(from, size) {
        Ok(received) if received.bytes > 0 => {
            link.on_copied(from, received, now);
            received.bytes
        }
        Ok(_) => {
            link.on_ended(from);
            0
        }
        Err(Fault::Lost) => {
            link.on_read_lost(from);
            0
        }
        Err(_) => {
            link.on_drained(from);
            return 0;
        }
    };
    pass_on(link, wire, from);
    bytes
}

/// Writes what the last read gave to be passed on; what is not taken is held back.
fn pass_on(link: &mut Link, wire: &mut impl Wire, from: Side) {
    if wire.passing().is_empty() {
        return;
    }
    match wire.write_passing(from.other()) {
        Ok(taken) => link.on_written(from, wire.passing(), taken),
        Err(Fault::Lost) => link.on_write_lost(from, wire.passing()),
        Err(_) => link.on_written(from, wire.passing(), 0),
    }
}

fn splice(link: &mut Link, wire: &mut impl Wire, from: Side, size: usize, now: Instant) -> usize {
    match wire.splice_in(from, size) {
        // An end of file, or an urgent mark that splice(2) does not go over: reading tells.
        Ok(0) => copy(link, wire, from, UP_TO_MARK, now),
        Ok(count) => {
            link.on_spliced(from, count, now);
            flush_pipe(link, wire, from, now);
            count
        }
        Err(Fault::Lost) => {
            link.on_read_lost(from);
            0
        }
        Err(Fault::NoPipe) => {
            link.on_no_pipe(from);
            0
        }
        Err(Fault::WouldBlock) => {
            link.on_drained(from);
            0
        }
    }
}

fn flush_pipe(link: &mut Link, wire: &mut impl Wire, from: Side, now: Instant) -> usize {
    match wire.splice_out(from, link.in_pipe(from)) {
        Ok(taken) => {
            link.on_pipe_written(from, taken, now);
            taken
        }
        Err(Fault::Lost) => {
            link.on_write_lost(from, &[]);
            0
        }
        Err(_) => {
            link.on_blocked(from);
            0
        }
    }
}
