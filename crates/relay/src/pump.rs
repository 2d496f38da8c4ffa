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
    /// Tells `side` that nothing more will come. [`Fault::WouldBlock`] if it cannot be told yet:
    /// it is tried again when `side` can be written to.
    fn finish(&mut self, side: Side) -> Result<(), Fault>;
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
    /// The system is short of memory: not now, and no event will tell when.
    NoMemory,
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

/// When [`pump`] is to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// After the next event: both directions wait.
    Idle,
    /// As soon as others were served, so that a bulk stream does not hold them up.
    Busy,
    /// After a moment even without an event: the system is short of memory.
    Starved,
}

/// A step that the system had no memory for. Nothing was lost.
struct Starved;

/// Performs steps until both directions wait or about `budget` bytes were moved.
pub fn pump(link: &mut Link, wire: &mut impl Wire, budget: usize, now: Instant) -> Pumped {
    let mut left = budget;
    let mut starved = [false; 2];
    loop {
        let mut idle = true;
        for from in [Side::Downstream, Side::Upstream] {
            let step = link.next_step(from);
            if step == Step::Wait || starved[from as usize] {
                continue;
            }
            if left == 0 {
                return Pumped::Busy;
            }
            idle = false;
            match perform(link, wire, from, step, now) {
                Ok(moved) => left = left.saturating_sub(moved.max(STEP_COST)),
                Err(Starved) => starved[from as usize] = true,
            }
        }
        if idle {
            return if starved == [false; 2] { Pumped::Idle } else { Pumped::Starved };
        }
    }
}

/// What a step costs of the budget even if it moves nothing.
const STEP_COST: usize = 1 << 12;

/// Performs one step; returns how many bytes it moved.
fn perform(
    link: &mut Link,
    wire: &mut impl Wire,
    from: Side,
    step: Step,
    now: Instant,
) -> Result<usize, Starved> {
    let to = from.other();
    match step {
        Step::Copy(size) => return copy(link, wire, from, size, now),
        Step::Splice(size) => return splice(link, wire, from, size, now),
        Step::FlushPipe => return flush_pipe(link, wire, from, now),
        Step::FlushResidue => match wire.write(to, link.residue(from)) {
            Ok(taken) => link.on_residue_written(from, taken, now),
            Err(fault) => unwritten(link, from, fault)?,
        },
        Step::ReadUrgent => match wire.read_urgent(from) {
            Urgent::NotAtMark => return copy(link, wire, from, UP_TO_MARK, now),
            Urgent::Byte(byte) => {
                let passed = pass_on(link, wire, from); // what was before it
                link.on_urgent(from, byte, now);
                passed?;
            }
        },
        Step::WriteUrgent(byte) => match wire.write_urgent(to, byte) {
            Ok(()) => link.on_urgent_written(from, now),
            Err(fault) => unwritten(link, from, fault)?,
        },
        Step::Finish => match wire.finish(to) {
            Ok(()) => link.on_finished(from, now),
            Err(fault) => unwritten(link, from, fault)?,
        },
        Step::Wait => {}
    }
    Ok(0)
}

/// Takes in that nothing of what the link holds back was written.
fn unwritten(link: &mut Link, from: Side, fault: Fault) -> Result<(), Starved> {
    match fault {
        Fault::Lost => link.on_write_lost(from, &[]),
        Fault::NoMemory => return Err(Starved),
        Fault::WouldBlock | Fault::NoPipe => link.on_blocked(from),
    }
    Ok(())
}

/// How much to read at once on the way to an urgent mark.
const UP_TO_MARK: usize = 1 << 16;

fn copy(
    link: &mut Link,
    wire: &mut impl Wire,
    from: Side,
    size: usize,
    now: Instant,
) -> Result<usize, Starved> {
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
        Err(Fault::NoMemory) => return Err(Starved),
        Err(Fault::WouldBlock | Fault::NoPipe) => {
            link.on_drained(from);
            return Ok(0);
        }
    };
    pass_on(link, wire, from)?;
    Ok(bytes)
}

/// Writes what the last read gave to be passed on; what is not taken is held back.
fn pass_on(link: &mut Link, wire: &mut impl Wire, from: Side) -> Result<(), Starved> {
    if wire.passing().is_empty() {
        return Ok(());
    }
    match wire.write_passing(from.other()) {
        Ok(taken) => link.on_written(from, wire.passing(), taken),
        Err(Fault::Lost) => link.on_write_lost(from, wire.passing()),
        Err(Fault::NoMemory) => {
            link.on_unwritten(from, wire.passing());
            return Err(Starved);
        }
        Err(Fault::WouldBlock | Fault::NoPipe) => link.on_written(from, wire.passing(), 0),
    }
    Ok(())
}

fn splice(
    link: &mut Link,
    wire: &mut impl Wire,
    from: Side,
    size: usize,
    now: Instant,
) -> Result<usize, Starved> {
    match wire.splice_in(from, size) {
        // An end of file, or an urgent mark that splice(2) does not go over: a read finds out.
        Ok(0) => return copy(link, wire, from, UP_TO_MARK, now),
        Ok(count) => {
            link.on_spliced(from, count, now);
            flush_pipe(link, wire, from, now)?;
            return Ok(count);
        }
        Err(Fault::Lost) => link.on_read_lost(from),
        Err(Fault::NoPipe) => link.on_no_pipe(from),
        Err(Fault::NoMemory) => return Err(Starved),
        Err(Fault::WouldBlock) => link.on_drained(from),
    }
    Ok(0)
}

fn flush_pipe(
    link: &mut Link,
    wire: &mut impl Wire,
    from: Side,
    now: Instant,
) -> Result<usize, Starved> {
    match wire.splice_out(from, link.in_pipe(from)) {
        Ok(taken) => {
            link.on_pipe_written(from, taken, now);
            Ok(taken)
        }
        Err(fault) => unwritten(link, from, fault).map(|()| 0),
    }
}
