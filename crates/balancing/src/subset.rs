//! Which backends an instance uses that is one of many.
//!
//! A hundred instances with connections to each of a thousand backends are too many connections and
//! too many probes. If each chose its backends at random, some would be chosen by many and others by
//! nobody. So all share a ring out among themselves, which takes no communication: each needs only
//! its own number, how many there are, and the same backends as the others.
//! Source: deterministic aperture, in the documentation of Finagle, a library by Twitter.

use crate::hash::stable_hash;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The part of the backends that one of many instances uses.
///
/// ~~~text
///   instance  0         1         2         3     of 4
///             |---------|---------|---------|---------|
///   backends  |--a--|--b--|--c--|--d--|--e--|--f--|--g--|     in the order of their hashes
///
///   instance 1, size 2:  arc from 1/4 to 3/4: the end of b, c, d, e, the beginning of f
/// ~~~
///
/// Backends lie on the ring by the hash of their addresses, each with a length in proportion to its
/// weight. Every instance uses an arc that begins at its own place and is as long as the distance of
/// one or several instances: of as few as have the wanted number of backends. So the arcs of all
/// instances cover each point equally often, and if each backend gets sessions by the part of it
/// that an arc covers, all of them get the same. One that comes or goes moves the ends of arcs by
/// its own length at most.
///
/// ```
/// let subset: balancing::Subset = "size=2,node=1,nodes=4".parse().unwrap();
/// let names: Vec<_> = (0..8).map(|it| format!("10.0.0.{it}:80")).collect();
/// let all: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
/// assert_eq!(subset.shares(&all).iter().filter(|it| **it == 100).count(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subset {
    size: u32,
    node: u32,
    nodes: u32,
}

/// Why a text is no [`Subset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a subset is like size=20,node=3,nodes=10: at least 20 backends, for the fourth of ten \
     instances, which have the numbers 0 to 9"
)]
pub struct InvalidSubset;

/// More instances than anybody has.
const NODES_MAX: u32 = 100_000;

impl Subset {
    /// The weight of a backend of weight 1 that is used as a whole. Others have parts of that.
    pub const WHOLE: u32 = 100;

    /// At least `size` backends, for instance `node` of `nodes`, if there can be such an instance.
    #[must_use]
    pub const fn new(size: u32, node: u32, nodes: u32) -> Option<Self> {
        if size > 0 && node < nodes && nodes <= NODES_MAX {
            Some(Self { size, node, nodes })
        } else {
            None
        }
    }

    /// How much of each of these backends, which have names and weights, this instance uses, in
    /// hundredths; zero for those that it does not use.
    #[must_use]
    pub fn shares(self, backends: &[(&str, u32)]) -> Vec<u32> {
        if !backends.is_empty() && backends.iter().all(|(_, weight)| *weight == 0) {
            // Policies that do not heed weights use them all the same.
            let alike: Vec<_> = backends.iter().map(|(name, _)| (*name, 1)).collect();
            return self.shares(&alike);
        }
        let count = backends.iter().filter(|(_, weight)| *weight > 0).count() as u64;
        let wanted = u64::from(self.size) * u64::from(self.nodes);
        let nodes = u128::from(self.nodes);
        let arcs = u128::from(wanted.div_ceil(count.max(1))).min(nodes);
        let mut order: Vec<_> = (0..backends.len()).collect();
        let name = |it: &usize| backends[*it].0;
        order.sort_by_cached_key(|it| (stable_hash(&[name(it).as_bytes()]), name(it)));
        // In units of which the whole ring has one for each weight and instance.
        let total: u128 = backends.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let (begin, ring) = (u128::from(self.node) * total, nodes * total);
        let end = begin + arcs * total;
        let mut shares = vec![0; backends.len()];
        let mut at = 0;
        for index in order {
            let length = u128::from(backends[index].1) * nodes;
            let common = |from: u128| (from + length).min(end).saturating_sub(from.max(begin));
            // An arc may go on at the beginning of the ring.
            let covered = common(at) + common(at + ring);
            let whole = u128::from(Self::WHOLE);
            if covered > 0 {
                shares[index] = ((covered * whole * 2 + length) / (length * 2)).max(1) as u32;
            }
            at += length;
        }
        shares
    }
}

impl fmt::Display for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size={},node={},nodes={}", self.size, self.node, self.nodes)
    }
}

