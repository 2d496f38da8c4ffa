//! Non-blocking stream sockets.

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketFlags,
    SocketType, acceptfrom_with, bind, connect, getpeername, getsockname, listen, recv, send,
    shutdown, socket_with,
};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use terms::{Address, ConnectFailure, KeepAlive};

pub(crate) const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Listens on a TCP address. Accepted connections inherit two options: no delay, and urgent bytes
/// in line.
///
/// `dual_stack` lets an IPv6 socket accept IPv4 clients, too. `shared` lets other processes listen
/// on the same port (`SO_REUSEPORT`, socket(7)).
pub fn listen_tcp(address: SocketAddr, dual_stack: bool, shared: bool) -> io::Result<OwnedFd> {
    let socket = socket_with(family(address.ip()), SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !dual_stack)?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_oobinline(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Whether this machine has IPv6 at all.
#[must_use]
pub fn has_ipv6() -> bool {
    let none = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    let any = listen_tcp((Ipv6Addr::UNSPECIFIED, 0).into(), true, false);
    !any.is_err_and(|error| none.map(Some).contains(&Errno::from_io_error(&error)))
}

/// Listens on a Unix socket. Replaces a socket file on which no process listens any more.
pub fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    listen_unix_with(path, None)
}

/// As [`listen_unix`], for this user alone: nobody else can connect, not even at first.
pub fn listen_unix_private(path: &Path) -> io::Result<OwnedFd> {
    listen_unix_with(path, Some(Mode::RUSR | Mode::WUSR))
}

fn listen_unix_with(path: &Path, mode: Option<Mode>) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    if let Some(mode) = mode {
        fchmod(&socket, mode)?; // binding makes the file with it (unix(7))
    }
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) if is_stale(path, &address)? => {
            std::fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        bound => bound?,
    }
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Whether a process that no longer exists has left the socket file behind.
fn is_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    Ok(connect(&probe, address) == Err(Errno::CONNREFUSED))
}

/// The kernel limits it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Accepts the next connection. The address is `None` for a client of a Unix socket.
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let (socket, address) = acceptfrom_with(listener, FLAGS)?;
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    if address.is_none() {
        keep_urgent_in_line(socket.as_fd());
    }
    Ok((socket, address))
}

/// Makes a Unix socket deliver urgent bytes in line. Unlike a TCP socket, it does not inherit this
/// from its listener. Linux has urgent bytes on Unix sockets since 5.15; before that, there are
/// none to lose.
fn keep_urgent_in_line(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_socket_oobinline(socket, true);
}

/// Whether accepting failed only because of the client, so that the next client can follow at once.
/// Source: accept(2), "Error handling".
#[must_use]
pub fn is_lost_client(error: Errno) -> bool {
    matches!(
        error,
        Errno::AGAIN
            | Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
    )
}

/// When a TCP peer that has accepted a connect learns that its answer has come, which is the last
/// packet of the handshake (RFC 9293, section 3.5). Until then, its program sees no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// At once.
    AtOnce,
    /// With the first bytes that are sent, which saves a packet; or by [`acknowledge`]. If neither
    /// comes, the kernel does it after 200 ms (tcp(7), `TCP_QUICKACK`).
    WithData,
}

/// Starts a connect. The descriptor becomes writable, or fails, when the result is known.
///
/// Beside the socket: why the system chose its local address although `source` is
/// [`Source::Foreign`].
///
/// # Errors
/// Why not, where that is known at once.
pub fn start_connect(
    address: &Address,
    source: Source,
    when: Acknowledge,
) -> Result<(OwnedFd, Option<Errno>), ConnectFailure> {
    open_connection(address, source, when).map_err(|error| connect_failure(error, address))
}

/// Acknowledges the peer's answer to a connect, unless that has been done
/// ([`Acknowledge::WithData`]).
pub fn acknowledge(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_tcp_quickack(socket, true);
}

fn open_connection(
    address: &Address,
    source: Source,
    when: Acknowledge,
) -> Result<(OwnedFd, Option<Errno>), Errno> {
    let mut refused = None;
    let socket = match address {
        Address::Ip(address) => {
            let socket = socket_with(family(address.ip()), SocketType::STREAM, FLAGS, None)?;
            sockopt::set_socket_oobinline(&socket, true)?;
            let fits = |source: IpAddr| source.is_ipv4() == address.is_ipv4();
            match source {
                Source::Own(source) if fits(source) => drop(bind_source(socket.as_fd(), source)),
                Source::Foreign(source) if fits(source) => {
                    refused = bind_foreign(socket.as_fd(), source).err();
                }
                Source::System | Source::Own(_) | Source::Foreign(_) => {}
            }
            if when == Acknowledge::WithData {
                let _ = sockopt::set_tcp_quickack(&socket, false); // it works without, too
            }
            connect_result(connect(&socket, address))?;
            socket
        }
        Address::Unix(path) => {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
            keep_urgent_in_line(socket.as_fd());
            connect_result(connect(&socket, &SocketAddrUnix::new(path)?))?;
            socket
        }
    };
    Ok((socket, refused))
}

