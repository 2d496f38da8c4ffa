//! What policies compute about the backends of a tier before the first session.
//!
//! A plan depends on names and weights only. It outlives snapshots in which those are the same, so
//! that neither a command nor a failure has it computed again.

mod maglev;
mod schedule;

use crate::backend::Backend;
use crate::hash::{mix, stable_hash};
use crate::model::Policy;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The plan of a tier: computed beforehand by [`crate::Tier::prepare`], or else when a session first
/// needs it.
#[derive(Clone, Debug, Default)]
pub struct Plan(OnceLock<Arc<Planned>>);

/// What a plan holds.
#[derive(Debug)]
pub(crate) struct Planned {
    policy: Policy,
    /// Of each backend, in their order.
    pub members: Box<[Member]>,
    /// The sum of all weights.
    pub weight: u64,
    /// Places of backends: the turns of `weighted-turn`, or the table of `maglev`.
    pub table: Box<[u32]>,
}

/// What a plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The hash of its name, the same in every process that has a backend of this name.
    pub hash: u64,
    pub weight: u32,
}

impl Plan {
    /// The plan for these backends, which is `running` if that is for the same ones.
    pub(crate) fn of(policy: Policy, backends: &[Arc<Backend>], running: Option<&Self>) -> Self {
        let members = members(backends);
        let running = running.and_then(|it| it.0.get());
        let same = running.filter(|it| it.policy == policy && it.members == members);
        let planned = same.map(Arc::clone);
        Self(OnceLock::from(planned.unwrap_or_else(|| Arc::new(Planned::new(policy, members)))))
    }

    pub(crate) fn get(&self, policy: Policy, backends: &[Arc<Backend>]) -> &Planned {
        self.0.get_or_init(|| Arc::new(Planned::new(policy, members(backends))))
    }
}

impl Planned {
    fn new(policy: Policy, members: Box<[Member]>) -> Self {
        let weights: Vec<_> = members.iter().map(|it| it.weight).collect();
        let turns = || schedule::turns(&weights);
        let table = match policy {
            Policy::WeightedTurn => turns(),
            Policy::Maglev => maglev::table(&members, &turns()),
            _ => Vec::new(),
        };
        let weight = weights.into_iter().map(u64::from).sum();
        Self { policy, members, weight, table: table.into() }
    }
}

impl Planned {
    /// The places to try for an entry of the table, in order: its own, and those of a few others.
    pub(crate) fn entries(&self, slot: usize) -> impl Iterator<Item = usize> {
        let len = self.table.len();
        let others =
            (1..=REHASHES).map(move |nth| mix((slot as u64).wrapping_add(nth << 32)) % len as u64);
        std::iter::once(slot as u64).chain(others).map(|entry| self.table[entry as usize] as usize)
    }

    /// The place with the highest rank for a key (rendezvous hashing).
    pub(crate) fn best(&self, key: u64, places: &mut dyn Iterator<Item = usize>) -> Option<usize> {
        let is_even = self.members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let rank = |index: usize| {
            let member = self.members[index];
            // In (0, 1]; the higher the weight, the closer to zero its logarithm comes.
            let uniform = ((mix(key ^ member.hash) >> 11) + 1) as f64 / (1u64 << 53) as f64;
            if is_even { uniform } else { uniform.ln() / f64::from(member.weight) }
        };
        let ranked = places.map(|index| (rank(index), index));
        ranked.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, index)| index)
    }
}

/// How often another entry of the table is tried.
const REHASHES: u64 = 3;

fn members(backends: &[Arc<Backend>]) -> Box<[Member]> {
    // Two backends of the same name have to differ.
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let members = backends.iter().map(|backend| {
        let (name, weight) = (&*backend.name, backend.weight);
        let nth = seen.entry(name).or_default();
        let hash = stable_hash(&[name.as_bytes(), &nth.to_le_bytes()]);
        *nth += 1;
        Member { hash, weight }
    });
    members.collect()
}
