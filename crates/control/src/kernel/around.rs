//! What this machine has on its networks: the interfaces through which clients come, and the way to
//! backends there.

use forwarding::{Mac, Path};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use sys::neighbours::{Interface, Neighbour, ask, interfaces, neighbours};

/// What there was at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Around {
    /// The names of interfaces, by their numbers.
    pub interfaces: BTreeMap<u32, String>,
    /// The addresses of IPv4 that these have.
    pub own: Vec<Ipv4Addr>,
    /// The ways to the addresses that were asked for.
    ways: Vec<(IpAddr, Way)>,
}

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    /// It is on a network of this machine, and has answered.
    Known(Path),
    /// It is on a network of this machine, and has not answered.
    Silent,
    /// It is on none, or is this machine.
    None,
}

impl Around {
    /// Looks around, and has the kernel ask for those that it does not know. Waits a moment for new
    /// ones.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn look(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut all = interfaces()?;
        all.retain(|it| has_plain_name(&it.name));
        let mut known = neighbours()?;
        let find = |known: &[Neighbour], at: &Interface, address| {
            known.iter().copied().find(|it| (it.interface, it.address) == (at.index, address))
        };
        let mut unknown = Vec::new();
        for address in addresses {
            let Some(interface) = interface(&all, *address) else { continue };
            let neighbour = find(&known, interface, *address);
            if neighbour.is_none_or(|it| it.is_due) {
                // If it is not possible now, the next look tries again.
                let _ = ask(interface.index, *address);
            }
            if neighbour.is_none() {
                unknown.push((interface, *address));
            }
        }
        for _ in 0..MOMENTS {
            unknown.retain(|(at, address)| {
                find(&known, at, *address).is_none_or(|it| it.mac.is_none())
            });
            if unknown.is_empty() {
                break;
            }
            std::thread::sleep(MOMENT);
            known = neighbours()?;
        }
        let way = |address| match interface(&all, address) {
            None => Way::None,
            Some(at) => match find(&known, at, address).and_then(|it| it.mac) {
                None => Way::Silent,
                Some(its) => {
                    let (own, its) = (Mac(at.mac), Mac(its));
                    Way::Known(Path { interface: at.index, own, its })
                }
            },
        };
        let ways = addresses.iter().map(|address| (*address, way(*address))).collect();
        let own = all.iter().flat_map(|it| &it.addresses).filter_map(|(own, _)| match own {
            IpAddr::V4(own) => Some(*own),
            IpAddr::V6(_) => None,
        });
        let own = own.collect();
        let interfaces = all.into_iter().map(|it| (it.index, it.name)).collect();
        Ok(Self { interfaces, own, ways })
    }

    /// Whether there is an interface of this name.
    pub fn has_interface(&self, name: &str) -> bool {
        self.interfaces.values().any(|it| it == name)
    }

    /// The way to an address; silent if nobody has asked for it yet.
    pub fn way(&self, address: IpAddr) -> Way {
        let found = self.ways.iter().find(|(it, _)| *it == address);
        found.map_or(Way::Silent, |(_, way)| *way)
    }
}

/// The interface on whose network an address is.
fn interface(all: &[Interface], address: IpAddr) -> Option<&Interface> {
    let is_own = |it: &Interface| it.addresses.iter().any(|(own, _)| *own == address);
    if all.iter().any(is_own) {
        return None;
    }
    all.iter().filter(|it| it.reaches(address).is_some()).max_by_key(|it| it.reaches(address))
}

/// Whether this machine is on a network with an address, or cannot say.
#[must_use]
pub fn is_on_a_network(address: IpAddr) -> bool {
    interfaces().map_or(true, |all| interface(&all, address).is_some())
}

/// Whether nft(8) reads a name as it is.
fn has_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-@".contains(&it))
}

/// How long new ones have time to answer: twenty of these.
const MOMENT: Duration = Duration::from_millis(10);
const MOMENTS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Option<&str>) {
        let interface = |index, name: &str, addresses: &[(&str, u8)]| Interface {
            index,
            name: name.to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            addresses: addresses.iter().map(|(own, len)| (own.parse().unwrap(), *len)).collect(),
        };
        let all = [
            interface(2, "eth0", &[("10.0.0.1", 8), ("2001:db8::1", 64)]),
            interface(3, "eth1", &[("10.1.0.1", 16)]),
        ];
        let found = super::interface(&all, address.parse().unwrap());
        assert_eq!(found.map(|it| &*it.name), expected, "{address}");
    }

    #[test]
    fn the_smallest_network_has_an_address() {
        check("10.2.0.1", Some("eth0"));
        check("10.1.0.2", Some("eth1"));
        check("2001:db8::2", Some("eth0"));
        check("192.0.2.1", None);
        check("10.1.0.1", None); // this machine
    }
}
