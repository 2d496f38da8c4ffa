//! Addresses that this machine answers for although no interface has them: local routes
//! (ip-route(8), `local`), which the kernel also goes by where it answers ARP.

use crate::netlink::{Netlink, add_attribute};
use rustix::io::Errno;
use std::io;
use std::net::Ipv4Addr;

/// Has this machine answer for the addresses of a network, which has a prefix of this length.
///
/// # Errors
/// If that is not permitted.
pub fn host(network: (Ipv4Addr, u8)) -> io::Result<()> {
    match Netlink::open(None)?.create(NEW_ROUTE, &message(network)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Has it answer no longer, if [`host`] has begun that.
///
/// # Errors
/// If that is not permitted.
pub fn unhost(network: (Ipv4Addr, u8)) -> io::Result<()> {
    match Netlink::open(None)?.request(DELETE_ROUTE, &message(network)) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A `struct rtmsg`, and the attributes that belong to it.
fn message((address, len): (Ipv4Addr, u8)) -> Vec<u8> {
    let mut message =
        vec![libc::AF_INET as u8, len, 0, 0, TABLE_LOCAL, PROTOCOL, SCOPE_HOST, TYPE_LOCAL];
    message.extend([0; 4]);
    add_attribute(&mut message, DESTINATION, &address.octets());
    add_attribute(&mut message, INTERFACE, &LOOPBACK.to_ne_bytes());
    message
}

/// Who has made a route: a number that nobody else uses for that (`/etc/iproute2/rt_protos`).
const PROTOCOL: u8 = 0x4b;
/// The number of the loopback interface, in every network namespace.
const LOOPBACK: u32 = 1;

/// From <linux/rtnetlink.h>.
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const TABLE_LOCAL: u8 = 255;
const SCOPE_HOST: u8 = 254;
const TYPE_LOCAL: u8 = 2;
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
