//! A tarpit: addresses at which every connection seems to begin, and never goes on.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The addresses of a tarpit. This machine answers for them (ARP), and to the first packet of a
/// connection to any port, with a window of zero; nothing else is answered, and nothing is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pit(Vec<(Ipv4Addr, Ipv4Addr)>);

impl Pit {
    /// These ranges, each with its first and last address, in order, without `spared` ones; `None` if
    /// nothing is left.
    #[must_use]
    pub fn new(ranges: &[(Ipv4Addr, Ipv4Addr)], spared: &[Ipv4Addr]) -> Option<Self> {
        let mut spared: Vec<_> = spared.iter().map(|it| u64::from(it.to_bits())).collect();
        spared.sort_unstable();
        let mut left = Vec::new();
        for (first, last) in ranges {
            let (mut first, last) = (u64::from(first.to_bits()), u64::from(last.to_bits()));
            for &address in &spared {
                if (first..=last).contains(&address) {
                    if first < address {
                        left.push((first, address - 1));
                    }
                    first = address + 1;
                }
            }
            if first <= last {
                left.push((first, last));
            }
        }
        let address = |bits| Ipv4Addr::from_bits(bits as u32);
        let left: Vec<_> = left.iter().map(|(from, to)| (address(*from), address(*to))).collect();
        (!left.is_empty()).then_some(Self(left))
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[(Ipv4Addr, Ipv4Addr)] {
        &self.0
    }

    /// The same as networks, each with the length of its prefix.
    #[must_use]
    pub fn networks(&self) -> Vec<(Ipv4Addr, u8)> {
        networks(&self.0)
    }
}

/// Ranges of addresses as networks, each with the length of its prefix.
#[must_use]
pub fn networks(ranges: &[(Ipv4Addr, Ipv4Addr)]) -> Vec<(Ipv4Addr, u8)> {
    let mut networks = Vec::new();
    for (first, last) in ranges {
        let (mut first, last) = (u64::from(first.to_bits()), u64::from(last.to_bits()));
        while first <= last {
            // The largest that begins here and is not too large.
            let aligned = first.trailing_zeros().min(32);
            let fits = (last - first + 1).ilog2();
            let bits = aligned.min(fits);
            networks.push((Ipv4Addr::from_bits(first as u32), (32 - bits) as u8));
            first += 1 << bits;
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> (Ipv4Addr, Ipv4Addr) {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (first.parse().unwrap(), last.parse().unwrap())
    }

    #[track_caller]
    fn check(ranges: &[&str], spared: &[&str], expected: &str) {
        let ranges: Vec<_> = ranges.iter().map(|it| range(it)).collect();
        let spared: Vec<_> = spared.iter().map(|it| it.parse().unwrap()).collect();
        let pit = Pit::new(&ranges, &spared);
        let networks = pit.iter().flat_map(Pit::networks);
        let text: Vec<_> = networks.map(|(address, len)| format!("{address}/{len}")).collect();
        assert_eq!(text.join(" "), expected);
    }

    #[test]
    fn what_is_spared_is_no_part_of_the_networks() {
        check(&["10.0.0.0-10.0.0.255"], &[], "10.0.0.0/24");
        check(
            &["10.0.0.1-10.0.0.6", "10.0.0.9"],
            &[],
            "10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32 10.0.0.9/32",
        );
        check(
            &["10.0.0.0-10.0.0.7"],
            &["10.0.0.3", "10.0.0.0", "10.1.0.0"],
            "10.0.0.1/32 10.0.0.2/32 10.0.0.4/30",
        );
        check(&["10.0.0.1"], &["10.0.0.1"], "");
        check(&["0.0.0.0-255.255.255.255"], &[], "0.0.0.0/0");
        check(&["255.255.255.254-255.255.255.255"], &["255.255.255.255"], "255.255.255.254/32");
    }
}
