//! A tier's choice written down as a table, for who cannot call a policy: the kernel.

use crate::hash::mix;
use crate::model::{FailoverScope, Policy};
use crate::tier::Tier;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;

/// Who takes the next session, as places in a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slots {
    /// One after the other, and then from the beginning.
    Turns(Vec<u32>),
    /// Any of them, all with the same probability.
    Random(Vec<u32>),
    /// The one in the client's [slot](crate::Client::slot).
    Networks(Vec<u32>),
    /// The one in the client's [`byte_slot`], with its port or without.
    Bytes {
        /// The places.
        places: Vec<u32>,
        /// Whether the port matters.
        with_port: bool,
    },
}

impl Slots {
    /// The table.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        match self {
            Self::Turns(places) | Self::Random(places) => places,
            Self::Networks(places) | Self::Bytes { places, .. } => places,
        }
    }
}

/// The slot of a client among 256: all bytes of its address, and of its port if that is given, combined
/// by exclusive or. Source: pen(1), direct server return.
#[must_use]
pub fn byte_slot(address: Ipv4Addr, port: Option<u16>) -> u8 {
    let bytes = address.octets().into_iter().chain(port.unwrap_or(0).to_be_bytes());
    bytes.fold(0, |slot, byte| slot ^ byte)
}

impl Policy {
    /// Whether [`Tier::slots`] can write down what it chooses.
    #[must_use]
    pub fn has_slots(self) -> bool {
        match self {
            Self::RoundRobin | Self::Rotation | Self::WeightedTurn | Self::Random => true,
            Self::Maglev | Self::Priority => true,
            Self::Hash | Self::AddressHash | Self::AddressPortHash | Self::Rendezvous => false,
            Self::LeastSessions | Self::Weighted | Self::LeastWeighted | Self::Two => false,
            Self::Fastest => false,
        }
    }

    /// Whether [`Tier::turns_by_sessions`] approximates what it chooses.
    #[must_use]
    pub fn has_turns_by_sessions(self) -> bool {
        matches!(self, Self::LeastSessions | Self::LeastWeighted | Self::Two)
    }
}

/// New sessions of a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// How many there have been so far.
    pub begun: u64,
    /// How many there will be until open ones are counted again.
    pub expected: u64,
}

impl Tier {
    /// What the policy chooses among the backends that are usable, given as their places; `None` if
    /// none of them would get a session, or if the policy is not one that
    /// [has slots](Policy::has_slots).
    ///
    /// Which backend a [network](Slots::Networks) gets is what [`crate::Pool::next_backend`] would
    /// say of the same backends.
    #[must_use]
    pub fn slots(&self, is_usable: impl Fn(usize) -> bool) -> Option<Slots> {
        // Asked once for each backend: there may be many more slots.
        let usable: Vec<bool> = (0..self.backends.len()).map(is_usable).collect();
        let is_usable = |place: usize| usable[place];
        let usable = || (0..self.backends.len() as u32).filter(|&place| is_usable(place as usize));
        let slots = match self.policy {
            Policy::RoundRobin | Policy::Rotation => Slots::Turns(usable().collect()),
            Policy::Random => Slots::Random(usable().collect()),
            Policy::WeightedTurn => Slots::Turns(self.turns(is_usable)),
            Policy::Priority => {
                let rank = |place: &u32| self.backends[*place as usize].priority;
                Slots::Turns(usable().min_by_key(rank).into_iter().collect())
            }
            Policy::Maglev => Slots::Networks(self.networks(&is_usable)?),
            _ => return None,
        };
        (!slots.places().is_empty()).then_some(slots)
    }

