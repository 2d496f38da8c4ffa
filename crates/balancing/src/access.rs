//! Access lists: which clients are permitted.
//!
//! A list is written as entries in order, and queried in a [`Compiled`] form that does not visit
//! each entry.

mod compiled;
mod ranges;

use crate::{Client, Country};
use compiled::Compiled;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

/// An ordered list of entries. The first match decides; without one, the opposite of the last
/// entry's verdict applies. An empty list permits everyone. Clients of Unix sockets are always
/// permitted.
///
/// A lookup costs about the same for ten entries as for a hundred thousand, except that each
/// different IPv4 mask that is not a prefix adds a search. Source: pen(1), `acl`.
#[derive(Clone, Debug, Default)]
pub struct AccessList {
    entries: Vec<AccessEntry>,
    compiled: Compiled,
}

/// One entry of an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// The verdict for clients that match.
    pub verdict: Verdict,
    /// Which clients match.
    pub subject: Subject,
}

/// What an access list says about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The client is permitted.
    Permit,
    /// The client is denied.
    Deny,
}

/// What an access list says about a client, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// What decided.
    pub because: Because,
}

/// What decides about a client in an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The list is empty.
    NoEntries,
    /// The client came through a Unix socket.
    Unix,
    /// This entry is the first that matches, counted from zero.
    Entry(usize),
    /// No entry matches, so the opposite of the last one's verdict applies.
    NoMatch,
}

impl Verdict {
    fn opposite(self) -> Self {
        match self {
            Self::Permit => Self::Deny,
            Self::Deny => Self::Permit,
        }
    }
}

/// The clients that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// IPv4 clients with `client & mask == address`: none if the address has bits outside the mask.
    V4 {
        /// The address.
        address: Ipv4Addr,
        /// The mask, which need not be a prefix.
        mask: Ipv4Addr,
    },
    /// IPv6 clients that agree with the address in the first `prefix` bits: none if the address has
    /// bits after them.
    V6 {
        /// The address.
        address: Ipv6Addr,
        /// The number of bits. With more than 128, nobody matches.
        prefix: u8,
    },
    /// Clients whose address is registered in this country.
    Country(Country),
}

impl Subject {
    /// The clients of an IPv6 network. IPv4 clients are known by their IPv4 address even if an IPv6
    /// socket accepts them, so a network of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) is the
    /// IPv4 network that it maps (`10.0.0.0/8`).
    #[must_use]
    pub fn v6(address: Ipv6Addr, prefix: u8) -> Self {
        match address.to_ipv4_mapped() {
            Some(address) if (MAPPED_BITS..=128).contains(&prefix) => {
                let mask = u32::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self::V4 { address, mask: Ipv4Addr::from_bits(mask) }
            }
            _ => Self::V6 { address, prefix },
        }
    }
}

/// Bits that all IPv4-mapped addresses have in common.
const MAPPED_BITS: u8 = 96;

impl AccessList {
    /// A list of these entries.
    #[must_use]
    pub fn new(entries: Vec<AccessEntry>) -> Self {
        let compiled = Compiled::new(&entries);
        Self { entries, compiled }
    }

    /// The list that permits everyone. All backends without a list of their own share it: choosing
    /// reads it, and a list that is already in the cache costs nothing.
    #[must_use]
    pub fn everyone() -> Arc<Self> {
        static EVERYONE: LazyLock<Arc<AccessList>> = LazyLock::new(Arc::default);
        Arc::clone(&EVERYONE)
    }

    /// A list that denies everyone except clients of Unix sockets.
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

    /// Whether the list has rules about countries.
    #[must_use]
    pub fn needs_country(&self) -> bool {
        self.compiled.needs_country()
    }

    /// Whether this client is permitted.
    #[must_use]
    #[inline]
    pub fn permits(&self, client: &Client) -> bool {
        // Most lists are empty, and every session queries two.
        self.entries.is_empty() || self.is_permitted(client)
    }

    fn is_permitted(&self, client: &Client) -> bool {
        self.decide(client).verdict == Verdict::Permit
    }

    /// What the list says about this client, and which entry says so.
    #[must_use]
    pub fn decide(&self, client: &Client) -> Decision {
        let permit = |because| Decision { verdict: Verdict::Permit, because };
        let Some(last) = self.entries.last() else { return permit(Because::NoEntries) };
        let Some(address) = client.plain_address() else { return permit(Because::Unix) };
        match self.compiled.first_match(address, client.country) {
            Some(index) => {
                Decision { verdict: self.entries[index].verdict, because: Because::Entry(index) }
            }
            None => Decision { verdict: last.verdict.opposite(), because: Because::NoMatch },
        }
    }
}

