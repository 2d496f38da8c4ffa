//! The client's network selects the backend, and few clients move when backends come and go.

use super::{Choice, View};
use crate::Client;
use crate::hash::{mix, stable_hash};
use std::net::IpAddr;

/// How often another entry of the table is tried.
const REHASHES: u64 = 3;

/// Takes the backend in the table's entry for the client. If that cannot take the session, a few
/// other entries are tried, and then all backends ([`rendezvous`]).
pub(super) fn maglev(view: &View<'_>) -> Option<Choice> {
    let plan = view.tier.planned();
    let len = plan.table.len() as u64;
    if len == 0 {
        return None; // no backend has a weight
    }
    let key = key(view.attempt.client());
    let entries = (0..=REHASHES).map(|nth| (mix(key.wrapping_add(nth)) % len) as usize);
    let mut places = entries.map(|entry| plan.table[entry] as usize);
    if !view.may_stand_in() {
        return places.next().and_then(|home| take_below_bound(view, home, plan.weight));
    }
    places
        .find_map(|index| take_below_bound(view, index, plan.weight))
        .or_else(|| by_rank(view, key))
}

/// Takes the backend with the highest rank for the client ("highest random weight", Thaler and
/// Ravishankar 1998), among those that can take the session. Looks at all of them.
pub(super) fn rendezvous(view: &View<'_>) -> Option<Choice> {
    by_rank(view, key(view.attempt.client()))
}

fn by_rank(view: &View<'_>, key: u64) -> Option<Choice> {
    let members = &view.tier.planned().members;
    let is_even = members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
    let rank = |index: usize| {
        let member = members[index];
        // In (0, 1]; the higher the weight, the closer to zero its logarithm comes.
        let uniform = ((mix(key ^ member.hash) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        if is_even { uniform } else { uniform.ln() / f64::from(member.weight) }
    };
    let first = |places: &mut dyn Iterator<Item = usize>| {
        let ranked = places.map(|index| (rank(index), index));
        ranked.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, index)| index)
    };
    if !view.may_stand_in() {
        let home = first(&mut (0..view.len()).filter(|&index| members[index].weight > 0))?;
        return take_below_bound(view, home, view.tier.planned().weight);
    }
    // Another worker may fill the best one between looking and taking: look again.
    for _ in 0..ROUNDS {
        let able = || (0..view.len()).filter(|&index| view.is_able(index));
        let (best, weight) = match view.tier.load_bound {
            None => (first(&mut able()), 0),
            Some(_) => {
                let weight = able().map(|index| u64::from(members[index].weight)).sum();
                let sessions = |index: usize| view.tier.backends[index].state.sessions();
                let is_below = |index: &usize| sessions(*index) < view.bound(*index, weight);
                (first(&mut able().filter(is_below)), weight)
            }
        };
        let Some(best) = best else { break };
        if let Some(choice) = take_below_bound(view, best, weight) {
            return Some(choice);
        }
    }
    // Some of the sessions there are began before they were counted, or the workers are too busy
    // filling places: better too many for one backend than nobody for this client.
    view.take(first(&mut (0..view.len()).filter(|&index| view.is_able(index)))?)
}

/// How often to look for a place that another worker does not fill meanwhile.
const ROUNDS: usize = 8;

fn take_below_bound(view: &View<'_>, index: usize, weight: u64) -> Option<Choice> {
    view.take_below(index, view.bound(index, weight))
}

/// What the client's address hashes to: the address of an IPv4 client, the first 64 bits of an IPv6
/// address, because a client can choose the others; the same for all clients of Unix sockets.
fn key(client: &Client) -> u64 {
    match client.plain_address() {
        None => 0,
        Some(IpAddr::V4(address)) => stable_hash(&[&address.octets()]),
        Some(IpAddr::V6(address)) => stable_hash(&[&address.octets()[..8]]),
    }
}
