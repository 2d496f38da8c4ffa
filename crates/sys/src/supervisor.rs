//! What a service manager such as systemd gives to a process that it starts: a socket for reports
//! (sd_notify(3)), and listening sockets (sd_listen_fds(3)).

use crate::process::has_one_thread;
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, ioctl_fionbio};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrAny,
    SocketAddrUnix, SocketFlags, SocketType, connect, getsockname, sendmsg, socket_with, sockopt,
};
use std::ffi::{OsStr, OsString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use terms::Address;

/// Reads a variable of the environment and removes it, so that programs started from here do not
/// see it. It stays there if the process has more than one thread, as another one could be reading
/// the environment.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    if has_one_thread() {
        // SAFETY: there is one thread (checked above), so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}

/// The socket on which a service manager receives reports.
///
/// It is connected from the beginning, so that it works under another root directory, too.
#[derive(Debug)]
pub struct ReportSocket {
    address: SocketAddrUnix,
    socket: Option<OwnedFd>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The service manager will read it.
    Sent,
    /// The service manager has too many reports to read; a later attempt may succeed.
    Later,
    /// There is no service manager at that address now.
    Lost,
}

impl ReportSocket {
    /// Connects to an address as `NOTIFY_SOCKET` has it: a path, or a name in the abstract
    /// namespace after `@`. `None` if it is neither.
    #[must_use]
    pub fn connect(address: &OsStr) -> Option<Self> {
        let address = match address.as_bytes() {
            [b'/', ..] => SocketAddrUnix::new(address.as_bytes()),
            [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name),
            _ => return None,
        };
        let mut socket = Self { address: address.ok()?, socket: None };
        socket.reconnect();
        Some(socket)
    }

    /// Sends a report, with a copy of a descriptor if there is one. Never blocks.
    pub fn send(&mut self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> Report {
        let first = self.try_to_send(text, descriptor);
        match first {
            Report::Lost => {
                self.reconnect();
                self.try_to_send(text, descriptor)
            }
            _ => first,
        }
    }

    fn try_to_send(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> Report {
        let Some(socket) = &self.socket else { return Report::Lost };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(descriptor) = &descriptor {
            control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
        }
        let text = [IoSlice::new(text.as_bytes())];
        match rustix::io::retry_on_intr(|| sendmsg(socket, &text, &mut control, flags)) {
            Ok(_) => Report::Sent,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Report::Later,
            Err(_) => Report::Lost,
        }
    }

    fn reconnect(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        self.socket = socket.and_then(|it| connect(&it, &self.address).map(|()| it)).ok();
    }
}

/// The number of the first descriptor that a service manager passes (sd_listen_fds(3)).
pub const FIRST_PASSED: RawFd = 3;

/// Takes over a descriptor that a service manager has passed to this process. From now on, programs
/// started from here do not inherit it. To be called once for each, before this process opens
/// anything itself.
///
/// # Errors
/// If no such descriptor is open.
pub fn take_passed(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < FIRST_PASSED {
        return Err(Errno::BADF);
    }
    // SAFETY: used for one call only, which fails if the descriptor is not open.
    fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
    // SAFETY: the descriptor is open (checked above), and nothing in this process owns it: it was
    // open when the process began, and the caller takes it once.
    let passed = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&passed, FdFlags::CLOEXEC)?;
    Ok(passed)
}

/// Where a passed socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedAddress {
    /// The address. That of a Unix socket without a file begins with `@`.
    pub address: Address,
    /// Whether it is an IPv6 socket that accepts IPv4 clients, too.
    pub is_dual_stack: bool,
}

/// Why a passed descriptor cannot be used for listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is a file, a pipe or something else.
    NotASocket,
    /// It is a socket for datagrams or packets.
    NotAStream,
    /// It is a connection, or not listening yet.
    NotListening,
    /// It is a socket of neither TCP nor Unix.
    OtherFamily,
}

