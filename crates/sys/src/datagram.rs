//! UDP sockets, and batches of datagrams that one system call receives or sends.
//!
//! A socket that listens on all addresses says which of them each datagram was sent to
//! (`IP_PKTINFO`, ip(7); `IPV6_RECVPKTINFO`, ipv6(7)), so that answers can leave from there.

use crate::net::{FLAGS, Source, bind_foreign, bind_source, connect_failure, family, set_int};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, SocketType, bind, connect, recv, sendmsg,
    socket_with, sockopt,
};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use terms::{Address, ConnectFailure};

/// Binds a UDP address. `dual_stack` is as for TCP.
///
/// # Errors
/// If the system refuses; any other socket with the port is a reason.
pub fn bind_udp(address: SocketAddr, dual_stack: bool, shared: bool) -> io::Result<OwnedFd> {
    let socket = socket_with(family(address.ip()), SocketType::DGRAM, FLAGS, None)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !dual_stack)?;
    }
    widen_queue(socket.as_fd());
    bind(&socket, &address)?;
    Ok(socket)
}

/// Binds one socket per worker to a UDP address. The kernel sends all datagrams between two
/// addresses to the same one, chosen by a keyed hash (`SO_REUSEPORT`, socket(7)).
///
/// # Errors
/// If the system refuses; any other socket with the port is a reason, unless it is `shared`.
pub fn bind_udp_group(
    address: SocketAddr,
    dual_stack: bool,
    shared: bool,
    count: usize,
) -> io::Result<Vec<OwnedFd>> {
    // The first is bound alone, so that a port that another program has is not shared unawares.
    let first = bind_udp(address, dual_stack, shared)?;
    if count > 1 {
        sockopt::set_socket_reuseport(&first, true)?;
    }
    let address = crate::net::local_address(first.as_fd()).unwrap_or(address);
    let mut group = vec![first];
    for _ in 1..count {
        group.push(bind_udp(address, dual_stack, true)?);
    }
    Ok(group)
}

/// Has a listening socket say where each datagram was sent to, if that can differ.
///
/// # Errors
/// If the system refuses.
pub fn report_destinations(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let local = crate::net::local_address(socket);
    let is_any = local.is_some_and(|local| local.ip().is_unspecified());
    match local {
        Some(SocketAddr::V4(_)) if is_any => {
            set_int(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        Some(SocketAddr::V6(_)) if is_any => {
            set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        _ => {}
    }
    Ok(is_any)
}

/// Has a socket say how each datagram was marked by Explicit Congestion Notification (RFC 3168), or
/// no longer. This takes a tenth of a microsecond for each datagram.
pub fn report_marks(socket: BorrowedFd<'_>, is_wanted: bool) {
    let is_wanted = libc::c_int::from(is_wanted);
    // A socket of IPv6 may get datagrams of both families.
    let _ = set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, is_wanted);
    let _ = set_int(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, is_wanted);
}

/// Marks what a connected socket sends from now on. The mark is one of the two bits of ECN, or both.
pub fn mark(socket: BorrowedFd<'_>, ecn: u8) {
    let ecn = libc::c_int::from(ecn & ECN);
    if set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, ecn).is_err() {
        let _ = set_int(socket, libc::IPPROTO_IP, libc::IP_TOS, ecn);
    }
}

/// The bits of ECN in the field that was once the type of service, or the traffic class.
const ECN: u8 = 3;

/// Receives a datagram through a connected socket that [reports marks](report_marks). The second
/// value is its mark.
///
/// # Errors
/// As of recvmsg(2).
pub fn receive_marked(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, u8), Errno> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut iovec = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    loop {
        let mut header = no_header().msg_hdr;
        header.msg_iov = &raw mut iovec;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: the descriptor is borrowed, so open for the whole call. The header points to a
        // control buffer and an iovec of the lengths given, and the iovec to the caller's buffer;
        // all of these outlive the call and nobody else uses them meanwhile.
        let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        match usize::try_from(count) {
            Ok(count) => {
                let len = control_len(&header).min(CONTROL_BYTES);
                return Ok((count, read_control(&control.0[..len]).1));
            }
            Err(_) => match crate::net::last_error() {
                Errno::INTR => {}
                error => return Err(error),
            },
        }
    }
}

