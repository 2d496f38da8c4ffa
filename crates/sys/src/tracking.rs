//! The connections that the kernel tracks (nf_conntrack).

use crate::netlink::{NESTED, Netlink, add_attribute, first};
use rustix::net::netlink::NETFILTER;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use terms::Side;

/// A connection, or the packets between two ports of a protocol without connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its number, for as long as it is tracked.
    pub id: u32,
    /// Its mark.
    pub mark: u32,
    /// Who has sent the first packet.
    pub client: SocketAddr,
    /// Where that was sent to.
    pub asked: SocketAddr,
    /// Who got it.
    pub target: SocketAddr,
    /// From whom, as far as the target knows.
    pub source: SocketAddr,
    /// How far it is, if it is one of TCP.
    pub state: Option<TcpState>,
    /// Whose end came first, if that is known.
    pub closed_by: Option<Side>,
    /// Whether a packet has come back.
    pub is_answered: bool,
    /// Whether it is more than an attempt: packets have come from both sides, and again from the
    /// client.
    pub is_assured: bool,
    /// The bytes of its packets, from the client and to it; 0 if they are not counted.
    pub bytes: [u64; 2],
    /// When it began, in nanoseconds since 1970, if such times are noted.
    pub started: Option<i64>,
    /// When it was removed.
    pub removed: Option<i64>,
    /// Seconds until it is removed if no packet comes.
    pub seconds_left: u32,
}

/// How far a connection is (RFC 9293, section 3.3.2), as somebody between its ends sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TcpState {
    /// The client has asked.
    SynSent,
    /// The target has agreed.
    SynReceived,
    /// Both sides have.
    Established,
    /// One side has ended.
    FinWait,
    /// The other one knows.
    CloseWait,
    /// Both have ended.
    LastAck,
    /// Both know.
    TimeWait,
    /// One of them has reset it.
    Close,
}

/// Has the kernel count the bytes of connections that begin from now on in this network namespace, and
/// note when they begin and end.
///
/// # Errors
/// If that is not permitted, or the kernel cannot do it.
pub fn count_and_time() -> io::Result<()> {
    for name in ["acct", "timestamp"] {
        std::fs::write(format!("{SETTINGS}{name}"), "1")?;
    }
    Ok(())
}

/// A number of the kernel's table of connections (`net.netfilter.nf_conntrack_...`); 0 if there is none.
#[must_use]
pub fn setting(name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("{SETTINGS}{name}"));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

const SETTINGS: &str = "/proc/sys/net/netfilter/nf_conntrack_";

/// Which connections are meant: those whose mark has these `bits` in the places of `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// What the mark has,
    pub bits: u32,
    /// and where.
    pub mask: u32,
}

/// Passes on the connections that are meant.
///
/// # Errors
/// If that is not permitted, or the kernel cannot do it.
pub fn list(marked: Marked, mut read: impl FnMut(Connection)) -> io::Result<()> {
    let socket = Netlink::open(Some(NETFILTER))?;
    socket.read_list(CT_GET, &marked.message(), |part| {
        // Before Linux 2.6.33, the kernel lists all.
        if let Some(connection) = Connection::read(part).filter(|it| marked.includes(it.mark)) {
            read(connection);
        }
    })?;
    Ok(())
}

/// Has the kernel forget the connections with each of these marks, and with them where it has sent
/// their packets. The next packet of one of them begins another connection.
///
/// # Errors
/// If that is not permitted, or the kernel cannot do it. Some may have been forgotten then.
pub fn forget_marked(marks: impl IntoIterator<Item = u32>) -> io::Result<()> {
    let mut socket = None;
    for bits in marks {
        let socket = match &mut socket {
            Some(socket) => socket,
            none => none.insert(Netlink::open(Some(NETFILTER))?),
        };
        socket.request(CT_DELETE, &Marked { bits, mask: u32::MAX }.message())?;
    }
    Ok(())
}

