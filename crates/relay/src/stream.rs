//! One direction of a session: how much to read next, what is held back, and how it ends.

use serde::{Deserialize, Serialize};
use terms::SpliceMode;

/// The data in one direction.
///
/// ~~~text
///   input:   Open --end of file--> Ended          Open --reset--> Lost
///   output:  Open --shutdown-----> Finished       Open --reset--> Lost
/// ~~~
///
/// Input ends by itself; output ends only after everything before it was written.
#[derive(Debug)]
pub(crate) struct Stream {
    pub input: End,
    pub output: End,
    /// Bytes read that the output did not take. While there are any, nothing more is read.
    residue: Option<Box<Residue>>,
    /// Bytes read into a pipe that the output did not take.
    pub in_pipe: u32,
    /// Whether nothing may be added to the pipe until some of it was written: either it was filled up
    /// once, or nothing could be added. A pipe would take more than its capacity, because the kernel
    /// counts slots, and several pages can share one. But each further call moves less, and with a
    /// fuller pipe, a download costs a tenth more CPU.
    pub filled_up: bool,
    /// Events of the input have come that said nothing new.
    pub needless: bool,
    /// Only the end of the input is reported.
    pub is_muted: bool,
    /// An urgent byte read that the output did not take.
    pub urgent_byte: Option<u8>,
    pub bytes: u64,
    pace: Pace,
}

/// The state of one end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    Open,
    /// End of file read, or written.
    Finished,
    /// The connection was reset.
    Lost,
}

#[derive(Debug)]
struct Residue {
    bytes: Box<[u8]>,
    start: usize,
}

/// How large reads are, and whether they go through a pipe.
#[derive(Debug)]
struct Pace {
    /// The size of the next read, as a power of two.
    read_log2: u8,
    /// Large reads in a row while copying; small ones while splicing.
    streak: u8,
    /// Large reads in a row after which a stream is bulk. More after each time splicing did not pay
    /// off.
    patience: u8,
    splicing: bool,
}

/// The state of a stream for another process, apart from the bytes that are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamState {
    pub input: End,
    pub output: End,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgent_byte: Option<u8>,
    pub bytes: u64,
    /// The size of the next read, as a power of two.
    pub read_log2: u8,
    pub is_splicing: bool,
}

/// The first read's size: more than most messages, so that a short read means "drained".
const READ_LOG2_MIN: u8 = 16;
/// The largest read, and a pipe's capacity: 1 MB, as measured to be best for bulk.
pub(crate) const READ_LOG2_MAX: u8 = 20;
/// Reads of at least this size are bulk; splicing breaks even at 32 to 64 kB per read.
const BULK_BYTES: usize = 64 << 10;
/// Reads of less than this are small. It is less than what makes a stream bulk, so that a stream
/// whose reads are near the break-even does not change to and fro.
const SMALL_BYTES: usize = 32 << 10;
/// Small reads in a row after which a stream that was spliced is copied again.
const SMALL_READS_MAX: u8 = 8;
/// Large reads in a row that make a stream bulk at first.
const PATIENCE_MIN: u8 = 4;

impl Stream {
    pub fn new(mode: SpliceMode) -> Self {
        Self {
            input: End::Open,
            output: End::Open,
            residue: None,
            in_pipe: 0,
            filled_up: false,
            needless: false,
            is_muted: false,
            urgent_byte: None,
            bytes: 0,
            pace: Pace {
                read_log2: READ_LOG2_MIN,
                streak: 0,
                patience: PATIENCE_MIN,
                splicing: mode == SpliceMode::Always,
            },
        }
    }

    pub fn holds_nothing(&self) -> bool {
        self.residue.is_none() && self.in_pipe == 0 && self.urgent_byte.is_none()
    }

    pub fn is_splicing(&self) -> bool {
        self.pace.splicing
    }

    /// Whether more may be added to what the pipe holds.
    pub fn may_fill_up(&self) -> bool {
        self.is_splicing() && self.in_pipe > 0 && !self.filled_up
    }

    pub fn read_size(&self) -> usize {
        1 << self.pace.read_log2
    }

    pub fn residue(&self) -> &[u8] {
        self.residue.as_ref().map_or(&[], |residue| &residue.bytes[residue.start..])
    }