/// Makes room for bursts, as far as the system allows (`net.core.rmem_max`, socket(7)).
fn widen_queue(socket: BorrowedFd<'_>) {
    if set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, QUEUE_BYTES).is_err() {
        let _ = set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, QUEUE_BYTES);
    }
}

/// Some thousand small datagrams, each of which takes most of a kilobyte.
const QUEUE_BYTES: libc::c_int = 4 << 20;

/// Whether a socket is one for datagrams.
#[must_use]
pub fn is_datagram(socket: BorrowedFd<'_>) -> bool {
    sockopt::socket_type(socket) == Ok(SocketType::DGRAM)
}

/// What the system calls a socket in all processes that have it; 0 if it does not say.
#[must_use]
pub fn cookie(socket: BorrowedFd<'_>) -> u64 {
    sockopt::socket_cookie(socket).unwrap_or_default()
}

/// Drops the datagrams that wait in a socket's queue.
pub fn discard_waiting(socket: BorrowedFd<'_>) {
    // More may come meanwhile, but not for ever: each takes at least this long.
    for _ in 0..WAITING_MOST {
        if recv(socket, &mut [0_u8; 1][..], RecvFlags::DONTWAIT).is_err() {
            return;
        }
    }
}

/// More than fit into any queue: the kernel counts 768 bytes for an empty one.
const WAITING_MOST: usize = 1 << 17;

/// Opens a socket that exchanges datagrams with this address only, and learns from ICMP when that
/// cannot be reached. The second value is as for [`crate::net::start_connect`].
///
/// # Errors
/// Why not.
pub fn connect_udp(
    address: SocketAddr,
    source: Source,
) -> Result<(OwnedFd, Option<Errno>), ConnectFailure> {
    let open = || {
        let socket = socket_with(family(address.ip()), SocketType::DGRAM, FLAGS, None)?;
        let fits = |source: IpAddr| source.is_ipv4() == address.is_ipv4();
        let mut refused = None;
        match source {
            Source::Own(source) if fits(source) => drop(bind_source(socket.as_fd(), source)),
            Source::Foreign(source) if fits(source) => {
                refused = bind_foreign(socket.as_fd(), source).err();
            }
            Source::System | Source::Own(_) | Source::Foreign(_) => {}
        }
        connect(&socket, &address)?;
        Ok((socket, refused))
    };
    open().map_err(|error| connect_failure(error, &Address::Ip(address)))
}

