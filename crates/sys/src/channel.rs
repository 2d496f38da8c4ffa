//! A Unix stream between two processes on which file descriptors pass (`SCM_RIGHTS`, unix(7)), and
//! what one must know about the other: whose it is, and whether it lives.

use crate::clock;
use rustix::cmsg_space;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketType,
    connect, recvmsg, sendmsg, shutdown, socket_with,
};
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use terms::Instant;

/// The maximum number of descriptors that one message carries (`SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = 253;

/// A connection to another process. Calls block, but not after their deadlines.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// The process at the other end when it connected, or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its process id; `None` if it is in a namespace that this process does not see.
    pub pid: Option<i32>,
}

impl Channel {
    /// Connects to a process that listens at `path`.
    ///
    /// # Errors
    /// If nobody does, or this user may not.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = crate::net::FLAGS;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Uses a connected socket.
    ///
    /// # Errors
    /// If it cannot be made non-blocking.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(socket))
    }

    /// Two ends of one channel.
    ///
    /// # Errors
    /// If the system has no room for it.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = crate::net::FLAGS;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The process at the other end.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn peer(&self) -> io::Result<Peer> {
        // Not through `rustix`, whose process ids are never 0.
        let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: the descriptor is open for the whole call; pointer and length describe a local
        // value of the type that the option writes (unix(7)).
        let failed = unsafe {
            libc::getsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&self.0),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut found).cast(),
                &raw mut length,
            ) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
        Ok(Peer { uid: found.uid, pid: (found.pid > 0).then_some(found.pid) })
    }

    /// Sends all of `bytes`, with copies of the descriptors on the first of them.
    ///
    /// # Errors
    /// `TimedOut` at the deadline; `BrokenPipe` if nobody will read. A message of a few bytes has
    /// then not been sent, not even in part.
    ///
    /// # Panics
    /// If there are descriptors without bytes, or more than [`DESCRIPTORS_MAX`].
    pub fn send(
        &self,
        mut bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        assert!(descriptors.len() <= DESCRIPTORS_MAX && (descriptors.is_empty() || bytes != b""));
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        while !bytes.is_empty() {
            match sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    control.clear();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives into all of `buffer`, and adds the descriptors that come along to `descriptors`;
    /// other processes started from here do not inherit them. Returns false if the other end has
    /// closed the channel before the first byte.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, before which a part may have been received; `UnexpectedEof` if
    /// the channel ends in the middle; and `InvalidData` if there was no room for all descriptors
    /// in this process: the kernel has closed the others.
    pub fn receive(
        &self,
        buffer: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let mut filled = 0;
        let mut is_truncated = false;
        while filled < buffer.len() {
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut buffer[filled..])];
            match recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => {
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(all) = message {
                            descriptors.extend(all);
                        }
                    }
                    is_truncated |= received.flags.contains(ReturnFlags::CTRUNC);
                    match received.bytes {
                        0 if filled == 0 => return Ok(false),
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        count => filled += count,
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::CONNRESET) if filled == 0 => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        match is_truncated {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost")),
            false => Ok(true),
        }
    }

    /// Takes nothing more from the other end, whose sends fail from now on. What it has sent before
    /// can still be received.
    pub fn close_inbox(&self) {
        let _ = shutdown(&self.0, Shutdown::Read);
    }

    fn wait(&self, what: PollFlags, deadline: Option<Instant>) -> io::Result<()> {
        match wait_for(self.0.as_fd(), what, deadline)? {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for the largest control message.
const SPACE: usize = cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Waits for something to happen to a descriptor. Returns false at the deadline.
pub(crate) fn wait_for(
    fd: BorrowedFd<'_>,
    what: PollFlags,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.since(clock::now()));
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(&fd, what)], left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A process, which may be this one, as another process can watch it (pidfd_open(2)).
#[derive(Debug)]
pub struct Life(OwnedFd);

impl Life {
    /// This process.
    ///
    /// # Errors
    /// If the kernel is older than Linux 5.3, or has no room.
    pub fn own() -> io::Result<Self> {
        Ok(Self(pidfd_open(getpid(), PidfdFlags::empty())?))
    }

    /// The process whose descriptor was received.
    #[must_use]
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Waits for its end. Returns false at the deadline.
    #[must_use]
    pub fn has_ended(&self, deadline: Option<Instant>) -> bool {
        wait_for(self.0.as_fd(), PollFlags::IN, deadline).unwrap_or(false)
    }

    /// Kills it, if it has not ended.
    ///
    /// # Errors
    /// If this process may not, or does not see the namespace of the other one.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }
}

impl AsFd for Life {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A flag that two processes share: set once by one of them, and seen by the other even if the first
/// one has ended.
#[derive(Debug)]
pub struct Flag(OwnedFd);

impl Flag {
    /// A flag that is not set.
    ///
    /// # Errors
    /// If the system has no room for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// The flag whose descriptor was received.
    #[must_use]
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Sets it.
    pub fn set(&self) {
        // Fails only if it has been set 2^64 times.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        wait_for(self.0.as_fd(), PollFlags::IN, Some(Instant::ZERO)).unwrap_or(true)
    }
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::time::Duration;

    fn soon() -> Option<Instant> {
        Some(clock::now() + Duration::from_millis(20))
    }

    #[test]
    fn descriptors_come_with_the_bytes_that_they_were_sent_with() {
        let (one, other) = Channel::pair().unwrap();
        let mut file =
            File::from(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"content").unwrap();
        one.send(b"first", &[], None).unwrap();
        one.send(b"second", &[file.as_fd(); DESCRIPTORS_MAX], None).unwrap();
        let (mut bytes, mut descriptors) = ([0; 5], Vec::new());
        assert!(other.receive(&mut bytes, &mut descriptors, None).unwrap());
        assert_eq!((&bytes, descriptors.len()), (b"first", 0));
        let mut bytes = [0; 6];
        assert!(other.receive(&mut bytes, &mut descriptors, None).unwrap());
        assert_eq!((&bytes, descriptors.len()), (b"second", DESCRIPTORS_MAX));
        let flags = rustix::io::fcntl_getfd(&descriptors[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let mut text = String::new();
        let mut file = File::from(descriptors.pop().unwrap());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }

    #[test]
    fn nothing_is_waited_for_longer_than_said() {
        let (one, other) = Channel::pair().unwrap();
        let late = other.receive(&mut [0; 4], &mut Vec::new(), soon()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let full = one.send(&vec![0; 16 << 20], &[], soon()).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_was_sent_before_the_inbox_was_closed_is_received_and_nothing_after_it() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"yes", &[], None).unwrap();
        other.close_inbox();
        assert_eq!(one.send(b"no", &[], None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(other.receive(&mut [0; 3], &mut Vec::new(), None).unwrap());
        assert!(!other.receive(&mut [0; 2], &mut Vec::new(), None).unwrap());
    }

    #[test]
    fn the_peer_is_known_and_a_flag_outlives_its_setter() {
        let (one, other) = Channel::pair().unwrap();
        let peer = one.peer().unwrap();
        assert_eq!(peer.uid, crate::process::user_id());
        assert_eq!(peer.pid, Some(std::process::id() as i32));
        let (flag, life) = (Flag::new().unwrap(), Life::own().unwrap());
        one.send(b"x", &[flag.as_fd(), life.as_fd()], None).unwrap();
        let mut descriptors = Vec::new();
        assert!(other.receive(&mut [0], &mut descriptors, None).unwrap());
        let (life, seen) =
            (Life::of(descriptors.pop().unwrap()), Flag::of(descriptors.pop().unwrap()));
        assert!(!seen.is_set() && !life.has_ended(soon()));
        flag.set();
        drop(flag);
        assert!(seen.is_set() && seen.is_set());
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let child_id = rustix::process::Pid::from_child(&child);
        let life = Life::of(pidfd_open(child_id, PidfdFlags::empty()).unwrap());
        life.kill().unwrap();
        assert!(life.has_ended(None));
        child.wait().unwrap();
        life.kill().unwrap();
    }
}
