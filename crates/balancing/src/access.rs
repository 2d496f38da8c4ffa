//! Access lists: which clients may.

use crate::{Client, Country};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An ordered list of entries. The first that matches decides; if none does, the opposite of the
/// last entry's verdict holds; an empty list permits. Clients of Unix sockets are always
/// permitted. Source: pen(1), `acl`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    entries: Vec<AccessEntry>,
}

/// One entry of an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// What a match means.
    pub verdict: Verdict,
    /// Who matches.
    pub subject: Subject,
}

/// What an access list says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Permit,
    /// It may not.
    Deny,
}

/// Whom an entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// IPv4 clients with `client & mask == address`, so none if the address has bits that the
    /// mask has not.
    V4 {
        /// The address.
        address: Ipv4Addr,
        /// The mask, which need not be a prefix.
        mask: Ipv4Addr,
    },
    /// IPv6 clients that agree with the address in the first `prefix` bits; none if the address
    /// has later bits.
    V6 {
        /// The address.
        address: Ipv6Addr,
        /// Bits, at most 128.
        prefix: u8,
    },
    /// Clients whose address is registered in this country.
    Country(Country),
}

impl AccessList {
    /// A list of these entries.
    #[must_use]
    pub fn new(entries: Vec<AccessEntry>) -> Self {
        Self { entries }
    }

    /// A list that denies everyone but clients of Unix sockets.
    #[must_use]
    pub fn nobody() -> Self {
        let deny = |subject| AccessEntry { verdict: Verdict::Deny, subject };
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        Self::new(vec![
            deny(Subject::V4 { address: v4, mask: v4 }),
            deny(Subject::V6 { address: v6, prefix: 0 }),
        ])
    }

    /// The entries in order.
    #[must_use]
    pub fn entries(&self) -> &[AccessEntry] {
        &self.entries
    }

    /// Whether a client's country matters.
    #[must_use]
    pub fn needs_country(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.subject, Subject::Country(_)))
    }

    /// Whether this client may.
    #[must_use]
    pub fn permits(&self, client: &Client) -> bool {
        let Some(address) = client.plain_address() else { return true };
        let Some(last) = self.entries.last() else { return true };
        let matching = |entry: &&AccessEntry| match (entry.subject, address) {
            (Subject::V4 { address, mask }, IpAddr::V4(client)) => client & mask == address,
            (Subject::V6 { address, prefix }, IpAddr::V6(client)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                client.to_bits() & mask == address.to_bits()
            }
            (Subject::Country(country), _) => client.country == Some(country),
            _ => false,
        };
        match self.entries.iter().find(matching) {
            Some(entry) => entry.verdict == Verdict::Permit,
            None => last.verdict == Verdict::Deny,
        }
    }
}