/// Sends a datagram of two parts through a connected socket.
///
/// # Errors
/// As of sendmsg(2): `EMSGSIZE` if it is too long.
pub fn transmit_after(socket: BorrowedFd<'_>, header: &[u8], bytes: &[u8]) -> Result<(), Errno> {
    let parts = [IoSlice::new(header), IoSlice::new(bytes)];
    loop {
        match sendmsg(socket, &parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}

/// What an error of sending through or receiving from a connected socket says about the peer;
/// `None` if it says nothing, and the datagram is merely lost.
#[must_use]
pub fn peer_failure(error: Errno) -> Option<ConnectFailure> {
    let is_peer = matches!(
        error,
        Errno::CONNREFUSED
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::PROTO
            | Errno::ACCESS
            | Errno::PERM
    );
    // None of these means different things at different addresses.
    let anywhere = || Address::Ip((Ipv4Addr::UNSPECIFIED, 0).into());
    is_peer.then(|| connect_failure(error, &anywhere()))
}

/// Datagrams that are received or sent together.
pub struct Batch {
    bytes: Box<[u8]>,
    slots: Box<[Slot; BATCH]>,
    filled: usize,
}

/// One datagram of a batch.
#[derive(Clone, Copy)]
struct Slot {
    len: usize,
    name: Name,
    control: Control,
    control_len: usize,
    is_truncated: bool,
}

/// A socket address of either family: that of IPv6 is the larger one.
type Name = libc::sockaddr_in6;

/// Room for a control message with a `in_pktinfo` or `in6_pktinfo`, and one with a mark.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// A datagram received.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// What it carries.
    pub bytes: &'a [u8],
    /// The sender.
    pub peer: SocketAddr,
    /// The address that it was sent to, if the socket [says](report_destinations).
    pub local: Option<IpAddr>,
    /// The bits of ECN, if the socket [says](report_marks).
    pub ecn: u8,
}

/// Datagrams in one batch.
pub const BATCH: usize = 32;
/// The most that a datagram can carry over IPv4 is 65,507 bytes, over IPv6 65,527.
const SLOT_BYTES: usize = 1 << 16;
const CONTROL_BYTES: usize = 64;

impl Default for Batch {
    /// An empty batch. Its memory is used as far as datagrams reach.
    fn default() -> Self {
        let empty = Slot {
            len: 0,
            name: no_name(),
            control: Control([0; CONTROL_BYTES]),
            control_len: 0,
            is_truncated: false,
        };
        let bytes = vec![0; BATCH * SLOT_BYTES].into_boxed_slice();
        Self { bytes, slots: Box::new([empty; BATCH]), filled: 0 }
    }
}

impl Batch {
    /// The number of datagrams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether there is no room for another one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filled == BATCH
    }

    /// Replaces the batch by what has arrived at the socket, as far as it fits.
    ///
    /// # Errors
    /// If nothing has arrived, or the system refuses.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        self.filled = 0;
        let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [no_header(); BATCH];
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let bytes = &mut self.bytes[index * SLOT_BYTES..(index + 1) * SLOT_BYTES];
            iovecs[index] =
                libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: SLOT_BYTES };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut slot.name).cast();
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_iov = &raw mut iovecs[index];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut slot.control).cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the descriptor is borrowed, so open for the whole call. Each header points to a
        // name, a control buffer and an iovec of the lengths given, and the iovec to its part of
        // `bytes`; all of these outlive the call and nobody else uses them meanwhile.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else { return Err(crate::net::last_error()) };
        for (slot, header) in self.slots.iter_mut().zip(&headers[..count]) {
            slot.len = header.msg_len as usize;
            slot.control_len = control_len(&header.msg_hdr);
            slot.is_truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        }
        self.filled = count;
        Ok(count)
    }

    /// The datagram received at `index`; `None` if it has no address to answer to, or is cut off.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let slot = self.slots[..self.filled].get(index).filter(|slot| !slot.is_truncated)?;
        let start = index * SLOT_BYTES;
        let (local, ecn) = read_control(&slot.control.0[..slot.control_len.min(CONTROL_BYTES)]);
        let bytes = self.bytes.get(start..start + slot.len)?;
        Some(Datagram { bytes, peer: address_of(&slot.name)?, local, ecn })
    }

    /// The bytes of the datagram at `index`.
    #[must_use]
    pub fn bytes(&self, index: usize) -> &[u8] {
        let start = index * SLOT_BYTES;
        &self.bytes[start..start + self.slots[index].len]
    }

    /// Appends what one `receive` into the given buffer yields, which is a number of bytes and a
    /// mark, to be sent to `peer`, from the address `local` if that is given. Returns the number of
    /// bytes.
    ///
    /// # Errors
    /// What `receive` returns.
    ///
    /// # Panics
    /// If the batch is full.
    pub fn push_with(
        &mut self,
        peer: SocketAddr,
        local: Option<IpAddr>,
        receive: impl FnOnce(&mut [u8]) -> Result<(usize, u8), Errno>,
    ) -> Result<usize, Errno> {
        let start = self.filled * SLOT_BYTES;
        let (len, ecn) = receive(&mut self.bytes[start..start + SLOT_BYTES])?;
        let slot = &mut self.slots[self.filled];
        slot.len = len;
        slot.name = name_of(peer);
        slot.control_len = local.map_or(0, |local| write_source(&mut slot.control.0, local));
        if ecn != 0 {
            slot.control_len += write_mark(&mut slot.control.0[slot.control_len..], peer, ecn);
        }
        self.filled += 1;
        Ok(len)
    }

    /// Sends all datagrams, and empties the batch. Returns how many the system did not take.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> usize {
        let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [no_header(); BATCH];
        let filled = std::mem::take(&mut self.filled);
        for (index, slot) in self.slots[..filled].iter_mut().enumerate() {
            let bytes = &mut self.bytes[index * SLOT_BYTES..index * SLOT_BYTES + slot.len];
            iovecs[index] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: slot.len };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = (&raw mut slot.name).cast();
            header.msg_namelen = name_len(&slot.name);
            header.msg_iov = &raw mut iovecs[index];
            header.msg_iovlen = 1;
            if slot.control_len > 0 {
                header.msg_control = (&raw mut slot.control).cast();
                header.msg_controllen = slot.control_len as _;
            }
        }
        let (mut next, mut lost) = (0, 0);
        while next < filled {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: as in `receive`; the kernel only reads what the headers point to, but for the
            // lengths in the headers themselves.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers[next..].as_mut_ptr(),
                    (filled - next) as libc::c_uint,
                    flags as _,
                )
            };
            match usize::try_from(sent) {
                Ok(sent @ 1..) => next += sent,
                _ if crate::net::last_error() == Errno::INTR => {}
                // The first one could not be sent. The next may be for somebody else.
                _ => {
                    next += 1;
                    lost += 1;
                }
            }
        }
        lost
    }
}