fn connect_result(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::INPROGRESS) => Ok(()),
        result => result,
    }
}

/// Local address of a connection. One of another family than the peer's is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The system chooses.
    System,
    /// This address. If the host does not have it, the system chooses, as with balance's `-B`.
    Own(IpAddr),
    /// This address, although the host does not have it (`IP_TRANSPARENT`, ip(7)). Needs
    /// `CAP_NET_RAW` or `CAP_NET_ADMIN`; without it, the system chooses.
    Foreign(IpAddr),
}

pub(crate) fn bind_foreign(socket: BorrowedFd<'_>, source: IpAddr) -> Result<(), Errno> {
    let (level, name) = match source {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
    };
    set_int(socket, level, name, 1)?;
    bind_source(socket, source)
}

pub(crate) fn bind_source(socket: BorrowedFd<'_>, source: IpAddr) -> Result<(), Errno> {
    // The port is chosen at connect time, so that one address serves more than 28,000 sessions
    // (ip(7), IP_BIND_ADDRESS_NO_PORT). Kernels without it choose now.
    let _ = set_int(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
    bind(socket, &SocketAddr::new(source, 0))
}

/// What an error of connecting to this address says. Source: connect(2), tcp(7), unix(7).
pub(crate) fn connect_failure(error: Errno, address: &Address) -> ConnectFailure {
    match (error, address) {
        (Errno::CONNREFUSED, _) => ConnectFailure::Refused,
        (Errno::TIMEDOUT, _) => ConnectFailure::TimedOut,
        (Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE, _) => ConnectFailure::Reset,
        (Errno::NETUNREACH | Errno::NETDOWN, _) => ConnectFailure::NoRoute,
        (Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NONET, _) => ConnectFailure::Unreachable,
        (Errno::NOENT | Errno::NOTDIR, _) => ConnectFailure::Missing,
        (Errno::ACCESS | Errno::PERM, _) => ConnectFailure::Forbidden,
        (Errno::AFNOSUPPORT, _) => ConnectFailure::NoAddress,
        (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM, _) => ConnectFailure::NoSocket,
        (Errno::AGAIN, Address::Unix(_)) => ConnectFailure::Busy,
        (Errno::ADDRNOTAVAIL, Address::Ip(address)) if !has_address_for(*address) => {
            ConnectFailure::NoAddress
        }
        (Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::AGAIN, _) => ConnectFailure::NoPort,
        (error, _) => ConnectFailure::Other(error.raw_os_error()),
    }
}

/// Whether this host has an address to reach this one from. A TCP connect says `EADDRNOTAVAIL` both
/// for want of that and for want of a port; one of UDP sends nothing, and has ports of its own.
#[cold]
fn has_address_for(address: SocketAddr) -> bool {
    let probe = socket_with(family(address.ip()), SocketType::DGRAM, FLAGS, None);
    let result = probe.and_then(|probe| connect(&probe, &address));
    !matches!(result, Err(Errno::ADDRNOTAVAIL | Errno::NETUNREACH | Errno::AFNOSUPPORT))
}

/// The system's error for a failure, for texts that name it as the system does.
#[must_use]
pub fn system_error(failure: ConnectFailure) -> io::Error {
    let error = match failure {
        ConnectFailure::Refused | ConnectFailure::Loop => Errno::CONNREFUSED,
        ConnectFailure::NoTls | ConnectFailure::Unready | ConnectFailure::Tls(_) => Errno::PROTO,
        ConnectFailure::TimedOut => Errno::TIMEDOUT,
        ConnectFailure::Reset => Errno::CONNRESET,
        ConnectFailure::NoRoute => Errno::NETUNREACH,
        ConnectFailure::Unreachable => Errno::HOSTUNREACH,
        ConnectFailure::Missing => Errno::NOENT,
        ConnectFailure::Forbidden => Errno::ACCESS,
        ConnectFailure::NoAddress | ConnectFailure::Unresolved | ConnectFailure::NoPort => {
            Errno::ADDRNOTAVAIL
        }
        ConnectFailure::Busy => Errno::AGAIN,
        ConnectFailure::NoSocket => Errno::MFILE,
        ConnectFailure::Other(number) => return io::Error::from_raw_os_error(number),
    };
    error.into()
}

/// Why a connect or a connection failed that its poller says has failed.
#[must_use]
pub fn take_failure(socket: BorrowedFd<'_>, address: &Address) -> ConnectFailure {
    match sockopt::socket_error(socket) {
        Ok(Err(error)) | Err(error) => connect_failure(error, address),
        Ok(Ok(())) => ConnectFailure::Refused,
    }
}

/// The local address; `None` for a Unix socket.
#[must_use]
pub fn local_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    let address: SocketAddrAny = getsockname(socket).ok()?;
    SocketAddr::try_from(address).ok()
}