impl PartialEq for AccessList {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for AccessList {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    /// One entry after the other, as the description has it.
    fn naive(entries: &[AccessEntry], client: &Client) -> bool {
        let Some(address) = client.plain_address() else { return true };
        let Some(last) = entries.last() else { return true };
        let matches = |entry: &&AccessEntry| match (entry.subject, address) {
            (Subject::V4 { address, mask }, IpAddr::V4(client)) => client & mask == address,
            (Subject::V6 { address, prefix }, IpAddr::V6(client)) if prefix <= 128 => {
                let bits = |address: Ipv6Addr| format!("{:0128b}", address.to_bits());
                let prefix = usize::from(prefix);
                bits(client)[..prefix] == bits(address)[..prefix]
                    && !bits(address)[prefix..].contains('1')
            }
            (Subject::Country(country), _) => client.country == Some(country),
            _ => false,
        };
        match entries.iter().find(matches) {
            Some(entry) => entry.verdict == Verdict::Permit,
            None => last.verdict == Verdict::Deny,
        }
    }

    /// Few different values, so that entries nest, repeat and meet.
    fn word() -> impl Strategy<Value = u32> {
        prop_oneof![
            0u32..20,
            (0u32..16).prop_map(|top| top << 28),
            (0u32..33, any::<u32>())
                .prop_map(|(bits, word)| word & u32::MAX.checked_shl(32 - bits).unwrap_or(0)),
            Just(u32::MAX),
        ]
    }

    fn wide() -> impl Strategy<Value = u128> {
        prop_oneof![
            0u128..20,
            (0u128..16).prop_map(|top| top << 124),
            (word(), word()).prop_map(|(high, low)| u128::from(high) << 96 | u128::from(low)),
            Just(u128::MAX),
        ]
    }

    fn country() -> impl Strategy<Value = Country> {
        (b'A'..b'D').prop_map(|letter| Country([letter, b'X']))
    }

    fn subject() -> impl Strategy<Value = Subject> {
        let v4 = |address, mask| Subject::V4 {
            address: Ipv4Addr::from_bits(address),
            mask: Ipv4Addr::from_bits(mask),
        };
        let fits = move |(address, bits): (u32, u32)| {
            let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
            v4(address & mask, mask)
        };
        let v6 = |address, prefix| Subject::V6 { address: Ipv6Addr::from_bits(address), prefix };
        let fits_v6 = move |(address, bits): (u128, u32)| {
            let mask = u128::MAX.checked_shl(bits).unwrap_or(0);
            v6(address & mask, 128 - bits as u8)
        };
        prop_oneof![
            4 => (word(), 0u32..33).prop_map(fits),
            2 => (word(), word()).prop_map(move |(address, mask)| v4(address & mask, mask)),
            1 => (word(), word()).prop_map(move |(address, mask)| v4(address, mask)),
            4 => (wide(), 0u32..129).prop_map(fits_v6),
            1 => (wide(), 0u8..140).prop_map(move |(address, prefix)| v6(address, prefix)),
            1 => country().prop_map(Subject::Country),
        ]
    }

    fn entry() -> impl Strategy<Value = AccessEntry> {
        let verdict = prop_oneof![Just(Verdict::Permit), Just(Verdict::Deny)];
        (verdict, subject()).prop_map(|(verdict, subject)| AccessEntry { verdict, subject })
    }

