//! An access list as ranges of addresses, for who knows no lists: the kernel.

use super::{AccessEntry, AccessList, Subject};
use crate::Client;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl AccessList {
    /// The ranges of permitted addresses, in order, of IPv6 or else IPv4; `None` if the list has rules
    /// about countries, or a mask that is not a prefix.
    #[must_use]
    pub fn permitted(&self, is_v6: bool) -> Option<Vec<(IpAddr, IpAddr)>> {
        let address = |bits: u128| match is_v6 {
            true => IpAddr::from(Ipv6Addr::from_bits(bits)),
            false => Ipv4Addr::from_bits(bits as u32).into(),
        };
        let last = if is_v6 { u128::MAX } else { u32::MAX.into() };
        let mut beginnings = vec![0];
        for (first, end) in self.entries.iter().map(range).collect::<Option<Vec<_>>>()? {
            if first.is_ipv6() == is_v6 {
                beginnings.push(bits(first));
                beginnings.extend(bits(end).checked_add(1).filter(|next| *next <= last));
            }
        }
        beginnings.sort_unstable();
        beginnings.dedup();
        let mut permitted: Vec<(u128, u128)> = Vec::new();
        for (index, &first) in beginnings.iter().enumerate() {
            let end = beginnings.get(index + 1).map_or(last, |next| next - 1);
            let client = Client { address: Some(address(first)), ..Client::default() };
            if !self.permits(&client) {
                continue;
            }
            match permitted.last_mut() {
                Some((_, before)) if *before + 1 == first => *before = end,
                _ => permitted.push((first, end)),
            }
        }
        Some(permitted.into_iter().map(|(first, end)| (address(first), address(end))).collect())
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The addresses that an entry is about; `None` if they are no range.
fn range(entry: &AccessEntry) -> Option<(IpAddr, IpAddr)> {
    match entry.subject {
        Subject::V4 { address, mask } => {
            let host = !mask.to_bits();
            let is_prefix = host & host.wrapping_add(1) == 0;
            let last = Ipv4Addr::from_bits(address.to_bits() | host);
            is_prefix.then(|| (address.into(), last.into()))
        }
        Subject::V6 { address, prefix } => {
            let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
            Some((address.into(), Ipv6Addr::from_bits(address.to_bits() | host).into()))
        }
        Subject::Country(_) => None,
    }
}