/// Likewise with one connection, if it is one of those that are meant and not over. Returns whether
/// there is such a one.
///
/// # Errors
/// If that is not permitted, or the kernel cannot do it.
pub fn forget(id: u32, is_meant: impl Fn(u32) -> bool, marked: Marked) -> io::Result<bool> {
    let socket = Netlink::open(Some(NETFILTER))?;
    let mut found = None;
    socket.read_list(CT_GET, &marked.message(), |part| {
        let is_it = |it: &Connection| it.id == id && is_meant(it.mark) && !it.is_over();
        if Connection::read(part).as_ref().is_some_and(is_it) {
            found = Some(part.to_vec());
        }
    })?;
    let Some(found) = found else { return Ok(false) };
    let (head, attributes) = found.split_at(FRAME);
    let mut message = head.to_vec();
    for kind in [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID] {
        if let Some(value) = first(attributes, kind) {
            let flag = if kind == CTA_TUPLE_ORIG { NESTED } else { 0 };
            add_attribute(&mut message, flag | kind, value);
        }
    }
    match socket.request(CT_DELETE, &message) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false), // it has just ended
        Err(error) => Err(error.into()),
    }
}

/// Hears which connections the kernel removes from its table.
pub struct Removals(Netlink);

impl Removals {
    /// Has what is removed from now on kept until it is read, as long as there is room.
    ///
    /// # Errors
    /// If that is not permitted, or the kernel cannot do it.
    pub fn follow() -> io::Result<Self> {
        Netlink::follow(NETFILTER, REMOVALS, ROOM).map(Self)
    }

    /// Waits for removals, and passes on those of connections that are meant. Returns whether there
    /// was no room for some.
    ///
    /// # Errors
    /// If the kernel says nothing any more.
    pub fn read(&self, marked: Marked, mut read: impl FnMut(Connection)) -> io::Result<bool> {
        let is_meant = |it: &Connection| marked.includes(it.mark);
        let has_lost = self.0.read_news(|part| {
            if let Some(connection) = Connection::read(part).filter(is_meant) {
                read(connection);
            }
        })?;
        Ok(has_lost)
    }
}

impl Marked {
    fn includes(self, mark: u32) -> bool {
        mark & self.mask == self.bits
    }

    /// A message about these.
    fn message(self) -> Vec<u8> {
        let mut message = vec![0; FRAME]; // a `struct nfgenmsg` for every internet protocol
        add_attribute(&mut message, CTA_MARK, &self.bits.to_be_bytes());
        add_attribute(&mut message, CTA_MARK_MASK, &self.mask.to_be_bytes());
        message
    }
}

impl Connection {
    /// Whether both sides have closed, or one has reset it. What has no connections is over as soon as
    /// it is removed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, Some(TcpState::TimeWait | TcpState::Close))
    }

    fn read(part: &[u8]) -> Option<Self> {
        let part = part.get(FRAME..)?;
        let begun = Tuple::read(first(part, CTA_TUPLE_ORIG)?)?;
        let answers = Tuple::read(first(part, CTA_TUPLE_REPLY)?)?;
        let word = |kind| Some(u32::from_be_bytes(*first(part, kind)?.first_chunk()?));
        let bytes = |kind| {
            let counted = first(first(part, kind)?, CTA_COUNTERS_BYTES)?;
            Some(u64::from_be_bytes(*counted.first_chunk()?))
        };
        let time = |kind| {
            let nanos = first(first(part, CTA_TIMESTAMP)?, kind)?;
            Some(i64::from_be_bytes(*nanos.first_chunk()?))
        };
        let tcp = first(part, CTA_PROTOINFO).and_then(|it| first(it, CTA_PROTOINFO_TCP));
        let tcp = |kind| first(tcp?, kind)?.first().copied();
        let mut ends = [
            (Side::Downstream, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL),
            (Side::Upstream, CTA_PROTOINFO_TCP_FLAGS_REPLY),
        ]
        .into_iter();
        let was_first = |kind| tcp(kind).is_some_and(|it| it & IP_CT_TCP_FLAG_CLOSE_INIT != 0);
        let closed_by = ends.find(|(_, kind)| was_first(*kind)).map(|(side, _)| side);
        let status = word(CTA_STATUS).unwrap_or(0);
        Some(Self {
            id: word(CTA_ID)?,
            mark: word(CTA_MARK).unwrap_or(0),
            client: begun.from,
            asked: begun.to,
            target: answers.from,
            source: answers.to,
            state: tcp(CTA_PROTOINFO_TCP_STATE).and_then(TcpState::read),
            closed_by,
            is_answered: status & IPS_SEEN_REPLY != 0,
            is_assured: status & IPS_ASSURED != 0,
            bytes: [CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY].map(|it| bytes(it).unwrap_or(0)),
            started: time(CTA_TIMESTAMP_START),
            removed: time(CTA_TIMESTAMP_STOP),
            seconds_left: word(CTA_TIMEOUT).unwrap_or(0),
        })
    }
}