impl FromStr for Subset {
    type Err = InvalidSubset;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut values = [None; 3];
        for word in text.split(',') {
            let (key, value) = word.split_once('=').ok_or(InvalidSubset)?;
            let place = ["size", "node", "nodes"].iter().position(|it| *it == key);
            let place = place.ok_or(InvalidSubset)?;
            let is_number = !value.is_empty() && value.bytes().all(|it| it.is_ascii_digit());
            let value: u32 = value.parse().ok().filter(|_| is_number).ok_or(InvalidSubset)?;
            if values[place].replace(value).is_some() {
                return Err(InvalidSubset);
            }
        }
        let [Some(size), Some(node), Some(nodes)] = values else { return Err(InvalidSubset) };
        Self::new(size, node, nodes).ok_or(InvalidSubset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use testing::{Rng, sweep};

    fn names(count: usize) -> Vec<String> {
        (0..count)
            .map(|it| format!("10.{}.{}.{}:80", it / 65536, it / 256 % 256, it % 256))
            .collect()
    }

    fn shares(subset: Subset, names: &[String], weight: impl Fn(usize) -> u32) -> Vec<u32> {
        let all = names.iter().enumerate().map(|(index, name)| (&**name, weight(index)));
        subset.shares(&all.collect::<Vec<_>>())
    }

    fn members(subset: Subset, names: &[String]) -> BTreeSet<String> {
        let shares = shares(subset, names, |_| 1);
        let used = names.iter().zip(shares).filter(|(_, share)| *share > 0);
        used.map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn texts() {
        let text = "size=20,node=3,nodes=10";
        assert_eq!(text.parse::<Subset>().unwrap().to_string(), text);
        assert_eq!("nodes=10,size=20,node=3".parse::<Subset>().unwrap().to_string(), text);
        for text in [
            "",
            "20",
            "size=20",
            "size=0,node=0,nodes=1",
            "size=1,node=1,nodes=1",
            "size=1,node=0,nodes=0",
            "size=1,node=0,nodes=100001",
            "size=1,node=+0,nodes=1",
            "size=1,size=1,node=0,nodes=1",
            "size=1,node=0,nodes=4294967296",
        ] {
            assert_eq!(text.parse::<Subset>(), Err(InvalidSubset), "{text}");
        }
    }

    #[test]
    fn all_instances_together_load_every_backend_alike() {
        sweep(300, |seed, _| {
            let mut rng = Rng::new(seed);
            let names = names(1 + rng.below(400));
            let (nodes, size) = (1 + rng.below(60) as u32, 1 + rng.below(30) as u32);
            let weights: Vec<_> = names.iter().map(|_| 1 + rng.below(3) as u32).collect();
            let mut loads = vec![0.0; names.len()];
            for node in 0..nodes {
                let subset = Subset::new(size, node, nodes).unwrap();
                let shares = shares(subset, &names, |index| weights[index]);
                let used = shares.iter().filter(|it| **it > 0).count();
                assert!(used > 0);
                let parts = shares.iter().zip(&weights).map(|(share, it)| f64::from(share * it));
                let parts: Vec<_> = parts.collect();
                let sum: f64 = parts.iter().sum();
                loads.iter_mut().zip(parts).for_each(|(load, part)| *load += part / sum);
            }
            let total: u32 = weights.iter().sum();
            for (load, weight) in loads.iter().zip(&weights) {
                let fair = f64::from(nodes) * f64::from(*weight) / f64::from(total);
                // Hundredths are rounded, at most at two ends of each arc that reaches it.
                assert!((load / fair - 1.0).abs() < 0.05, "{load} instead of {fair}");
            }
        });
    }

    #[test]
    fn every_instance_has_enough_and_not_many_more() {
        sweep(300, |seed, _| {
            let mut rng = Rng::new(seed);
            let names = names(1 + rng.below(400));
            let (nodes, size) = (1 + rng.below(60), 1 + rng.below(30));
            let subset = Subset::new(size as u32, rng.below(nodes) as u32, nodes as u32).unwrap();
            let used = members(subset, &names).len();
            assert!(used >= size.min(names.len()), "{used}");
            assert!(used <= size + names.len().div_ceil(nodes) + 2, "{used}");
        });
    }

    #[test]
    fn a_backend_that_comes_moves_few_others() {
        sweep(300, |seed, _| {
            let mut rng = Rng::new(seed);
            let nodes = 1 + rng.below(60) as u32;
            let size = 1 + rng.below(30) as u32;
            let count = 1 + rng.below(400);
            let (fewer, more) = (names(count), names(count + 1));
            let arcs = |count: usize| (u64::from(size * nodes)).div_ceil(count as u64);
            let node = rng.below(nodes as usize) as u32;
            let subset = Subset::new(size, node, nodes).unwrap();
            let [before, after] = [&fewer, &more].map(|names| members(subset, names));
            let gone = before.difference(&after).count();
            let came = after.difference(&before).count();
            if arcs(count) == arcs(count + 1) {
                assert!(gone + came <= 4, "{gone} gone, {came} came");
            } else {
                // The arc is shorter, and its beginning stays where it was.
                assert!(came <= 2, "{came} came");
            }
        });
    }

    #[test]
    fn the_order_is_the_same_in_every_version() {
        let subset = Subset::new(3, 1, 4).unwrap();
        let used: Vec<_> = members(subset, &names(12)).into_iter().collect();
        assert_eq!(used, ["10.0.0.10:80", "10.0.0.1:80", "10.0.0.2:80"]);
    }
}
