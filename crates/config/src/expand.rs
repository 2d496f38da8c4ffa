//! The backends in the place of the names that stand for several.
//!
//! A configuration as given has such a name ([`Discovery`]) in the place of a backend. What runs has
//! the backends instead, so that they come and go as backends of a reload do.

use crate::{Answers, Backend, Config, Discovery, Endpoint, Host, Pool, Record, Tier};
use balancing::Subset;
use std::collections::{BTreeMap, BTreeSet};
use terms::BackendTls;

#[cfg(test)]
mod tests;

impl Config {
    /// The names in it that stand for backends.
    pub fn discoveries(&self) -> impl Iterator<Item = &Discovery> {
        let backends = self.pools.iter().flat_map(Pool::backends);
        backends.filter_map(|(_, _, backend)| backend.endpoint.discovery())
    }

    /// This configuration with the backends that the names in it stand for. None are known for
    /// a name without an answer.
    ///
    /// Each has the settings of the name's place. The priorities of SRV records make tiers of their
    /// own, directly after the place's tier, and multiply its weight by theirs. An address that the
    /// pool has already is left out. Of a pool with a [`Subset`], the weights are in hundredths.
    #[must_use]
    pub fn expand(&self, answers: &Answers) -> Self {
        let mut config = self.clone();
        config.pools.iter_mut().for_each(|pool| pool.expand(answers));
        config
    }
}

impl Pool {
    fn expand(&mut self, answers: &Answers) {
        if self.backends().all(|(_, _, it)| it.endpoint.discovery().is_none()) {
            return;
        }
        let endpoints = self.backends().map(|(_, _, it)| it.endpoint.clone());
        let mut taken: BTreeSet<_> =
            endpoints.filter(|endpoint| endpoint.discovery().is_none()).collect();
        for Tier { policy, backends } in std::mem::take(&mut self.tiers) {
            let mut ranks: BTreeMap<u16, Vec<Backend>> = BTreeMap::new();
            let mut plain = Vec::new();
            for backend in backends {
                let Some(discovery) = backend.endpoint.discovery() else {
                    let weight = backend.weight.saturating_mul(self.whole());
                    plain.push(Backend { weight, ..backend });
                    continue;
                };
                let answer = answers.get(&discovery.to_string());
                let mut members: BTreeMap<u16, Vec<Backend>> = BTreeMap::new();
                for record in answer.iter().flat_map(|it| &it.records) {
                    let member = self.member(&backend, discovery, record);
                    if taken.insert(member.endpoint.clone()) {
                        members.entry(record.priority).or_default().push(member);
                    }
                }
                for (rank, members) in members {
                    let members = self.part_of(members);
                    match discovery {
                        Discovery::Dns { .. } => plain.extend(members),
                        Discovery::Srv { .. } => ranks.entry(rank).or_default().extend(members),
                    }
                }
            }
            let mut ranks = ranks.into_values();
            plain.extend(ranks.next().into_iter().flatten());
            let tiers = std::iter::once(plain).chain(ranks);
            self.tiers.extend(tiers.map(|backends| Tier { policy, backends }));
        }
    }

    /// What a weight of 1 becomes.
    fn whole(&self) -> u32 {
        self.subset.map_or(1, |_| Subset::WHOLE)
    }

    /// The backends of one name and priority that this instance uses, with weights by how much it
    /// uses them.
    fn part_of(&self, members: Vec<Backend>) -> Vec<Backend> {
        let Some(subset) = self.subset else { return members };
        let names: Vec<_> = members.iter().map(|it| it.endpoint.to_string()).collect();
        let all = names.iter().zip(&members).map(|(name, it)| (&**name, it.weight));
        let shares = subset.shares(&all.collect::<Vec<_>>());
        let used = members.into_iter().zip(shares).filter(|(_, share)| *share > 0);
        let weighed = |(it, share): (Backend, u32)| {
            let weight = it.weight.saturating_mul(share);
            Backend { weight, ..it }
        };
        used.map(weighed).collect()
    }

    /// One of the backends that a name stands for.
    fn member(&self, place: &Backend, discovery: &Discovery, record: &Record) -> Backend {
        let (host, port) = (Host::Address(record.address.ip()), record.address.port());
        let weight = match discovery {
            Discovery::Dns { .. } => place.weight,
            // Zero is for a server that is rarely wanted, not for one that never is.
            Discovery::Srv { .. } => place.weight.saturating_mul(record.weight.max(1).into()),
        };
        let is_plain = place.tls.unwrap_or(self.tls.mode) == BackendTls::Off;
        let certified = || discovery.certified().to_owned();
        let named = place.tls_name.as_ref().or(self.tls.name.as_ref());
        Backend {
            endpoint: Endpoint::Tcp { host, port },
            weight,
            tls_name: match named {
                None if !is_plain => Some(certified()),
                _ => place.tls_name.clone(),
            },
            ..place.clone()
        }
    }
}