impl TcpState {
    /// From `enum tcp_conntrack`.
    fn read(number: u8) -> Option<Self> {
        Some(match number {
            1 | 9 => Self::SynSent, // the latter, if both sides have asked
            2 => Self::SynReceived,
            3 => Self::Established,
            4 => Self::FinWait,
            5 => Self::CloseWait,
            6 => Self::LastAck,
            7 => Self::TimeWait,
            8 => Self::Close,
            _ => return None,
        })
    }
}

/// One way of a connection.
struct Tuple {
    from: SocketAddr,
    to: SocketAddr,
}

impl Tuple {
    fn read(part: &[u8]) -> Option<Self> {
        let (ip, protocol) = (first(part, CTA_TUPLE_IP)?, first(part, CTA_TUPLE_PROTO)?);
        let address = |four, six| {
            if let Some(bytes) = first(ip, four) {
                return Some(IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)));
            }
            Some(IpAddr::V6(Ipv6Addr::from(*first(ip, six)?.first_chunk::<16>()?)))
        };
        // Not every protocol has ports.
        let port = |kind| {
            let bytes = first(protocol, kind).and_then(|it| it.first_chunk());
            bytes.map_or(0, |it| u16::from_be_bytes(*it))
        };
        Some(Self {
            from: (address(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?, port(CTA_PROTO_SRC_PORT)).into(),
            to: (address(CTA_IP_V4_DST, CTA_IP_V6_DST)?, port(CTA_PROTO_DST_PORT)).into(),
        })
    }
}

/// How many bytes of removals wait to be read: some ten thousand.
const ROOM: usize = 16 << 20;
/// The length of a `struct nfgenmsg`.
const FRAME: usize = 4;
/// From <linux/netfilter/nfnetlink_compat.h>: NF_NETLINK_CONNTRACK_DESTROY.
const REMOVALS: u32 = 4;
/// From <linux/netfilter/nfnetlink_conntrack.h>: NFNL_SUBSYS_CTNETLINK with its messages.
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TIMESTAMP: u16 = 20;
const CTA_MARK_MASK: u16 = 21;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_COUNTERS_BYTES: u16 = 2;
const CTA_TIMESTAMP_START: u16 = 1;
const CTA_TIMESTAMP_STOP: u16 = 2;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_PROTOINFO_TCP_FLAGS_ORIGINAL: u16 = 4;
const CTA_PROTOINFO_TCP_FLAGS_REPLY: u16 = 5;
/// From <linux/netfilter/nf_conntrack_tcp.h>: who has sent the first FIN.
const IP_CT_TCP_FLAG_CLOSE_INIT: u8 = 4;
/// From <linux/netfilter/nf_conntrack_common.h>.
const IPS_SEEN_REPLY: u32 = 2;
const IPS_ASSURED: u32 = 4;