    fn client() -> impl Strategy<Value = Client> {
        let address = prop_oneof![
            5 => word().prop_map(|bits| Some(Ipv4Addr::from_bits(bits).into())),
            1 => word().prop_map(|bits| Some(Ipv4Addr::from_bits(bits).to_ipv6_mapped().into())),
            5 => wide().prop_map(|bits| Some(Ipv6Addr::from_bits(bits).into())),
            1 => Just(None),
        ];
        let country = proptest::option::of(country());
        (address, country).prop_map(|(address, country)| Client { address, country, port: 0 })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn says_what_going_through_the_entries_says(
            entries in proptest::collection::vec(entry(), 0..25),
            clients in proptest::collection::vec(client(), 1..40),
        ) {
            let list = AccessList::new(entries.clone());
            let ranges = [false, true].map(|is_v6| list.permitted(is_v6));
            for client in clients {
                let naive = naive(&entries, &client);
                if let (Some(address), [Some(v4), Some(v6)]) = (client.plain_address(), &ranges) {
                    let is_within = |(first, last): &(_, _)| *first <= address && address <= *last;
                    let ranges = if address.is_ipv6() { v6 } else { v4 };
                    prop_assert_eq!(ranges.iter().any(is_within), naive, "{:?}", ranges);
                }
                prop_assert_eq!(list.permits(&client), naive, "{:?} {:?}", client, entries);
            }
            // Where ranges begin and end is where a mistake would be.
            for entry in &entries {
                let near = |by: i8| match entry.subject {
                    Subject::V4 { address, mask } => {
                        let last = address.to_bits() | !mask.to_bits();
                        let edge = if by < 0 { address.to_bits() } else { last };
                        Ipv4Addr::from_bits(edge.wrapping_add_signed(by.into())).into()
                    }
                    Subject::V6 { address, prefix } => {
                        let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                        let first = address.to_bits();
                        let edge = if by < 0 { first } else { first | host };
                        Ipv6Addr::from_bits(edge.wrapping_add_signed(by.into())).into()
                    }
                    Subject::Country(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                };
                for by in [-1, 0, 1] {
                    let client = Client { address: Some(near(by)), ..Client::default() };
                    prop_assert_eq!(list.permits(&client), naive(&entries, &client));
                }
            }
        }
    }

    fn list(text: &str) -> AccessList {
        let entries = text.split_whitespace().map(|word| {
            let verdict = if word.starts_with('+') { Verdict::Permit } else { Verdict::Deny };
            let (address, mask) = word[1..].split_once('/').unwrap();
            let subject = match address.parse().unwrap() {
                IpAddr::V4(address) => Subject::V4 { address, mask: mask.parse().unwrap() },
                IpAddr::V6(address) => Subject::V6 { address, prefix: mask.parse().unwrap() },
            };
            AccessEntry { verdict, subject }
        });
        AccessList::new(entries.collect())
    }

    #[track_caller]
    fn check(text: &str, client: &str, expected: bool) {
        let address = Some(client.parse().unwrap());
        let client = Client { address, ..Client::default() };
        assert_eq!(list(text).permits(&client), expected, "{text}, {client:?}");
    }

    #[test]
    fn the_first_match_decides_and_otherwise_the_opposite_of_the_last() {
        check("", "10.0.0.1", true);
        check("+10.0.0.0/255.0.0.0", "10.9.9.9", true);
        check("+10.0.0.0/255.0.0.0", "11.0.0.1", false);
        check("-10.0.0.0/255.0.0.0", "11.0.0.1", true);
        check("-10.1.0.0/255.255.0.0 +10.0.0.0/255.0.0.0", "10.1.2.3", false);
        check("+10.0.0.0/255.0.0.0 -10.1.0.0/255.255.0.0", "10.1.2.3", true);
        check("+::1/128", "127.0.0.1", false); // pen.md 15: a list whose only entry is permit ::1
        check("+10.0.0.1/255.0.0.0", "10.0.0.1", false); // bits outside the mask match nobody
        check("+10.0.0.1/255.0.0.255", "10.7.7.1", true);
        check("+10.0.0.1/255.0.0.255", "10.7.7.2", false);
        check("+10.0.0.0/255.0.0.0", "::ffff:10.0.0.1", true);
        check("+2001:db8::/32", "2001:db8:ffff::1", true);
        check("+2001:db8::/32", "2001:db9::", false);
        check("+2001:db8::/129 -::/129", "2001:db8::", true);
    }

    #[test]
    fn nobody_is_nobody_but_clients_of_unix_sockets() {
        let nobody = AccessList::nobody();
        let of = |address: &str| Client { address: address.parse().ok(), ..Client::default() };
        assert!(!nobody.permits(&of("1.2.3.4")));
        assert!(!nobody.permits(&of("::5")));
        assert!(nobody.permits(&of("unix")));
    }

    #[test]
    fn the_country_counts_where_the_list_names_one() {
        let country = |letters: &[u8; 2]| Subject::Country(Country(*letters));
        let permit = |subject| AccessEntry { verdict: Verdict::Permit, subject };
        let list = AccessList::new(vec![permit(country(b"SE")), permit(country(b"NO"))]);
        assert!(list.needs_country() && !AccessList::nobody().needs_country());
        let client = |letters: Option<[u8; 2]>| Client {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            country: letters.map(Country),
            ..Client::default()
        };
        assert!(list.permits(&client(Some(*b"NO"))));
        assert!(!list.permits(&client(Some(*b"DK"))));
        assert!(!list.permits(&client(None)));
    }
}
