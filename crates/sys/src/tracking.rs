//! The connections that the kernel tracks (nf_conntrack).

use crate::netlink::Netlink;
use rustix::net::netlink::NETFILTER;
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
        // A `struct nfgenmsg` for every internet protocol.
        let mut message = vec![0; 4];
        for (kind, value) in [(CTA_MARK, mark), (CTA_MARK_MASK, u32::MAX)] {
            message.extend(ATTRIBUTE_LEN.to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend(value.to_be_bytes());
        }
        socket.request(CT_DELETE, &message)?;
    }
    Ok(())
}

/// From <linux/netfilter/nfnetlink_conntrack.h>: NFNL_SUBSYS_CTNETLINK and IPCTNL_MSG_CT_DELETE.
const CT_DELETE: u16 = 1 << 8 | 2;
const CTA_MARK: u16 = 8;
const CTA_MARK_MASK: u16 = 21;
/// Of a number, with its head.
const ATTRIBUTE_LEN: u16 = 8;
