//! The networks that this machine is on, and the link-layer addresses of others there (arp(7)).

use crate::netlink::{Netlink, add_attribute, attributes, text};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet interface with IP addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Its own addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Interface {
    /// The length of the prefix of the smallest of its networks in which this address is.
    #[must_use]
    pub fn reaches(&self, address: IpAddr) -> Option<u8> {
        let reaching = self.addresses.iter().filter(|(own, len)| is_within(address, *own, *len));
        reaching.map(|(_, len)| *len).max()
    }
}

/// Whether two addresses have the same prefix of this length.
fn is_within(address: IpAddr, network: IpAddr, len: u8) -> bool {
    let (bits, network, width) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let rest = width - u32::from(len).min(width);
    let prefix = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    prefix(bits) == prefix(network)
}

/// All Ethernet interfaces with addresses that are not only for their link.
///
/// # Errors
/// If the kernel does not say.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let socket = Netlink::open(None)?;
    let mut all = BTreeMap::new();
    for link in socket.list(GET_LINK, &[0; 16])? {
        // A `struct ifinfomsg`.
        let (Some(kind), Some(index)) = (number(&link, 2), number(&link, 4)) else { continue };
        let mut interface = Interface {
            index: u32::from_ne_bytes(index),
            name: String::new(),
            mac: [0; 6],
            addresses: Vec::new(),
        };
        for (kind, value) in attributes(link.get(16..).unwrap_or_default()) {
            match (kind, value.try_into()) {
                (LINK_ADDRESS, Ok(mac)) => interface.mac = mac,
                (LINK_NAME, _) => interface.name = text(value),
                _ => {}
            }
        }
        if u16::from_ne_bytes(kind) == ETHERNET && interface.mac != [0; 6] {
            all.insert(interface.index, interface);
        }
    }
    for address in socket.list(GET_ADDRESS, &[0; 8])? {
        // A `struct ifaddrmsg`.
        let (Some([_, len, _, scope]), Some(index)) = (number(&address, 0), number(&address, 4))
        else {
            continue;
        };
        if scope >= SCOPE_LINK {
            continue;
        }
        // The peer's, if there is one, comes as `ADDRESS`.
        let attributes = attributes(address.get(8..).unwrap_or_default());
        let found: BTreeMap<_, _> = attributes.collect();
        let own = found.get(&LOCAL).or(found.get(&ADDRESS)).and_then(|value| ip(value));
        if let (Some(interface), Some(own)) = (all.get_mut(&u32::from_ne_bytes(index)), own) {
            interface.addresses.push((own, len));
        }
    }
    Ok(all.into_values().filter(|it| !it.addresses.is_empty()).collect())
}

/// What the kernel knows about another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The number of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// The link-layer address, unless it has not answered.
    pub mac: Option<[u8; 6]>,
    /// Whether it is time to ask for it.
    pub is_due: bool,
}

/// All of them.
///
/// # Errors
/// If the kernel does not say.
pub fn neighbours() -> io::Result<Vec<Neighbour>> {
    let socket = Netlink::open(None)?;
    let all = socket.list(GET_NEIGHBOUR, &[0; 12])?;
    Ok(all.iter().filter_map(|it| neighbour(it)).collect())
}

fn neighbour(part: &[u8]) -> Option<Neighbour> {
    // A `struct ndmsg`.
    let interface = u32::from_ne_bytes(number(part, 4)?);
    let state = u16::from_ne_bytes(number(part, 8)?);
    let found: BTreeMap<_, _> = attributes(part.get(12..)?).collect();
    let address = ip(found.get(&NEIGHBOUR_ADDRESS)?)?;
    let mac = found.get(&NEIGHBOUR_MAC).and_then(|value| (*value).try_into().ok());
    let mac = mac.filter(|_| state & USABLE != 0);
    Some(Neighbour { interface, address, mac, is_due: state & !DUE == 0 })
}

/// Has the kernel find out the link-layer address of a neighbour, without a packet to it.
///
/// # Errors
/// If that is not permitted, or there is no such interface.
pub fn ask(interface: u32, address: IpAddr) -> io::Result<()> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let mut message = vec![family as u8, 0, 0, 0];
    message.extend(interface.to_ne_bytes());
    message.extend([0, 0, USE, 0]);
    add_attribute(&mut message, NEIGHBOUR_ADDRESS, &bytes);
    Netlink::open(None)?.create(NEW_NEIGHBOUR, &message).map_err(io::Error::from)
}

fn number<const N: usize>(part: &[u8], at: usize) -> Option<[u8; N]> {
    part.get(at..)?.first_chunk().copied()
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(|it| Ipv4Addr::from(it).into()),
        16 => <[u8; 16]>::try_from(value).ok().map(|it| Ipv6Addr::from(it).into()),
        _ => None,
    }
}

/// From <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if_addr.h> and <linux/neighbour.h>.
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const ETHERNET: u16 = 1;
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const SCOPE_LINK: u8 = 253;
const NEIGHBOUR_ADDRESS: u16 = 1;
const NEIGHBOUR_MAC: u16 = 2;
const USE: u8 = 1;
/// Reachable, stale, to be asked soon, asked, without ARP, or given by the operator.
const USABLE: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;
/// Stale, or has not answered.
const DUE: u16 = 0x04 | 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, network: &str, len: u8, expected: bool) {
        let [address, network] = [address, network].map(|it| it.parse().unwrap());
        assert_eq!(is_within(address, network, len), expected, "{address} in {network}/{len}");
    }

    #[test]
    fn a_network_has_the_addresses_with_its_prefix() {
        check("192.0.2.1", "192.0.2.254", 24, true);
        check("192.0.3.1", "192.0.2.254", 24, false);
        check("192.0.3.1", "192.0.2.254", 0, true);
        check("192.0.2.1", "192.0.2.254", 32, false);
        check("2001:db8::1", "2001:db8::2", 64, true);
        check("2001:db8::1", "2001:db8::2", 128, false);
        check("2001:db8::1", "::", 0, true);
        check("::1", "127.0.0.1", 0, false);
    }

    #[test]
    fn a_part_that_is_cut_off_is_no_neighbour() {
        let mut part = vec![2, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0];
        add_attribute(&mut part, NEIGHBOUR_ADDRESS, &[192, 0, 2, 1]);
        add_attribute(&mut part, NEIGHBOUR_MAC, &[2, 0, 0, 0, 0, 1]);
        let found = neighbour(&part).unwrap();
        assert_eq!((found.interface, found.is_due), (7, false));
        assert_eq!((found.address, found.mac), ([192, 0, 2, 1].into(), Some([2, 0, 0, 0, 0, 1])));
        // The last two bytes only fill it up.
        for end in 0..part.len() - 2 {
            if let Some(cut) = neighbour(&part[..end]) {
                assert_eq!((cut.address, cut.mac), (found.address, None), "{end}");
            }
        }
        part[8] = 0x20;
        let failed = neighbour(&part).unwrap();
        assert_eq!((failed.mac, failed.is_due), (None, true));
    }

    #[test]
    fn the_loopback_interface_is_no_network() {
        assert!(interfaces().unwrap().iter().all(|it| it.name != "lo" && it.index > 0));
        neighbours().unwrap();
    }
}
