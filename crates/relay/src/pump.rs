//! Performs a link's steps on a [`Wire`].

use crate::{Link, Step};
use terms::{Instant, Side};

/// A session's two connections: the worker's system calls, or a simulation's queues.
pub trait Wire {
    /// Reads up to `size` bytes from `side`.
    fn read(&mut self, side: Side, size: usize) -> Result<Received, Fault>;
    /// What is to be passed on after the last read, whether that was of ordinary bytes, an urgent
    /// byte, an end of file or a failure: what was received, unless the wire changes it.
    fn passing(&self) -> &[u8];
    /// Writes what is [passing](Self::passing) to `side`; returns how many bytes it took.
    fn write_passing(&mut self, side: Side) -> Result<usize, Fault>;
    /// Writes `bytes` to `side`; returns how many it took.
    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Fault>;
    /// Moves up to `size` bytes from `side` into its pipe. Zero means end of file or an urgent mark.
    /// [`Fault::WouldBlock`] can also mean that the pipe is full, unless it is empty.
    fn splice_in(&mut self, side: Side, size: usize) -> Result<usize, Fault>;
    /// Moves up to `size` bytes from the pipe of `from` to the other side.
    fn splice_out(&mut self, from: Side, size: usize) -> Result<usize, Fault>;
    /// Reads the urgent byte, if everything before it was read. A wire keeps urgent bytes in line
    /// (`SO_OOBINLINE`), so that one that is not noticed in time is not lost.
    fn read_urgent(&mut self, side: Side) -> Urgent;
    /// Writes an urgent byte to `side`.
    fn write_urgent(&mut self, side: Side, byte: u8) -> Result<(), Fault>;
    /// Sends an end of file to `side`. [`Fault::WouldBlock`] if that is not possible yet; it is
    /// tried again when `side` is writable.
    fn finish(&mut self, side: Side) -> Result<(), Fault>;
}

/// What a read took from a connection, regardless of what is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes; zero means end of file.
    pub bytes: usize,
    /// Less was there than could have been taken, so nothing is left.
    pub is_short: bool,
}

/// Why nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not now. An event will follow when it is possible.
    WouldBlock,
    /// The system is short of memory: not now, and no event will follow.
    NoMemory,
    /// No pipe is available.
    NoPipe,
    /// The connection has failed.
    Lost,
}

/// The result of reading an urgent byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgent {
    /// Other bytes come first, or the urgent byte was already read.
    NotAtMark,
    /// This.
    Byte(u8),
}

/// When [`pump`] is to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// After the next event, because both directions wait.
    Idle,
    /// As soon as other sessions were served, so that a bulk stream does not delay them.
    Busy,
    /// After a short time, even without an event, because the system is short of memory.
    Starved,
}

/// A step for which the system had no memory. Nothing was lost.
struct Starved;

/// Performs steps until both directions wait or about `budget` bytes were copied, or four times as
/// many spliced.
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
                Ok(cost) => left = left.saturating_sub(cost.max(STEP_COST)),
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
/// How many spliced bytes cost as much of the budget as one that is copied. More at a time pays off,
/// and four megabytes take less than a millisecond.
const SPLICED_PER_COPIED: usize = 4;

/// Performs one step; returns what it costs of the budget, in bytes.
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
        Step::Splice(size) => {
            return splice(link, wire, from, size, now).map(|moved| moved / SPLICED_PER_COPIED);
        }
        Step::FlushPipe => {
            return flush_pipe(link, wire, from, now).map(|moved| moved / SPLICED_PER_COPIED);
        }
        Step::FlushResidue => match wire.write(to, link.residue(from)) {
            Ok(taken) => link.on_residue_written(from, taken, now),
            Err(fault) => unwritten(link, from, fault)?,
        },
        Step::ReadUrgent => return read_urgent(link, wire, from, now),
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

/// Reports to the link that none of its held-back data was written.
fn unwritten(link: &mut Link, from: Side, fault: Fault) -> Result<(), Starved> {
    match fault {
        Fault::Lost => link.on_write_lost(from, &[]),
        Fault::NoMemory => return Err(Starved),
        Fault::WouldBlock | Fault::NoPipe => link.on_blocked(from),
    }
    Ok(())
}

fn read_urgent(
    link: &mut Link,
    wire: &mut impl Wire,
    from: Side,
    now: Instant,
) -> Result<usize, Starved> {
    match wire.read_urgent(from) {
        Urgent::NotAtMark => copy(link, wire, from, UP_TO_MARK, now),
        Urgent::Byte(byte) => {
            let passed = pass_on(link, wire, from); // what was before it
            link.on_urgent(from, byte, now);
            passed.map(|()| 0)
        }
    }
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

/// Writes what is to be passed on after the last read. What is not taken is held back.
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
    let holds_some = link.in_pipe(from) > 0;
    match wire.splice_in(from, size) {
        Ok(count) if holds_some && count > 0 => {
            link.on_spliced(from, count, now);
            return Ok(count);
        }
        Err(Fault::NoMemory) => return Err(Starved),
        Err(Fault::Lost) if holds_some => link.on_source_failed(from),
        Ok(_) | Err(_) if holds_some => link.on_pipe_full(from),
        // An end of file, or an urgent mark that splice(2) does not go over and that no event may
        // have announced.
        Ok(0) => return read_urgent(link, wire, from, now),
        Ok(count) => {
            link.on_spliced(from, count, now);
            flush_pipe(link, wire, from, now)?;
            return Ok(count);
        }
        Err(Fault::Lost) => link.on_read_lost(from),
        Err(Fault::NoPipe) => link.on_no_pipe(from),
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