/// The peer's address; `None` for a Unix socket, or one that is not connected.
#[must_use]
pub fn peer_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SocketAddr::try_from(getpeername(socket).ok()??).ok()
}

/// Whether an IPv6 listener takes IPv4 clients too.
#[must_use]
pub fn is_dual_stack(listener: BorrowedFd<'_>) -> bool {
    sockopt::ipv6_v6only(listener) == Ok(false)
}

/// Receives into `buffer`. Zero means end of file.
#[inline]
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::INTR) => {}
            result => return result.map(|(count, _)| count),
        }
    }
}

/// Copies bytes at the head of the socket's queue into `buffer`, and leaves them there (`MSG_PEEK`).
/// Zero means end of file.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::PEEK) {
            Err(Errno::INTR) => {}
            result => return result.map(|(count, _)| count),
        }
    }
}

/// Takes bytes off that are known to be in the queue. Returns whether that succeeded.
#[must_use]
pub fn discard(socket: BorrowedFd<'_>, mut count: usize) -> bool {
    let mut buffer = [0; 512];
    while count > 0 {
        let most = count.min(buffer.len());
        match receive(socket, &mut buffer[..most]) {
            Ok(0) | Err(_) => return false,
            Ok(taken) => count -= taken,
        }
    }
    true
}

/// Has the kernel report the socket as readable only when this many bytes have come, or as many as
/// it has room for; it makes room for them, within `tcp_rmem` (`SO_RCVLOWAT`, socket(7)). Unix
/// sockets do not know it, and report every byte.
///
/// If they have come already, that is an event.
pub fn set_low_water(socket: BorrowedFd<'_>, bytes: u32) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let _ = set_int(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes);
}

/// Sends the first bytes on a connection that has just been made. `is_more_coming` has the kernel
/// wait for the next bytes, and send them in the same packet.
///
/// # Errors
/// The connection has failed already, or the system has no memory for so little: either way it
/// has to be closed, since some of the bytes may have been sent.
pub fn transmit_first(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    is_more_coming: bool,
) -> Result<(), ConnectFailure> {
    let more = if is_more_coming { SendFlags::MORE } else { SendFlags::empty() };
    match transmit_with(socket, bytes, more) {
        Err(Errno::CONNRESET | Errno::PIPE) => Err(ConnectFailure::Reset),
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Err(ConnectFailure::NoSocket),
        Err(error) => Err(ConnectFailure::Other(error.raw_os_error())),
    }
}

/// Sends as many of the `bytes` as the socket takes.
#[inline]
pub fn transmit(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    transmit_with(socket, bytes, SendFlags::empty())
}

/// Sends as [`transmit`] does. The end of file, which is to follow at once, can go in the same packet
/// (send(2), `MSG_MORE`).
pub fn transmit_last(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    transmit_with(socket, bytes, SendFlags::MORE)
}

