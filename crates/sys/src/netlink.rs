//! Requests to the kernel over netlink(7).

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto,
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

    /// Has what the kernel says to these groups kept for [`Self::read_news`], as far as it fits into
    /// this many bytes.
    pub fn follow(protocol: Protocol, groups: u32, room: usize) -> io::Result<Self> {
        let socket = Self::open(Some(protocol))?;
        set_socket_recv_buffer_size_force(&socket.0, room)?;
        bind(&socket.0, &SocketAddrNetlink::new(0, groups))?;
        Ok(socket)
    }

    /// Waits for news, and passes on all that there is, each part without its head. Returns whether
    /// there was no room for some.
    pub fn read_news(&self, mut read: impl FnMut(&[u8])) -> Result<bool, Errno> {
        let mut news = vec![0; ANSWER_MAX];
        let (mut flags, mut has_lost) = (RecvFlags::empty(), false);
        loop {
            let length = match recv(&self.0, &mut news, flags) {
                Ok((length, _)) => length,
                Err(Errno::NOBUFS) => {
                    has_lost = true;
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(has_lost),
                Err(error) => return Err(error),
            };
            let mut rest = &news[..length];
            while let Some((_, part, after)) = first_part(rest) {
                read(part);
                rest = after;
            }
            flags = RecvFlags::DONTWAIT;
        }
    }

    /// Sends a request, and returns the kernel's answer.
    pub fn request(&self, kind: u16, message: &[u8]) -> Result<(), Errno> {
        self.exchange(kind, 0, message)
    }

    /// Likewise, for something that there may not be yet.
    pub fn create(&self, kind: u16, message: &[u8]) -> Result<(), Errno> {
        self.exchange(kind, libc::NLM_F_CREATE, message)
    }

    fn exchange(&self, kind: u16, flags: i32, message: &[u8]) -> Result<(), Errno> {
        self.send(kind, (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16, message)?;
        self.read_result()
    }

    /// What the kernel says first about what it was asked.
    fn read_result(&self) -> Result<(), Errno> {
        let mut answer = [0; 512];
        let (length, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        let error = answer[..length].get(HEADER..HEADER + 4).ok_or(Errno::PROTO)?;
        match i32::from_ne_bytes([error[0], error[1], error[2], error[3]]) {
            0 => Ok(()),
            error => Err(Errno::from_raw_os_error(-error)),
        }
    }

    /// Sends a request for a list, and returns its parts, each without its head.
    pub fn list(&self, kind: u16, message: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let mut parts = Vec::new();
        self.read_list(kind, message, |part| parts.push(part.to_vec()))?;
        Ok(parts)
    }

    /// Sends a request for a list, and passes its parts on, each without its head.
    pub fn read_list(
        &self,
        kind: u16,
        message: &[u8],
        mut read: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        self.send(kind, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, message)?;
        let mut answer = vec![0; ANSWER_MAX];
        loop {
            let (length, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
            let mut rest = &answer[..length];
            while let Some((kind, part, after)) = first_part(rest) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let error = part.first_chunk().ok_or(Errno::PROTO)?;
                        return Err(Errno::from_raw_os_error(-i32::from_ne_bytes(*error)));
                    }
                    _ => read(part),
                }
                rest = after;
            }
            if length == 0 || !rest.is_empty() {
                return Err(Errno::PROTO);
            }
        }
    }

    /// Sends requests between one that begins a batch and one that ends it, each with its kind and
    /// flags. All of them are carried out, or none.
    pub fn batch<'a>(
        &self,
        [begin, end]: [(u16, &[u8]); 2],
        requests: impl Iterator<Item = (u16, u16, &'a [u8])>,
    ) -> Result<(), Errno> {
        let mut batch = Vec::new();
        add_request(&mut batch, begin.0, libc::NLM_F_REQUEST as u16, begin.1);
        let mut requests = requests.peekable();
        while let Some((kind, flags, body)) = requests.next() {
            // The kernel reports errors in any case; one acknowledgement says that there were none.
            let ack = if requests.peek().is_none() { libc::NLM_F_ACK } else { 0 };
            add_request(&mut batch, kind, (libc::NLM_F_REQUEST | ack) as u16 | flags, body);
        }
        add_request(&mut batch, end.0, libc::NLM_F_REQUEST as u16, end.1);
        set_socket_send_buffer_size_force(&self.0, batch.len())?;
        sendto(&self.0, &batch, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        self.read_result()
    }

    fn send(&self, kind: u16, flags: u16, message: &[u8]) -> Result<(), Errno> {
        let mut request = Vec::with_capacity(HEADER + message.len());
        add_request(&mut request, kind, flags, message);
        sendto(&self.0, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }
}

/// Adds a message with its head to others.
fn add_request(all: &mut Vec<u8>, kind: u16, flags: u16, message: &[u8]) {
    all.extend(((HEADER + message.len()) as u32).to_ne_bytes());
    all.extend(kind.to_ne_bytes());
    all.extend(flags.to_ne_bytes());
    all.extend([0; 8]); // number and sender, which nobody needs
    all.extend(message);
    all.resize(all.len().next_multiple_of(ALIGN), 0);
}

/// The kind and the body of the first part of an answer, and what comes after it.
fn first_part(answer: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*answer.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let body = answer.get(HEADER..length)?;
    Some((kind, body, answer.get(length.next_multiple_of(ALIGN)..).unwrap_or_default()))
}

/// The kinds and values of the attributes of a part.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind & KIND_MASK, value))
    })
}

/// The value of the first attribute of this kind.
pub(crate) fn first(part: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(part).find(|it| it.0 == kind).map(|it| it.1)
}

/// Adds an attribute to a message.
pub(crate) fn add_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(ALIGN), 0);
}

/// A value that is text, up to its end.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The length of a message's head.
const HEADER: usize = 16;
const ALIGN: usize = 4;
/// Says that an attribute consists of others.
pub(crate) const NESTED: u16 = 0x8000;
/// Without the flags for nesting and byte order.
const KIND_MASK: u16 = 0x3fff;
/// As much as the kernel sends at once (netlink(7)).
const ANSWER_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_ends_a_list() {
        let mut message = Vec::new();
        add_attribute(&mut message, 3, b"eth0\0");
        add_attribute(&mut message, 0x8000 | 7, &[1]);
        let all = |message: &[u8]| {
            attributes(message).map(|(kind, value)| (kind, text(value))).collect::<Vec<_>>()
        };
        let whole = [(3, "eth0".to_owned()), (7, "\u{1}".to_owned())];
        assert_eq!(all(&message), whole);
        for end in 0..message.len() {
            assert!(whole.starts_with(&all(&message[..end])), "{end}");
        }
        assert_eq!(all(&[0; 16]), []);
        assert_eq!(first_part(&[0xff; 20]), None);
        assert_eq!(first_part(&[0; 20]), None);
    }
}
