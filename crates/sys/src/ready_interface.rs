//! A network interface whose carrier others follow: it is gone with this process, however that dies.
//!
//! It is a TUN device (the kernel's Documentation/networking/tuntap.rst), through which no packets
//! pass. To create it takes CAP_NET_ADMIN; to change its carrier takes nothing.

use crate::netlink::Netlink;
use rustix::fs::{Mode, OFlags, open};
use rustix::net::netdevice::name_to_index;
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
        let routes = Netlink::open(None)?; // NETLINK_ROUTE is 0
        let index = name_to_index(&routes, name)?;
        bring_up(&routes, index).or_else(|error| match is_up(name) {
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

fn bring_up(routes: &Netlink, index: u32) -> io::Result<()> {
    let mut message = vec![0; 4];
    message.extend(index.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // the flags
    message.extend(IFF_UP.to_ne_bytes()); // those that change
    Ok(routes.request(libc::RTM_NEWLINK, &message)?)
}

const IFF_UP: u32 = libc::IFF_UP as u32;