    pub fn hold(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            debug_assert!(self.residue.is_none(), "read while bytes were held back");
            self.residue = Some(Box::new(Residue { bytes: bytes.into(), start: 0 }));
            // A reader that cannot keep up need not cost a megabyte.
            self.pace.read_log2 = READ_LOG2_MIN.max(self.pace.read_log2 - 1);
        }
    }

    pub fn release(&mut self, count: usize) {
        if let Some(residue) = &mut self.residue {
            residue.start += count;
            if residue.start >= residue.bytes.len() {
                self.residue = None;
            }
        }
    }

    /// Takes over what `other` read and could not write.
    pub fn inherit(&mut self, other: &mut Self) {
        self.residue = other.residue.take();
        self.urgent_byte = other.urgent_byte.take();
    }

    /// Takes over what was in the pipe, after what is held back already.
    pub fn empty_pipe(&mut self, bytes: &[u8]) {
        debug_assert_eq!(bytes.len(), self.in_pipe as usize, "bytes of the pipe are missing");
        let held = [self.residue(), bytes].concat();
        self.residue = None;
        (self.in_pipe, self.filled_up) = (0, false);
        self.hold(&held);
    }

    /// The state for another process, apart from the residue.
    pub fn state(&self) -> StreamState {
        debug_assert_eq!(self.in_pipe, 0, "bytes are left in the pipe");
        StreamState {
            input: self.input,
            output: self.output,
            urgent_byte: self.urgent_byte,
            bytes: self.bytes,
            read_log2: self.pace.read_log2,
            is_splicing: self.pace.splicing,
        }
    }

    /// Continues from a state.
    pub fn resume(state: &StreamState, residue: &[u8], mode: SpliceMode) -> Self {
        let mut stream = Self::new(mode);
        stream.hold(residue);
        stream.pace.read_log2 = state.read_log2.clamp(READ_LOG2_MIN, READ_LOG2_MAX);
        stream.pace.splicing |= state.is_splicing && mode != SpliceMode::Never;
        let &StreamState { input, output, urgent_byte, bytes, .. } = state;
        Self { input, output, urgent_byte, bytes, ..stream }
    }

    /// Adapts to a read of `count` bytes into memory.
    pub fn learn_copied(&mut self, count: usize, mode: SpliceMode) {
        let pace = &mut self.pace;
        if count == 1 << pace.read_log2 {
            pace.read_log2 = READ_LOG2_MAX.min(pace.read_log2 + 1);
        }
        if mode == SpliceMode::Auto {
            pace.streak = if count >= BULK_BYTES { pace.streak.saturating_add(1) } else { 0 };
            if pace.streak >= pace.patience {
                pace.splicing = true;
                pace.streak = 0;
            }
        }
    }

    /// Takes in `count` bytes that were read into the pipe.
    pub fn add_to_pipe(&mut self, count: usize, mode: SpliceMode) {
        if self.in_pipe == 0 {
            self.learn_spliced(count, mode);
        } else {
            self.filled_up = true;
        }
        self.in_pipe += count as u32;
    }

    /// Takes note that `count` bytes of the pipe were written.
    pub fn take_from_pipe(&mut self, count: usize) {
        self.bytes += count as u64;
        self.in_pipe -= count as u32;
        self.filled_up = false;
    }

    /// Adapts to a read of `count` bytes into an empty pipe.
    fn learn_spliced(&mut self, count: usize, mode: SpliceMode) {
        let pace = &mut self.pace;
        pace.streak = if count >= SMALL_BYTES { 0 } else { pace.streak.saturating_add(1) };
        if mode == SpliceMode::Auto && pace.streak >= SMALL_READS_MAX {
            self.stop_splicing();
        }
    }

    /// Returns to copying: splicing does not pay off here, or there is no pipe.
    pub fn stop_splicing(&mut self) {
        let pace = &mut self.pace;
        pace.splicing = false;
        pace.streak = 0;
        pace.patience = pace.patience.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_is_spliced_until_reads_are_small() {
        let mut stream = Stream::new(SpliceMode::Auto);
        for size in [BULK_BYTES; PATIENCE_MIN as usize] {
            assert!(!stream.is_splicing());
            stream.learn_copied(size, SpliceMode::Auto);
        }
        for size in [BULK_BYTES / 2 + 1; 100] {
            stream.learn_spliced(size, SpliceMode::Auto);
            assert!(stream.is_splicing(), "near the break-even, nothing changes");
        }
        for size in [1_000; SMALL_READS_MAX as usize] {
            assert!(stream.is_splicing());
            stream.learn_spliced(size, SpliceMode::Auto);
        }
        assert!(!stream.is_splicing());
    }
}