#[inline]
fn transmit_with(socket: BorrowedFd<'_>, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
    loop {
        match send(socket, bytes, SendFlags::NOSIGNAL | flags) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Sends one urgent byte.
pub fn transmit_urgent(socket: BorrowedFd<'_>, byte: u8) -> Result<(), Errno> {
    send(socket, &[byte], SendFlags::NOSIGNAL | SendFlags::OOB).map(|_| ())
}

/// Whether the next byte to be read is the urgent one (`SIOCATMARK`, tcp(7)).
#[must_use]
pub fn is_at_mark(socket: BorrowedFd<'_>) -> bool {
    query_int(socket, SIOCATMARK) == Some(1)
}

/// The number of bytes that the peer has not acknowledged yet (`SIOCOUTQ`, tcp(7)).
#[must_use]
pub fn unacknowledged(socket: BorrowedFd<'_>) -> usize {
    query_int(socket, libc::TIOCOUTQ).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}

/// What the kernel knows of the path to a TCP peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpPath {
    /// Zero if it was not measured.
    round_trip_micros: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
}

impl TcpPath {
    /// The smoothed round-trip time, if it was measured.
    #[must_use]
    pub fn round_trip(self) -> Option<Duration> {
        let micros = u64::from(self.round_trip_micros);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

/// What the kernel knows of the path to a TCP peer, also after the connection has ended (tcp(7),
/// `TCP_INFO`); `None` for other sockets.
#[must_use]
pub fn tcp_path(socket: BorrowedFd<'_>) -> Option<TcpPath> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    // The kernel fills in no more than this.
    let mut length = TCP_PATH_BYTES as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so open for the whole call; pointer and length describe a
    // part of a local structure, of which the kernel writes at most `length` bytes before returning.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    let libc::tcp_info { tcpi_rtt, tcpi_total_retrans, .. } = info;
    let path = TcpPath { round_trip_micros: tcpi_rtt, retransmits: tcpi_total_retrans };
    (result == 0).then_some(path)
}

/// The size of `tcp_info` up to the last field that a [`TcpPath`] needs.
const TCP_PATH_BYTES: usize =
    std::mem::offset_of!(libc::tcp_info, tcpi_total_retrans) + size_of::<u32>();

/// The groups of the process at the other end of a Unix socket, besides its first one (unix(7),
/// `SO_PEERGROUPS`).
pub fn peer_groups(socket: BorrowedFd<'_>) -> Vec<u32> {
    let mut groups = vec![0_u32; 64];
    loop {
        let room = groups.len() * size_of::<u32>();
        let mut length = room as libc::socklen_t;
        // SAFETY: the descriptor is borrowed, so open for the whole call; pointer and length
        // describe a vector of plain numbers, of which the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = length as usize / size_of::<u32>();
        let is_too_small = result != 0 && needed > groups.len() && needed <= PEER_GROUPS_MAX;
        groups.resize(if result == 0 || is_too_small { needed } else { 0 }, 0);
        if !is_too_small {
            return groups;
        }
    }
}

/// As many as a process can have (`NGROUPS_MAX`).
const PEER_GROUPS_MAX: usize = 65_536;

/// Refuses all clients of a listening socket, those in its queue included. It keeps its address, and
/// [`listen_again`] ends that; a Unix socket cannot return.
pub fn refuse_clients(listener: BorrowedFd<'_>) {
    // Done twice, it would become a property of the socket that all later clients' sockets inherit:
    // they would begin with an end of file.
    if sockopt::socket_acceptconn(listener) == Ok(true) {
        let _ = shutdown(listener, Shutdown::Read);
    }
}

/// Lets clients of TCP in again after [`refuse_clients`].
///
/// # Errors
/// If another process listens at the address by now.
pub fn listen_again(listener: BorrowedFd<'_>) -> io::Result<()> {
    Ok(listen(listener, BACKLOG)?)
}

/// Sends an end of file to the peer.
pub fn finish(socket: BorrowedFd<'_>) {
    let _ = shutdown(socket, Shutdown::Write);
}

/// Makes the socket send small pieces at once instead of waiting for more.
pub fn set_no_delay(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
}

/// Has the kernel probe a silent peer (tcp(7), `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`).
///
/// Times are rounded up to whole seconds, and what the kernel does not take is brought into its
/// range.
pub fn keep_alive(socket: BorrowedFd<'_>, when: KeepAlive) {
    match when {
        KeepAlive::Never => return,
        KeepAlive::System => {}
        KeepAlive::After(idle) => {
            let seconds = |time: Duration| time.as_millis().div_ceil(1000).clamp(1, 32_767) as u64;
            let interval = (idle / KEEP_ALIVE_PROBES).min(KEEP_ALIVE_INTERVAL_MAX);
            let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(seconds(idle)));
            let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(seconds(interval)));
            let _ = sockopt::set_tcp_keepcnt(socket, KEEP_ALIVE_PROBES);
        }
    }
    let _ = sockopt::set_socket_keepalive(socket, true);
}

const KEEP_ALIVE_PROBES: u32 = 3;
/// The system's own interval.
const KEEP_ALIVE_INTERVAL_MAX: Duration = Duration::from_secs(75);

/// Has the kernel reset a connection whose peer acknowledges nothing for `limit` (tcp(7),
/// `TCP_USER_TIMEOUT`). The kernel counts milliseconds, at most about 24 days.
pub fn set_user_timeout(socket: BorrowedFd<'_>, limit: Duration) {
    let millis = limit.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128);
    let _ = sockopt::set_tcp_user_timeout(socket, millis as u32);
}

/// Makes closing the socket send a reset.
pub fn reset_on_close(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// `SIOCATMARK` of Linux, which has this value on all architectures that matter.
const SIOCATMARK: libc::Ioctl = 0x8905;

/// Reads an integer by a socket `ioctl`.
fn query_int(socket: BorrowedFd<'_>, request: libc::Ioctl) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed, so open for the whole call; both requests used here
    // write one `int` to the pointer, which is a local one.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut value) };
    (result == 0).then_some(value)
}

/// Sets an integer socket option.
pub(crate) fn set_int(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    // SAFETY: the descriptor is borrowed, so open for the whole call; pointer and length
    // describe a local integer that the kernel only reads before returning.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

pub(crate) fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
