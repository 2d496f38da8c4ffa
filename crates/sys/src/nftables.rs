//! Requests to nf_tables, and the names of what a table has: nft(8) would read all elements of its sets,
//! too.

use crate::netlink::{Netlink, add_attribute, attributes, first, text};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use std::io;

/// The names of the parts of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Of its chains.
    pub chains: Vec<String>,
    /// Of its maps.
    pub maps: Vec<String>,
    /// Of its sets.
    pub sets: Vec<String>,
}

/// Whether there are tables of these names, each with its family as nft(8) calls it.
///
/// # Errors
/// If that is not permitted, or the kernel does not answer.
pub fn has_tables(tables: &[(&str, &str)]) -> io::Result<bool> {
    let socket = Netlink::open(Some(NETFILTER))?;
    let any = [0; 4]; // a `struct nfgenmsg`, of all families
    let present = socket.list(NFTABLES << 8 | GET_TABLE, &any)?;
    let is_there = |(family, name): &(&str, &str)| {
        present.iter().any(|table| {
            let found = Named::read(table, 0, TABLE_NAME);
            table.first().is_some_and(|it| family_name(*it) == *family) && found.name == *name
        })
    };
    Ok(tables.iter().all(is_there))
}

fn family_name(number: u8) -> &'static str {
    match number {
        NFPROTO_INET => "inet",
        NFPROTO_IPV4 => "ip",
        NFPROTO_NETDEV => "netdev",
        _ => "",
    }
}

fn family_number(name: &str) -> u8 {
    let all = [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_NETDEV];
    all.into_iter().find(|it| family_name(*it) == name).unwrap_or_default()
}

/// What an element of a set has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// The packets that have matched it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Passes on the elements of a set with what they have counted: each as the kernel has it, in words of
/// four bytes. The table has this family, as nft(8) calls it.
///
/// # Errors
/// If that is not permitted, there is no such set, or the kernel does not answer.
pub fn read_counters(
    (family, table): (&str, &str),
    set: &str,
    mut read: impl FnMut(&[u8], Counter),
) -> io::Result<()> {
    let mut message = vec![family_number(family), 0, 0, 0]; // a `struct nfgenmsg`
    for (kind, name) in [(ELEMENTS_TABLE, table), (ELEMENTS_SET, set)] {
        add_attribute(&mut message, kind, &[name.as_bytes(), &[0]].concat());
    }
    let socket = Netlink::open(Some(NETFILTER))?;
    socket.read_list(NFTABLES << 8 | GET_ELEMENTS, &message, |part| {
        let part = part.get(4..).unwrap_or_default();
        for (_, element) in attributes(first(part, ELEMENTS_LIST).unwrap_or_default()) {
            let key = first(element, ELEMENT_KEY).and_then(|it| first(it, DATA_VALUE));
            let counter = first(element, ELEMENT_EXPRESSION).map(Counter::read);
            read(key.unwrap_or_default(), counter.unwrap_or_default());
        }
    })?;
    Ok(())
}

impl Counter {
    fn read(expression: &[u8]) -> Self {
        let data = first(expression, EXPRESSION_DATA).unwrap_or_default();
        let number = |kind: u16| {
            let number = first(data, kind).and_then(|it| it.first_chunk());
            number.map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        Self { packets: number(COUNTER_PACKETS), bytes: number(COUNTER_BYTES) }
    }
}

/// What a table has; nothing if there is none. Its family is given as nft(8) calls it.
///
/// # Errors
/// If that is not permitted, or the kernel does not answer.
pub fn parts((family, table): (&str, &str)) -> io::Result<Parts> {
    let socket = Netlink::open(Some(NETFILTER))?;
    let list = |kind: u16, attribute: u16| {
        let mut message = vec![family_number(family), 0, 0, 0]; // a `struct nfgenmsg`
        let mut name = table.as_bytes().to_vec();
        name.push(0);
        add_attribute(&mut message, attribute, &name);
        match socket.list(NFTABLES << 8 | kind, &message) {
            Ok(all) => Ok(all),
            // There is no such table, or this kernel has none of this kind.
            Err(Errno::NOENT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(Vec::new()),
            Err(error) => Err(io::Error::from(error)),
        }
    };
    let mut parts = Parts::default();
    for chain in list(GET_CHAIN, CHAIN_TABLE)? {
        let chain = Named::read(&chain, CHAIN_TABLE, CHAIN_NAME);
        parts.chains.extend(chain.of(table));
    }
    for set in list(GET_SET, SET_TABLE)? {
        let named = Named::read(&set, SET_TABLE, SET_NAME);
        if named.set_flags & SET_IS_ANONYMOUS != 0 {
            continue; // a part of its rule
        }
        let is_map = named.set_flags & SET_IS_MAP != 0;
        let names = if is_map { &mut parts.maps } else { &mut parts.sets };
        names.extend(named.of(table));
    }
    Ok(parts)
}

#[derive(Default)]
struct Named {
    table: String,
    name: String,
    /// If it is a set.
    set_flags: u32,
}

impl Named {
    fn read(part: &[u8], table: u16, name: u16) -> Self {
        let mut named = Self::default();
        for (kind, value) in attributes(part.get(4..).unwrap_or_default()) {
            match (kind, value.first_chunk()) {
                _ if kind == table => named.table = text(value),
                _ if kind == name => named.name = text(value),
                (SET_FLAGS, Some(flags)) if name == SET_NAME => {
                    named.set_flags = u32::from_be_bytes(*flags);
                }
                _ => {}
            }
        }
        named
    }

    /// Its name, if it is this table's.
    fn of(self, table: &str) -> Option<String> {
        (self.table == table).then_some(self.name)
    }
}

/// A socket for requests. A table created through it with `flags owner` (nft(8)) can be removed by nobody
/// else, and disappears when the socket is closed.
pub struct Socket(Netlink);

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// If the system has no room for it, or no nf_tables.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Netlink::open(Some(NETFILTER))?))
    }

    /// Carries out requests, all of them or none: each has its kind, its flags and its body. After an
    /// error, this is of no further use: there may be more answers.
    ///
    /// # Errors
    /// If that is not permitted, or the kernel refuses one of them.
    pub fn carry_out<'a>(
        &self,
        requests: impl Iterator<Item = (u16, u16, &'a [u8])>,
    ) -> io::Result<()> {
        let [high, low] = NFTABLES.to_be_bytes();
        let frame = [0, 0, high, low]; // a `struct nfgenmsg`
        let requests = requests.map(|(kind, flags, body)| (NFTABLES << 8 | kind, flags, body));
        let ends = [(BATCH_BEGIN, &frame[..]), (BATCH_END, &frame)];
        self.0.batch(ends, requests).map_err(|error| {
            io::Error::new(error.kind(), format!("nf_tables: {}", io::Error::from(error)))
        })
    }
}

/// From <linux/netfilter/nfnetlink.h>, <linux/netfilter.h> and <linux/netfilter/nf_tables.h>.
const NFTABLES: u16 = 10;
const NFPROTO_NETDEV: u8 = 5;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const GET_TABLE: u16 = 1;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const TABLE_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const GET_CHAIN: u16 = 4;
const GET_ELEMENTS: u16 = 13;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_EXPRESSION: u16 = 7;
const DATA_VALUE: u16 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;
const GET_SET: u16 = 10;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_IS_ANONYMOUS: u32 = 1;
const SET_IS_MAP: u32 = 8;