    /// The backends of the next sessions, if no open one ends before: each time the one of those that
    /// are usable, given as their places, that has the fewest sessions for its weight, one more
    /// included; equals take turns. `None` if there are none with a weight.
    ///
    /// After the last turn, the same turns come again, and would give a backend that had few sessions too
    /// many. So there are turns for twice as many sessions as are expected, and at least 256.
    #[must_use]
    pub fn turns_by_sessions(
        &self,
        is_usable: impl Fn(usize) -> bool,
        Arrivals { begun, expected }: Arrivals,
    ) -> Option<Slots> {
        let len = self.backends.len();
        let able = (0..len).filter(|&place| self.weight(place) > 0 && is_usable(place));
        let first = (begun % len.max(1) as u64) as usize;
        // Positive floating-point numbers are in the same order as their bits.
        let load = |place, sessions| (sessions + 1) as f64 / f64::from(self.weight(place));
        let next = |place, sessions| {
            let order = (place + len - first) % len;
            Reverse((load(place, sessions).to_bits(), order, place, sessions))
        };
        let sessions = |place: usize| u64::from(self.backends[place].state.all_sessions());
        let mut heap: BinaryHeap<_> = able.map(|place| next(place, sessions(place))).collect();
        let backends = heap.len() as u64;
        let wanted = expected.saturating_mul(2).max(TURNS_MIN).max(backends);
        let turns = wanted.min(TURNS_MAX.max(backends));
        let at_once = wanted.div_ceil(turns);
        let mut places = Vec::new();
        for _ in 0..turns {
            let Reverse((_, _, place, sessions)) = heap.pop()?;
            places.push(place as u32);
            heap.push(next(place, sessions + at_once));
        }
        (!places.is_empty()).then_some(Slots::Turns(places))
    }

    /// The backends of all [`byte_slot`]s, as many as the weight of each says among those that are
    /// usable, whatever the policy is; `None` if there are none. A backend without a weight has the
    /// weight 1.
    #[must_use]
    pub fn byte_slots(&self, with_port: bool, is_usable: impl Fn(usize) -> bool) -> Option<Slots> {
        let usable: Vec<_> = (0..self.backends.len()).filter(|&place| is_usable(place)).collect();
        let weight = |place: &usize| u64::from(self.backends[*place].weight.max(1));
        let mut weight_left: u64 = usable.iter().map(weight).sum();
        let mut order = (0..BYTE_SLOTS).map(|nth| nth * BYTE_STEP % BYTE_SLOTS);
        let mut places = vec![0; BYTE_SLOTS];
        for place in &usable {
            let share = order.len() as u64 * weight(place) / weight_left;
            weight_left -= weight(place);
            order.by_ref().take(share as usize).for_each(|slot| places[slot] = *place as u32);
        }
        (!usable.is_empty()).then_some(Slots::Bytes { places, with_port })
    }

    /// The turns, each of them taken by the next backend that is usable.
    fn turns(&self, is_usable: impl Fn(usize) -> bool) -> Vec<u32> {
        let turns = &self.planned().table;
        let is_usable = |place: &&u32| is_usable(**place as usize);
        let Some(mut next) = turns.iter().find(is_usable) else { return Vec::new() };
        let stand_ins = turns.iter().rev().map(|turn| {
            if is_usable(&turn) {
                next = turn;
            }
            *next
        });
        let mut all: Vec<_> = stand_ins.collect();
        all.reverse();
        all
    }

    fn networks(&self, is_usable: &impl Fn(usize) -> bool) -> Option<Vec<u32>> {
        let plan = self.planned();
        let has_weight = |place: usize| plan.members[place].weight > 0;
        let able = |place: &usize| has_weight(*place) && is_usable(*place);
        (0..plan.table.len())
            .map(|slot| {
                let found = plan.entries(slot).find(able);
                let by_rank =
                    || plan.best(mix(slot as u64), &mut (0..self.backends.len()).filter(able));
                match self.failover {
                    FailoverScope::WholeTier => found.or_else(by_rank),
                    _ => Some(plan.table[slot] as usize).filter(able),
                }
            })
            .map(|place| place.map(|place| place as u32))
            .collect()
    }
}

