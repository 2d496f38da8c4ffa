//! The addresses of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every IP address of every network interface, loopback included.
///
/// # Errors
/// If the kernel does not return them.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the pointer names a local variable, which the call fills with a list or leaves alone.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = first;
    // SAFETY: `next` is null or an element of the list, which lives until it is freed below.
    while let Some(interface) = unsafe { next.as_ref() } {
        addresses.extend(address_of(interface));
        next = interface.ifa_next;
    }
    // SAFETY: the list came from getifaddrs, is freed once, and no element is used after this.
    unsafe { libc::freeifaddrs(first) };
    Ok(addresses)
}

/// The IP address of one element of the list.
fn address_of(interface: &libc::ifaddrs) -> Option<IpAddr> {
    // SAFETY: getifaddrs(3) gives null or a socket address, which lives as long as its element.
    let family = unsafe { interface.ifa_addr.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is this kind of address; getifaddrs aligns it.
            let address = unsafe { &*interface.ifa_addr.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is this kind of address; getifaddrs aligns it.
            let address = unsafe { &*interface.ifa_addr.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_addresses_of_this_machine() {
        let addresses = own_addresses().unwrap();
        assert!(addresses.contains(&Ipv4Addr::LOCALHOST.into()), "{addresses:?}");
    }
}
