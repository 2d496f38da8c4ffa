//! The names of what a table of nftables has. nft(8) would read all elements of its sets, too.

use crate::netlink::{Netlink, add_attribute, attributes, text};
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

/// What a table of the family `netdev` has; nothing if there is none.
///
/// # Errors
/// If that is not permitted, or the kernel does not answer.
pub fn netdev_parts(table: &str) -> io::Result<Parts> {
    let socket = Netlink::open(Some(NETFILTER))?;
    let list = |kind: u16, attribute: u16| {
        let mut message = vec![NFPROTO_NETDEV, 0, 0, 0]; // a `struct nfgenmsg`
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

/// From <linux/netfilter/nfnetlink.h>, <linux/netfilter.h> and <linux/netfilter/nf_tables.h>.
const NFTABLES: u16 = 10;
const NFPROTO_NETDEV: u8 = 5;
const GET_CHAIN: u16 = 4;
const GET_SET: u16 = 10;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_IS_MAP: u32 = 8;
