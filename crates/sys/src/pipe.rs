//! Kernel pipes, through which bulk data passes without being copied to our memory.

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A pipe between two sockets.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A pipe that holds `capacity` bytes, or fewer if the system does not allow so many.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused if an ordinary user's budget is spent (pipe(7), pipe-user-pages-soft).
        let _ = fcntl_setpipe_size(&write, capacity);
        Ok(Self { read, write })
    }

    /// Moves up to `size` bytes from `socket` into the pipe. Zero means end of file.
    #[inline]
    pub fn fill(&self, socket: BorrowedFd<'_>, size: usize) -> Result<usize, Errno> {
        move_bytes(socket, &self.write, size)
    }

    /// Reads up to `count` bytes from the pipe: all of them, if there are so many.
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.read, &mut bytes[filled..])) {
                Ok(read) if read > 0 => filled += read,
                _ => break,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// Moves up to `size` bytes from the pipe to `socket`.
    #[inline]
    pub fn drain(&self, socket: BorrowedFd<'_>, size: usize) -> Result<usize, Errno> {
        move_bytes(&self.read, socket, size)
    }
}

fn move_bytes(
    from: impl std::os::fd::AsFd + Copy,
    to: impl std::os::fd::AsFd + Copy,
    size: usize,
) -> Result<usize, Errno> {
    loop {
        match splice(from, None, to, None, size, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