/// How many turns by sessions there are, unless there are more backends.
const TURNS_MIN: u64 = 256;
const TURNS_MAX: u64 = 1024;
const BYTE_SLOTS: usize = 256;
/// The slots are dealt out in this order: 0, 3, 6 and so on, beyond the last from the beginning.
const BYTE_STEP: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Backend, BackendState, Client, Pool};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;
    use terms::{Address, BackendId, Instant, Limit};

    fn tier(policy: Policy, weights: &[u32]) -> Tier {
        let backends = weights.iter().zip(1u64..).map(|(&weight, number)| {
            let address = Address::Ip(([10, 0, 0, number as u8], 80).into());
            let state = Arc::new(BackendState::new(1, crate::AdminState::Enabled, Limit::None));
            let name = address.to_string();
            let backend = Backend { weight, ..Backend::new(name, vec![address], state) };
            Arc::new(Backend { id: BackendId::new(number), priority: -(number as i32), ..backend })
        });
        Tier { policy, backends: backends.collect(), ..Tier::default() }.prepare(None)
    }

    #[track_caller]
    fn check(policy: Policy, weights: &[u32], down: &[usize], expected: &str) {
        let slots = tier(policy, weights).slots(|place| !down.contains(&place));
        let letters = slots.iter().flat_map(|it| it.places().to_vec());
        let letters: String = letters.map(|it| char::from(b'a' + it as u8)).collect();
        assert_eq!(letters, expected, "{policy:?} {weights:?} without {down:?}");
    }

    #[test]
    fn those_that_are_usable_take_the_turns() {
        check(Policy::RoundRobin, &[1, 1, 1], &[], "abc");
        check(Policy::RoundRobin, &[1, 1, 1], &[1], "ac");
        check(Policy::RoundRobin, &[1, 1], &[0, 1], "");
        check(Policy::WeightedTurn, &[5, 1, 1], &[], "aabacaa");
        check(Policy::WeightedTurn, &[5, 1, 1], &[0], "bbbccbb");
        check(Policy::WeightedTurn, &[5, 1, 0], &[0, 1], "");
        check(Policy::Random, &[1, 1, 1], &[2], "ab");
        check(Policy::Priority, &[1, 1, 1], &[2], "b");
        check(Policy::LeastSessions, &[1, 1, 1], &[], "");
        check(Policy::Maglev, &[0, 1], &[1], "");
    }

    #[track_caller]
    fn check_sessions(
        (policy, weights): (Policy, &[u32]),
        open: &[u32],
        begun: u64,
        first: &str,
        counts: &[usize],
    ) {
        let tier = tier(policy, weights);
        for (backend, sessions) in tier.backends.iter().zip(open) {
            backend.state.set_forwarded(*sessions);
        }
        let arrivals = Arrivals { begun, expected: 0 };
        let slots = tier.turns_by_sessions(|place| open[place] < 9000, arrivals);
        let slots = slots.as_ref().map(Slots::places).unwrap_or_default();
        let letters = slots.iter().take(first.len()).map(|it| char::from(b'a' + *it as u8));
        assert_eq!(letters.collect::<String>(), first, "{policy:?} {weights:?} with {open:?}");
        let count = |place| slots.iter().filter(|it| **it == place).count();
        let found: Vec<_> = (0..weights.len() as u32).map(count).collect();
        assert_eq!(found, counts, "{policy:?} {weights:?} with {open:?}");
    }

    /// 9000 sessions mean that the backend is down.
    #[test]
    fn those_with_the_fewest_sessions_have_the_next_turns() {
        let least = (Policy::LeastSessions, &[1, 9, 0][..]);
        check_sessions(least, &[0, 0, 0], 0, "abcabc", &[86, 85, 85]);
        check_sessions(least, &[0, 0, 0], 4, "bcabca", &[85, 86, 85]);
        check_sessions(least, &[2, 0, 1], 0, "bbcabcabc", &[85, 86, 85]);
        check_sessions(least, &[1000, 0, 900], 0, "bbbbbbbbb", &[0, 256, 0]);
        check_sessions(least, &[2, 9000, 1], 2, "ccaca", &[127, 0, 129]);
        check_sessions(least, &[9000, 9000, 9000], 0, "", &[0, 0, 0]);
        let weighted = (Policy::LeastWeighted, &[1, 3, 0][..]);
        check_sessions(weighted, &[0, 0, 0], 0, "bbabbbabbba", &[64, 192, 0]);
        check_sessions(weighted, &[0, 9, 0], 0, "aaabbabbba", &[66, 190, 0]);
        check_sessions(weighted, &[9000, 9000, 0], 0, "", &[0, 0, 0]);
        check_sessions((Policy::Two, &[1, 1]), &[1, 0], 0, "bab", &[128, 128]);
        check_sessions((Policy::Two, &[]), &[], 0, "", &[]);
    }

    /// A table stands for more sessions than it has turns.
    #[test]
    fn many_new_sessions_make_all_backends_equal() {
        let tier = tier(Policy::LeastSessions, &[1; 3]);
        tier.backends[0].state.set_forwarded(30_000);
        let arrivals = Arrivals { begun: 0, expected: 50_000 };
        let Some(slots) = tier.turns_by_sessions(|_| true, arrivals) else { panic!("all can") };
        assert_eq!(slots.places().len() as u64, TURNS_MAX);
        let at_once = (2 * arrivals.expected).div_ceil(TURNS_MAX);
        let count = |place| slots.places().iter().filter(|it| **it == place).count() as u64;
        let sums = [30_000 + count(0) * at_once, count(1) * at_once, count(2) * at_once];
        assert!(sums.iter().all(|sum| sum.abs_diff(sums[0]) <= 2 * at_once), "{sums:?}");
    }

    #[track_caller]
    fn check_bytes(weights: &[u32], down: &[usize], first: &str, counts: &[usize]) {
        let slots =
            tier(Policy::Rotation, weights).byte_slots(false, |place| !down.contains(&place));
        let slots = slots.as_ref().map(Slots::places).unwrap_or_default();
        let letters = slots.iter().map(|it| char::from(b'a' + *it as u8));
        assert_eq!(letters.take(12).collect::<String>(), first, "{weights:?} without {down:?}");
        let count = |place| slots.iter().filter(|it| **it == place).count();
        let found: Vec<_> = (0..weights.len() as u32).map(count).collect();
        assert_eq!(found, counts, "{weights:?} without {down:?}");
    }

    /// What pen 0.34.1 does.
    #[test]
    fn slots_by_bytes_are_dealt_out_in_threes() {
        check_bytes(&[0, 0], &[], "abaabaabaaba", &[128, 128]);
        check_bytes(&[1, 1, 1], &[], "acbacbacbacb", &[85, 85, 86]);
        check_bytes(&[3, 1], &[], "aaaaaaaaaaaa", &[192, 64]);
        check_bytes(&[3, 1, 4], &[0], "bccbccbccbcc", &[0, 51, 205]);
        check_bytes(&[1; 300], &(1..300).collect::<Vec<_>>(), "aaaaaaaaaaaa", &{
            let mut counts = [0; 300];
            counts[0] = 256;
            counts
        });
        check_bytes(&[1], &[0], "", &[0]);
    }

    #[test]
    fn all_bytes_of_a_client_make_its_slot() {
        assert_eq!(byte_slot([10, 1, 2, 3].into(), None), 10 ^ 1 ^ 2 ^ 3);
        assert_eq!(byte_slot([10, 1, 2, 3].into(), Some(0x1234)), 10 ^ 1 ^ 2 ^ 3 ^ 0x12 ^ 0x34);
    }

    /// Recomputed by the kernel in `cli/tests/native/kernel.rs`.
    #[test]
    fn a_network_gets_what_the_pool_would_choose() {
        for (weights, down) in [
            (vec![1; 5], vec![]),
            (vec![1; 5], vec![0, 3]),
            (vec![3, 1, 0, 2, 1, 1, 1, 9], vec![0, 1, 3, 7]),
        ] {
            let tier = tier(Policy::Maglev, &weights);
            for &place in &down {
                tier.backends[place].state.set_admin(crate::AdminState::Disabled);
            }
            let Some(Slots::Networks(slots)) = tier.slots(|place| !down.contains(&place)) else {
                panic!("maglev goes by networks");
            };
            let pool = Pool { tiers: vec![tier], ..Pool::default() };
            for number in 0..20_000u32 {
                let v4 = IpAddr::from(Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761)));
                let v6 = Ipv6Addr::from_bits(u128::from(number).wrapping_mul(1 << 67 | 12_345));
                for address in [v4, v6.into()] {
                    let client = Client { address: Some(address), ..Client::default() };
                    let mut attempt = Attempt::new(client, 0);
                    let lease = pool.next_backend(&mut attempt, Instant::ZERO).unwrap();
                    let place = slots[client.slot(slots.len())];
                    assert_eq!(
                        lease.backend().id,
                        BackendId::new(u64::from(place) + 1),
                        "{address}"
                    );
                }
            }
        }
    }
}
