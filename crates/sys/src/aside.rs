//! Work that may never end, in a process of its own that can be killed.

use crate::process::{copy, end_with};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

/// A copy of this process that does some work and writes what it finds. When this is dropped, the
/// copy is killed, whatever its threads wait for.
///
/// A thread that waits for the C library cannot be ended. It would keep this process from changing
/// its user, and would not survive going into the background.
#[derive(Debug)]
pub struct Aside {
    child: Pid,
    news: File,
}

/// The maximum number of bytes that are read.
const BYTES_MAX: u64 = 16 << 20;

impl Aside {
    /// Begins `work`, which may start threads and writes to the given file. It ends with this process.
    ///
    /// # Errors
    /// If the system has no room for another process.
    ///
    /// # Panics
    /// If this process has more than one thread: the copy would be without the others.
    pub fn begin(work: impl FnOnce(File)) -> io::Result<Self> {
        let (news, found) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let parent = rustix::process::getpid();
        let child = copy(|| {
            if end_with(parent).is_ok() {
                work(found.into());
            }
            true
        })?;
        Ok(Self { child, news: news.into() })
    }

    /// Appends what the work writes to `found`, until it ends or until `deadline`. Returns whether it
    /// has ended.
    pub fn read_until(&mut self, deadline: Instant, found: &mut Vec<u8>) -> bool {
        let left = BYTES_MAX.saturating_sub(found.len() as u64);
        let mut news = Reading { news: &self.news, deadline }.take(left);
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        !news.read_to_end(found).is_err_and(|error| timed_out(&error))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Fails if it has ended; it is not waited for elsewhere, so the number is still its own.
        let _ = kill_process(self.child, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(self.child), WaitOptions::empty()));
    }
}

struct Reading<'a> {
    news: &'a File,
    deadline: Instant,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = || self.deadline.saturating_duration_since(Instant::now());
        let wait = || {
            let left = Timespec::try_from(left()).unwrap_or_default();
            poll(&mut [PollFd::new(self.news, PollFlags::IN)], Some(&left))
        };
        match rustix::io::retry_on_intr(wait)? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.news.read(buffer),
        }
    }
}
