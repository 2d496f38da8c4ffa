//! An access list in a form that is fast to query.
//!
//! Two prefixes either contain one another or are disjoint. The prefixes of a family therefore
//! divide its addresses into steps, each with the first entry that matches there, and one search
//! among the starts of the steps finds it. Each mask that is not a prefix has a sorted table of its
//! own.

use super::{AccessEntry, Subject};
use crate::Country;
use std::net::IpAddr;

#[derive(Clone, Debug, Default)]
pub(super) struct Compiled {
    v4: Steps<u32>,
    v6: Steps<u128>,
    masks: Vec<Masked>,
    /// In order, each with the first entry that names it.
    countries: Vec<(Country, u32)>,
}

/// The entries with one IPv4 mask that is not a prefix.
#[derive(Clone, Debug)]
struct Masked {
    mask: u32,
    /// In order of address, each with its first entry.
    addresses: Vec<(u32, u32)>,
}

/// From each start to the next, the first entry that matches, or [`NONE`].
#[derive(Clone, Debug, Default)]
struct Steps<T> {
    starts: Vec<T>,
    entries: Vec<u32>,
}

/// The addresses from `first` to `last`, which an entry matches.
struct Range<T> {
    first: T,
    last: T,
    entry: u32,
}

/// Later than any entry.
const NONE: u32 = u32::MAX;

impl Compiled {
    pub fn new(entries: &[AccessEntry]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut masked, mut countries) = (Vec::new(), Vec::new());
        for (entry, number) in entries.iter().zip(0u32..NONE) {
            match entry.subject {
                Subject::V4 { address, mask } => {
                    let (address, mask) = (address.to_bits(), mask.to_bits());
                    if address & !mask != 0 {
                        // No address has these bits after masking.
                    } else if mask.count_ones() == mask.leading_ones() {
                        v4.push(Range { first: address, last: address | !mask, entry: number });
                    } else {
                        masked.push((mask, address, number));
                    }
                }
                Subject::V6 { address, prefix } => {
                    let first = address.to_bits();
                    let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    if prefix <= 128 && first & host == 0 {
                        v6.push(Range { first, last: first | host, entry: number });
                    }
                }
                Subject::Country(country) => countries.push((country, number)),
            }
        }
        countries.sort_unstable();
        countries.dedup_by_key(|&mut (country, _)| country);
        Self {
            v4: Steps::new(v4, |last| last.checked_add(1)),
            v6: Steps::new(v6, |last| last.checked_add(1)),
            masks: Masked::all(masked),
            countries,
        }
    }

    pub fn needs_country(&self) -> bool {
        !self.countries.is_empty()
    }

    /// The first entry that matches.
    pub fn first_match(&self, address: IpAddr, country: Option<Country>) -> Option<usize> {
        let by_address = match address {
            IpAddr::V4(address) => {
                let address = address.to_bits();
                let masked = self.masks.iter().filter_map(|masked| masked.find(address)).min();
                self.v4.find(address).min(masked.unwrap_or(NONE))
            }
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        };
        let by_country = country.and_then(|country| find(&self.countries, country));
        let first = by_address.min(by_country.unwrap_or(NONE));
        (first != NONE).then_some(first as usize)
    }
}

impl Masked {
    fn all(mut entries: Vec<(u32, u32, u32)>) -> Vec<Self> {
        entries.sort_unstable();
        entries.dedup_by_key(|&mut (mask, address, _)| (mask, address));
        let by_mask = entries.chunk_by(|one, other| one.0 == other.0);
        by_mask
            .map(|entries| Self {
                mask: entries[0].0,
                addresses: entries.iter().map(|&(_, address, entry)| (address, entry)).collect(),
            })
            .collect()
    }

    fn find(&self, address: u32) -> Option<u32> {
        find(&self.addresses, address & self.mask)
    }
}

fn find<T: Copy + Ord>(sorted: &[(T, u32)], key: T) -> Option<u32> {
    let place = sorted.binary_search_by_key(&key, |&(key, _)| key).ok()?;
    Some(sorted[place].1)
}

impl<T: Copy + Ord + Default> Steps<T> {
    /// `after` returns the address after another, if any.
    fn new(mut ranges: Vec<Range<T>>, after: impl Fn(T) -> Option<T>) -> Self {
        // If several begin at the same address, the widest comes first.
        ranges.sort_unstable_by(|one, other| {
            one.first.cmp(&other.first).then(other.last.cmp(&one.last))
        });
        let mut steps = Self::default();
        // The ranges that contain the current one, each with the first entry among it and those
        // that contain it.
        let mut around: Vec<(T, u32)> = Vec::new();
        let innermost = |around: &[(T, u32)]| around.last().map_or(NONE, |&(_, entry)| entry);
        for range in ranges {
            while let Some((last, _)) = around.pop_if(|&mut (last, _)| last < range.first) {
                // A range that ends before another begins has an address after it.
                steps.go_on(after(last).unwrap_or(last), innermost(&around));
            }
            let entry = range.entry.min(innermost(&around));
            around.push((range.last, entry));
            steps.go_on(range.first, entry);
        }
        while let Some((last, _)) = around.pop() {
            if let Some(start) = after(last) {
                steps.go_on(start, innermost(&around));
            }
        }
        steps.merge();
        steps
    }

    /// From `start` on, the entry is `entry`. This replaces an earlier step at `start`.
    fn go_on(&mut self, start: T, entry: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.entries.pop();
        }
        self.starts.push(start);
        self.entries.push(entry);
    }

    /// Removes steps that change nothing.
    fn merge(&mut self) {
        let mut kept = 0;
        for step in 0..self.starts.len() {
            let before = if kept == 0 { NONE } else { self.entries[kept - 1] };
            if self.entries[step] != before {
                self.starts[kept] = self.starts[step];
                self.entries[kept] = self.entries[step];
                kept += 1;
            }
        }
        self.starts.truncate(kept);
        self.entries.truncate(kept);
        self.starts.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// The first entry that matches, or [`NONE`].
    fn find(&self, address: T) -> u32 {
        match self.starts.partition_point(|&start| start <= address) {
            0 => NONE,
            next => self.entries[next - 1],
        }
    }
}