/// Where a passed descriptor listens.
///
/// # Errors
/// Why it cannot be used.
pub fn passed_address(passed: BorrowedFd<'_>) -> Result<PassedAddress, Unfit> {
    match sockopt::socket_type(passed) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err(Unfit::NotAStream),
        Err(_) => return Err(Unfit::NotASocket),
    }
    if sockopt::socket_acceptconn(passed) != Ok(true) {
        return Err(Unfit::NotListening);
    }
    let name: SocketAddrAny = getsockname(passed).map_err(|_| Unfit::OtherFamily)?;
    if let Ok(address) = SocketAddr::try_from(name.clone()) {
        let is_dual_stack = address.is_ipv6() && crate::net::is_dual_stack(passed);
        return Ok(PassedAddress { address: Address::Ip(address), is_dual_stack });
    }
    let name = SocketAddrUnix::try_from(name).map_err(|_| Unfit::OtherFamily)?;
    let path = match (name.path_bytes(), name.abstract_name()) {
        (Some(path), _) => PathBuf::from(OsStr::from_bytes(path)),
        (None, name) => {
            let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            PathBuf::from(format!("@{name}"))
        }
    };
    Ok(PassedAddress { address: Address::Unix(path), is_dual_stack: false })
}

/// Makes a passed listening socket behave as one of ours: accepting does not block, and accepted
/// connections send small pieces at once and have urgent bytes in line.
///
/// # Errors
/// If the system refuses that.
pub fn prepare_passed(passed: BorrowedFd<'_>) -> Result<(), Errno> {
    ioctl_fionbio(passed, true)?;
    sockopt::set_socket_oobinline(passed, true)?;
    match sockopt::socket_domain(passed)? {
        AddressFamily::UNIX => Ok(()),
        _ => sockopt::set_tcp_nodelay(passed, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    /// A path that no other test has.
    fn path(name: &str) -> PathBuf {
        let file = format!("sys-supervisor-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let _ = std::fs::remove_file(&path);
        path
    }

    fn read(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_report_reaches_a_manager_that_has_come_back() {
        let path = path("back");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut reports = ReportSocket::connect(path.as_os_str()).unwrap();
        assert_eq!(reports.send("READY=1", None), Report::Sent);
        assert_eq!(read(&manager), "READY=1");
        drop(manager);
        assert_eq!(reports.send("STATUS=alone", None), Report::Lost);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(reports.send("STATUS=alone", None), Report::Lost);
        let manager = UnixDatagram::bind(&path).unwrap();
        assert_eq!(reports.send("STATUS=again", None), Report::Sent);
        assert_eq!(read(&manager), "STATUS=again");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_manager_that_reads_nothing_does_not_block() {
        let path = path("full");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut reports = ReportSocket::connect(path.as_os_str()).unwrap();
        let sent =
            (0..100_000).take_while(|_| reports.send("WATCHDOG=1", None) == Report::Sent).count();
        assert!(sent > 0);
        assert_eq!(reports.send("STOPPING=1", None), Report::Later);
        (0..sent).for_each(|_| drop(read(&manager)));
        assert_eq!(reports.send("STOPPING=1", None), Report::Sent);
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_may_be_in_the_abstract_namespace() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("sys-supervisor-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let mut reports = ReportSocket::connect(OsStr::new(&format!("@{name}"))).unwrap();
        assert_eq!(reports.send("READY=1", None), Report::Sent);
        assert_eq!(read(&manager), "READY=1");
    }

    #[test]
    fn other_addresses_are_none() {
        let long = format!("/{}", "x".repeat(200));
        for address in ["", "@", "run/notify", "vsock:2:1234", &long] {
            assert!(ReportSocket::connect(OsStr::new(address)).is_none(), "{address}");
        }
    }

    #[test]
    fn only_a_listening_stream_socket_is_fit() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let found = PassedAddress { address: Address::Ip(address), is_dual_stack: false };
        assert_eq!(passed_address(tcp.as_fd()), Ok(found));
        let connection = TcpStream::connect(address).unwrap();
        assert_eq!(passed_address(connection.as_fd()), Err(Unfit::NotListening));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(passed_address(udp.as_fd()), Err(Unfit::NotAStream));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(passed_address(file.as_fd()), Err(Unfit::NotASocket));
        let path = path("listener");
        let unix = UnixListener::bind(&path).unwrap();
        let found = PassedAddress { address: Address::Unix(path.clone()), is_dual_stack: false };
        assert_eq!(passed_address(unix.as_fd()), Ok(found));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_prepared_socket_does_not_block() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare_passed(tcp.as_fd()).unwrap();
        let error = tcp.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}
