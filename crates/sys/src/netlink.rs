//! Requests to the kernel over netlink(7).

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A socket for requests to one part of the kernel.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// For requests about interfaces and routes (rtnetlink(7)) if there is no protocol.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        Ok(Self(socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?))
    }

    /// Sends a request, and returns the kernel's answer.
    pub fn request(&self, kind: u16, message: &[u8]) -> Result<(), Errno> {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut request = Vec::with_capacity(HEADER + message.len());
        request.extend(((HEADER + message.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend([0; 8]); // number and sender, which nobody needs
        request.extend(message);
        sendto(&self.0, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0; 512];
        let (length, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        let error = answer[..length].get(HEADER..HEADER + 4).ok_or(Errno::PROTO)?;
        match i32::from_ne_bytes([error[0], error[1], error[2], error[3]]) {
            0 => Ok(()),
            error => Err(Errno::from_raw_os_error(-error)),
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The length of a message's head.
const HEADER: usize = 16;
