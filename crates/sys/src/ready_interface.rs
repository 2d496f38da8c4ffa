//! A network interface whose carrier others follow: it is gone with this process, however that dies.
//!
//! It is a TUN device (the kernel's Documentation/networking/tuntap.rst), through which no packets
//! pass. To create it takes CAP_NET_ADMIN; to change its carrier takes nothing.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket_with};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The longest name of an interface, in bytes.
pub const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// Such an interface. Dropping it removes the interface, unless another process has a copy.
#[derive(Debug)]
pub struct ReadyInterface(OwnedFd);

impl ReadyInterface {
    /// Makes the interface, without a carrier. One that an administrator has
    /// made for this user (`ip tuntap add`) will do as well; it stays, and loses only its carrier.
    ///
    /// # Errors
    /// If that is not permitted, or another process has it (EBUSY), or the name is no good.
    pub fn open(name: &str) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let interface = Self(open("/dev/net/tun", flags, Mode::empty())?);
        interface.attach(name)?;
        interface.set_carrier(false)?;
        let routes = Routes::open()?;
        let index = name_to_index(&routes.0, name)?;
        routes.bring_up(index).or_else(|error| match is_up(name) {
            true => Ok(()),
            false => Err(error),
        })?;
        Ok(interface)
    }

    /// The interface that this process was handed by another one.
    #[must_use]
    pub fn inherit(device: OwnedFd) -> Self {
        Self(device)
    }

    /// What keeps the interface in another process.
    ///
    /// # Errors
    /// If this process has no file descriptor left.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Whether others see a carrier.
    ///
    /// # Errors
    /// If the interface was removed from outside.
    pub fn set_carrier(&self, on: bool) -> io::Result<()> {
        let on = libc::c_int::from(on);
        // SAFETY: the request reads one int, which outlives the call.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), TUNSETCARRIER, &raw const on) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn attach(&self, name: &str) -> io::Result<()> {
        if name.is_empty() || name.len() > NAME_MAX || name.bytes().any(|byte| byte == 0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut request =
            Attach { name: [0; libc::IFNAMSIZ], flags: TUN_WITHOUT_HEADER, rest: [0; 22] };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the request reads and writes a `struct ifreq`, which is as long as this one.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), TUNSETIFF, &raw mut request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for ReadyInterface {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// From <linux/if_tun.h>.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETCARRIER: libc::Ioctl = 0x4004_54e2;
const TUN_WITHOUT_HEADER: i16 = 0x0001 | 0x1000;

/// A `struct ifreq` (netdevice(7)) with the flags of TUNSETIFF.
#[repr(C)]
struct Attach {
    name: [u8; libc::IFNAMSIZ],
    flags: i16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Attach>() == size_of::<libc::ifreq>());

/// Whether an administrator has brought it up.
fn is_up(name: &str) -> bool {
    let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16);
    flags.is_ok_and(|flags| flags & IFF_UP != 0)
}

/// A socket for requests about interfaces (rtnetlink(7)).
struct Routes(OwnedFd);

impl Routes {
    fn open() -> io::Result<Self> {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        // Without a protocol: NETLINK_ROUTE is 0.
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?))
    }

    fn bring_up(&self, index: u32) -> Result<(), Errno> {
        let mut message = vec![0; 4];
        message.extend(index.to_ne_bytes());
        message.extend(IFF_UP.to_ne_bytes()); // the flags
        message.extend(IFF_UP.to_ne_bytes()); // those that change
        self.request(libc::RTM_NEWLINK, &message)
    }

    /// Sends a request to the kernel, and returns its answer.
    fn request(&self, kind: u16, message: &[u8]) -> Result<(), Errno> {
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

/// The length of a message's head.
const HEADER: usize = 16;

const IFF_UP: u32 = libc::IFF_UP as u32;
