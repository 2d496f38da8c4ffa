//! A process that keeps a privilege which this one gives up, or does what this one must not do.

use crate::process::{Keep, User, copy, keep_only};
use crate::signals::HeldSignals;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::thread::{self, CapabilitySet};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Whether this process may change what the kernel does with packets (`CAP_NET_ADMIN`).
#[must_use]
pub fn may_change_network() -> bool {
    thread::capabilities(None).is_ok_and(|it| it.effective.contains(CapabilitySet::NET_ADMIN))
}

/// What a helper is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Changing what the kernel does with packets: it keeps `CAP_NET_ADMIN`, also for programs that it
    /// starts. The stream has bytes.
    Network,
    /// Running programs of others, without any privilege. The stream has messages (`SOCK_SEQPACKET`).
    Programs,
}

impl Task {
    fn stream(self) -> io::Result<(UnixStream, UnixStream)> {
        if self == Self::Network {
            return UnixStream::pair();
        }
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, its) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok((ours.into(), its.into()))
    }

    fn name(self) -> &'static CStr {
        match self {
            Self::Network => c"evenkeel-kernel",
            Self::Programs => c"evenkeel-probes",
        }
    }

    fn kept(self) -> CapabilitySet {
        match self {
            Self::Network => CapabilitySet::NET_ADMIN,
            Self::Programs => CapabilitySet::empty(),
        }
    }
}

/// Begins a copy of this process that keeps what its task needs and no other privilege, as `user` if
/// there is one. It has no file of this process but its end of the returned stream, with which it
/// calls `work`, and then ends.
///
/// It is told to end by the end of the stream: the signals that end this process do not reach it.
///
/// # Errors
/// If the system has no room for another process.
///
/// # Panics
/// If this process has more than one thread: the copy would be without the others.
pub fn begin(
    task: Task,
    user: Option<&User>,
    work: impl FnOnce(UnixStream),
) -> io::Result<UnixStream> {
    let (ours, its) = task.stream()?;
    let work = || {
        let stream = alone_with(its.as_raw_fd())?;
        let _held = HeldSignals::new([libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1]);
        let _ = thread::set_name(task.name());
        give_up_the_rest(task, user)?;
        work(stream);
        io::Result::Ok(())
    };
    copy(|| work().is_ok())?;
    Ok(ours)
}

/// Closes everything but this descriptor, and has the standard streams lead nowhere.
fn alone_with(stream: i32) -> io::Result<UnixStream> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // SAFETY: plain numbers. What owns the descriptors that are closed here belongs to callers in a
    // process that ends without returning to them, so none is used or closed again.
    let stream = unsafe {
        if stream != FIRST && libc::dup3(stream, FIRST, libc::O_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(libc::SYS_close_range, FIRST + 1, libc::c_uint::MAX, 0);
        OwnedFd::from_raw_fd(FIRST)
    };
    // It may have been closed if it had this number.
    std::mem::forget(null);
    Ok(stream.into())
}

/// The first descriptor after the standard ones.
const FIRST: i32 = 3;

fn give_up_the_rest(task: Task, user: Option<&User>) -> io::Result<()> {
    let kept = task.kept();
    for other in CapabilitySet::all().difference(kept).iter() {
        // Not permitted without CAP_SETPCAP, and then there is nothing to gain either.
        let _ = thread::remove_capability_from_bounding_set(other);
    }
    if let Some(user) = user {
        user.assume(match task {
            Task::Network => Keep::Network,
            Task::Programs => Keep::Nothing,
        })?;
    }
    keep_only(kept, kept)?;
    for kept in kept.iter() {
        thread::configure_capability_in_ambient_set(kept, true)?;
    }
    thread::set_no_new_privs(true).map_err(Into::into)
}