#[expect(clippy::unnecessary_cast, reason = "with musl it is a `u32`")]
fn control_len(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: integers and pointers, for all of which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn no_name() -> Name {
    // SAFETY: integers, for all of which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn name_of(address: SocketAddr) -> Name {
    let mut name = no_name();
    match address {
        SocketAddr::V4(address) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: an IPv4 name is smaller, needs no more alignment, and has no references.
            unsafe { (&raw mut name).cast::<libc::sockaddr_in>().write(v4) };
        }
        SocketAddr::V6(address) => {
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
        }
    }
    name
}

fn name_len(name: &Name) -> libc::socklen_t {
    let len = match i32::from(name.sin6_family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        _ => size_of::<libc::sockaddr_in6>(),
    };
    len as libc::socklen_t
}

/// The address without a flow label, which is not part of who a peer is.
fn address_of(name: &Name) -> Option<SocketAddr> {
    match i32::from(name.sin6_family) {
        libc::AF_INET => {
            // SAFETY: an IPv4 name is smaller and needs no more alignment; any bytes are a value.
            let v4 = unsafe { (&raw const *name).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes the control message that has a datagram leave from `local`, and returns its length.
fn write_source(control: &mut [u8; CONTROL_BYTES], local: IpAddr) -> usize {
    let (level, kind, data) = match local {
        IpAddr::V4(local) => {
            // struct in_pktinfo: interface, local address, destination (ip(7))
            let mut data = [0; 20];
            data[4..8].copy_from_slice(&local.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, (data, 12))
        }
        IpAddr::V6(local) => {
            // struct in6_pktinfo: address, interface (ipv6(7))
            let mut data = [0; 20];
            data[..16].copy_from_slice(&local.octets());
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, (data, 20))
        }
    };
    let (data, len) = data;
    write_control(control, level, kind, &data[..len])
}

/// Writes the control message that marks a datagram to this peer, and returns its length.
fn write_mark(control: &mut [u8], peer: SocketAddr, ecn: u8) -> usize {
    let (level, kind) = match peer.ip().to_canonical() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    };
    write_control(control, level, kind, &libc::c_int::from(ecn & ECN).to_ne_bytes())
}

/// Writes a control message to the beginning of `control`, and returns how far the next one is.
fn write_control(control: &mut [u8], level: i32, kind: i32, data: &[u8]) -> usize {
    let whole = CONTROL_HEADER + data.len();
    control[..size_of::<usize>()].copy_from_slice(&whole.to_ne_bytes());
    control[size_of::<usize>()..][..4].copy_from_slice(&level.to_ne_bytes());
    control[size_of::<usize>() + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
    control[CONTROL_HEADER..whole].copy_from_slice(data);
    whole.next_multiple_of(size_of::<usize>())
}

/// The local address and the mark in the control messages of a datagram.
fn read_control(mut control: &[u8]) -> (Option<IpAddr>, u8) {
    let (mut local, mut ecn) = (None, 0);
    while let Some((level, kind, data, next)) = split_control(control) {
        match (level, kind, data) {
            (libc::IPPROTO_IP, libc::IP_TOS, [mark, ..]) => ecn = mark & ECN,
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &[a, b, c, d, ..]) => {
                ecn = i32::from_ne_bytes([a, b, c, d]) as u8 & ECN;
            }
            _ => local = local.or(destination(level, kind, data)),
        }
        control = next;
    }
    (local, ecn)
}

/// Level, type and data of the first control message, and what follows it.
fn split_control(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let int = |at: usize| Some(i32::from_ne_bytes(control.get(at..at + 4)?.try_into().ok()?));
    let (level, kind) = (int(size_of::<usize>())?, int(size_of::<usize>() + 4)?);
    let whole = usize::from_ne_bytes(*control.first_chunk()?);
    let data = control.get(CONTROL_HEADER..whole)?;
    let next = control.get(whole.next_multiple_of(size_of::<usize>())..).unwrap_or_default();
    Some((level, kind, data, next))
}

/// The local address in a control message.
fn destination(level: i32, kind: i32, data: &[u8]) -> Option<IpAddr> {
    match (level, kind) {
        // The local address of the interface, which is the destination unless that is a broadcast.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let octets: [u8; 4] = data.get(4..8)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let octets: [u8; 16] = data.get(..16)?.try_into().ok()?;
            let address = Ipv6Addr::from(octets);
            (!address.is_multicast()).then_some(address.into())
        }
        _ => None,
    }
}

/// struct cmsghdr: length, level, type. The data follows it at once (cmsg(3)).
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[track_caller]
    fn round_trip(bind: &str, target: &str) -> (SocketAddr, Option<IpAddr>) {
        let socket = bind_udp(bind.parse().unwrap(), true, false).unwrap();
        report_destinations(socket.as_fd()).unwrap();
        let port = crate::net::local_address(socket.as_fd()).unwrap().port();
        let target = SocketAddr::new(target.parse().unwrap(), port);
        let unspecified = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = UdpSocket::bind(unspecified).unwrap();
        client.connect(target).unwrap();
        let large = vec![7; 65_507];
        client.send(b"one").unwrap();
        client.send(&large).unwrap();
        let mut batch = Batch::default();
        assert_eq!(batch.receive(socket.as_fd()), Ok(2));
        let (first, second) = (batch.get(0).unwrap(), batch.get(1).unwrap());
        assert_eq!((first.bytes, second.bytes), (&b"one"[..], &large[..]));
        assert_eq!(first.peer.port(), client.local_addr().unwrap().port());
        let (peer, local) = (first.peer, first.local);
        let mut answers = Batch::default();
        for text in [b"an", b"s!"] {
            let fill = |buffer: &mut [u8]| {
                buffer[..2].copy_from_slice(text);
                Ok((2, 0))
            };
            answers.push_with(peer, local, fill).unwrap();
        }
        assert_eq!(answers.send(socket.as_fd()), 0);
        let mut buffer = [0; 10];
        // A connected socket takes answers from the address that it wrote to only.
        for text in [b"an", b"s!"] {
            assert_eq!(client.recv(&mut buffer).unwrap(), 2);
            assert_eq!(&buffer[..2], text);
        }
        (peer, local)
    }

    #[test]
    fn answers_leave_from_the_address_asked() {
        let (_, local) = round_trip("0.0.0.0:0", "127.0.0.2");
        assert_eq!(local, Some([127, 0, 0, 2].into()));
        let (_, local) = round_trip("[::]:0", "::1");
        assert_eq!(local, Some(Ipv6Addr::LOCALHOST.into()));
        let (peer, local) = round_trip("[::]:0", "127.0.0.3");
        assert_eq!(peer.ip().to_canonical(), Ipv4Addr::LOCALHOST);
        assert_eq!(local.map(|it| it.to_canonical()), Some([127, 0, 0, 3].into()));
        assert_eq!(round_trip("127.0.0.4:0", "127.0.0.4").1, None);
    }

    #[test]
    fn marks_are_seen_and_set() {
        for (bind, target) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.2"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.3"),
        ] {
            let socket = bind_udp(bind.parse().unwrap(), true, false).unwrap();
            report_destinations(socket.as_fd()).unwrap();
            report_marks(socket.as_fd(), true);
            let port = crate::net::local_address(socket.as_fd()).unwrap().port();
            let target = SocketAddr::new(target.parse().unwrap(), port);
            let (client, _) = connect_udp(target, Source::System).unwrap();
            report_marks(client.as_fd(), true);
            let (mut requests, mut answers) = (Batch::default(), Batch::default());
            for ecn in [0, 2, 1, 3, 0] {
                mark(client.as_fd(), ecn);
                crate::net::transmit(client.as_fd(), b"?").unwrap();
                assert_eq!(requests.receive(socket.as_fd()), Ok(1));
                let request = requests.get(0).unwrap();
                assert_eq!(request.ecn, ecn, "to {target}");
                let fill = |_: &mut [u8]| Ok((1, ecn ^ 3));
                answers.push_with(request.peer, request.local, fill).unwrap();
                assert_eq!(answers.send(socket.as_fd()), 0);
                let answer = receive_marked(client.as_fd(), &mut [0; 10]);
                assert_eq!(answer, Ok((1, ecn ^ 3)), "from {target}");
            }
        }
    }

    #[test]
    fn control_messages_that_are_cut_off_say_nothing() {
        let mut control = [0; CONTROL_BYTES];
        let mut len = write_source(&mut control, Ipv6Addr::LOCALHOST.into());
        len += write_mark(&mut control[len..], "[::1]:1".parse().unwrap(), 2);
        assert_eq!(read_control(&control[..len]), (Some(Ipv6Addr::LOCALHOST.into()), 2));
        for end in 0..CONTROL_HEADER + 20 + CONTROL_HEADER {
            assert_eq!(read_control(&control[..end]).1, 0, "cut at {end}");
        }
        control[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(read_control(&control), (None, 0));
        control[..8].fill(0);
        assert_eq!(read_control(&control), (None, 0));
    }

    #[test]
    fn what_waits_can_be_dropped() {
        let socket = bind_udp("127.0.0.1:0".parse().unwrap(), false, false).unwrap();
        let address = crate::net::local_address(socket.as_fd()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for text in ["old", "", "older"] {
            client.send_to(text.as_bytes(), address).unwrap();
        }
        discard_waiting(socket.as_fd());
        client.send_to(b"new", address).unwrap();
        let mut buffer = [0; 10];
        assert_eq!(crate::net::receive(socket.as_fd(), &mut buffer), Ok(3));
        assert_eq!(&buffer[..3], b"new");
    }

    #[test]
    fn a_port_of_another_program_is_not_shared() {
        let other = bind_udp("127.0.0.1:0".parse().unwrap(), false, true).unwrap();
        let address = crate::net::local_address(other.as_fd()).unwrap();
        let error = bind_udp_group(address, false, false, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(other);
        assert_eq!(bind_udp_group(address, false, false, 3).unwrap().len(), 3);
    }

    #[test]
    fn a_header_and_what_follows_are_one_datagram() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (socket, _) = connect_udp(receiver.local_addr().unwrap(), Source::System).unwrap();
        let mut buffer = vec![0; SLOT_BYTES];
        for (bytes, expected) in [(&b"query"[..], &b"header query"[..]), (b"", b"header ")] {
            transmit_after(socket.as_fd(), b"header ", bytes).unwrap();
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
        let longest = vec![7; 65_507 - 7];
        transmit_after(socket.as_fd(), b"header ", &longest).unwrap();
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 65_507);
        let error = transmit_after(socket.as_fd(), b"header 2", &longest).unwrap_err();
        assert_eq!((error, peer_failure(error)), (Errno::MSGSIZE, None));
    }

    #[test]
    fn a_closed_port_is_noticed() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (socket, _) = connect_udp(closed, Source::System).unwrap();
        crate::net::transmit(socket.as_fd(), b"anybody?").unwrap();
        let error = crate::net::receive(socket.as_fd(), &mut [0; 10]).unwrap_err();
        assert_eq!(peer_failure(error), Some(ConnectFailure::Refused));
    }
}
