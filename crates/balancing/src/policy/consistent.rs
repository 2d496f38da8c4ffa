//! The client's network selects the backend, and few clients move when backends come and go.

use super::{Choice, View};
use crate::Client;
use crate::hash::{mix, stable_hash};
use std::net::IpAddr;

/// Takes the backend in the table's entry for the client. If that cannot take the session, a few
/// other entries are tried, and then all backends ([`rendezvous`]).
///
/// All of this depends on nothing but the entry, so that the kernel can do the same with a table
/// ([`crate::Slots`]).
pub(super) fn maglev(view: &View<'_>) -> Option<Choice> {
    let plan = view.tier.planned();
    if plan.table.is_empty() {
        return None; // no backend has a weight
    }
    let slot = view.attempt.client().slot(plan.table.len());
    if !view.may_stand_in() {
        return take_below_bound(view, plan.table[slot] as usize, plan.weight);
    }
    plan.entries(slot)
        .find_map(|index| take_below_bound(view, index, plan.weight))
        .or_else(|| by_rank(view, mix(slot as u64)))
}

/// Takes the backend with the highest rank for the client ("highest random weight", Thaler and
/// Ravishankar 1998), among those that can take the session. Looks at all of them.
pub(super) fn rendezvous(view: &View<'_>) -> Option<Choice> {
    by_rank(view, key(view.attempt.client()))
}

fn by_rank(view: &View<'_>, key: u64) -> Option<Choice> {
    let members = &view.tier.planned().members;
    let first = |places: &mut dyn Iterator<Item = usize>| view.tier.planned().best(key, places);
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
