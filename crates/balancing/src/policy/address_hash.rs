//! Selects by the client's address, read as a number. Source: pen(1), `-h`.

use super::{Choice, View};
use crate::{Client, Policy};
use std::net::IpAddr;

/// Takes the backend at `number mod n`, counting backends in any state. If it is unavailable and
/// the failover scope allows, takes the next one in the circle.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    if let Some(last) = view.attempt.last_index() {
        return view.take_in_circle((last + 1) % len);
    }
    let with_port = view.tier.policy == Policy::AddressPortHash;
    view.take_from(number(view.attempt.client(), with_port) as usize % len)
}

/// The four bytes of an IPv4 address, the first one least significant; the last byte of an IPv6
/// address; zero for clients of Unix sockets.
fn number(client: &Client, with_port: bool) -> u32 {
    match client.plain_address() {
        None => 0,
        Some(IpAddr::V4(address)) => {
            let [high, low] = client.port.to_be_bytes();
            let port = if with_port { u32::from(high) + 256 * u32::from(low) } else { 0 };
            u32::from_le_bytes(address.octets()) ^ port
        }
        Some(IpAddr::V6(address)) => u32::from(address.octets()[15]),
    }
}
