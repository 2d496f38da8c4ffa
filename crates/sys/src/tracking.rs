//! The connections that the kernel tracks (nf_conntrack).

use crate::netlink::{Netlink, add_attribute, first};
use rustix::net::netlink::NETFILTER;
use std::collections::BTreeMap;
use std::io;

/// Has the kernel forget the connections with each of these marks, and with them where it has sent
/// their packets. The next packet of one of them begins another connection.
///
/// # Errors
/// If that is not permitted, or the kernel cannot do it. Some may have been forgotten then.
pub fn forget_marked(marks: impl IntoIterator<Item = u32>) -> io::Result<()> {
    let mut socket = None;
    for mark in marks {
        let socket = match &mut socket {
            Some(socket) => socket,
            none => none.insert(Netlink::open(Some(NETFILTER))?),
        };
        let message = marked(mark, u32::MAX);
        socket.request(CT_DELETE, &message)?;
    }
    Ok(())
}

/// How many connections are open, by mark, of those whose mark has these `bits` in the places of
/// `mask`. One of TCP is open until both sides have closed or one has reset it, and one of another
/// protocol as long as the kernel remembers it.
///
/// # Errors
/// If that is not permitted, or the kernel cannot do it.
pub fn count_open(bits: u32, mask: u32) -> io::Result<BTreeMap<u32, u64>> {
    let socket = Netlink::open(Some(NETFILTER))?;
    let mut open = BTreeMap::new();
    socket.read_list(CT_GET, &marked(bits, mask), |connection| {
        let connection = connection.get(FRAME..).unwrap_or_default();
        let mark = first(connection, CTA_MARK).and_then(|it| it.first_chunk());
        let mark = mark.map_or(0, |bits| u32::from_be_bytes(*bits));
        let is_over = tcp_state(connection).is_some_and(is_final);
        // Before Linux 2.6.33, the kernel lists all.
        if mark & mask == bits && !is_over {
            *open.entry(mark).or_default() += 1;
        }
    })?;
    Ok(open)
}

fn tcp_state(connection: &[u8]) -> Option<u8> {
    let tcp = first(first(connection, CTA_PROTOINFO)?, CTA_PROTOINFO_TCP)?;
    first(tcp, CTA_PROTOINFO_TCP_STATE)?.first().copied()
}

fn is_final(state: u8) -> bool {
    matches!(state, TCP_CONNTRACK_TIME_WAIT | TCP_CONNTRACK_CLOSE)
}

/// A message about connections whose mark has these `bits` in the places of `mask`.
fn marked(bits: u32, mask: u32) -> Vec<u8> {
    let mut message = vec![0; FRAME]; // a `struct nfgenmsg` for every internet protocol
    add_attribute(&mut message, CTA_MARK, &bits.to_be_bytes());
    add_attribute(&mut message, CTA_MARK_MASK, &mask.to_be_bytes());
    message
}

/// The length of a `struct nfgenmsg`.
const FRAME: usize = 4;
/// From <linux/netfilter/nfnetlink_conntrack.h>: NFNL_SUBSYS_CTNETLINK with its messages.
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_MARK: u16 = 8;
const CTA_MARK_MASK: u16 = 21;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
/// From <linux/netfilter/nf_conntrack_tcp.h>.
const TCP_CONNTRACK_TIME_WAIT: u8 = 7;
const TCP_CONNTRACK_CLOSE: u8 = 8;
