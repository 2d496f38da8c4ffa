//! Real programs that speak UDP, and the datagrams that test a proxy's limits.
//!
//! As in [`crate::servers`], each case starts servers on the backends' ports and runs clients
//! through the proxy, which here forwards UDP. With [`Options::ipv6`](crate::Options) all of it is
//! at `::1`.

mod burst;
mod echo;
mod names;
mod quic;
mod stream;
mod tunnel;

use crate::servers::{ServerCase, ServerPorts};

/// Every case, in the order in which they run.
pub const DATAGRAM_CASES: &[ServerCase] = &[
    ServerCase {
        name: "sizes",
        asks: "datagrams of 0 to 65,507 bytes come back as they were",
        needs: &[],
        ports: ServerPorts::Two,
        start: echo::start,
        exercise: echo::exercise_sizes,
    },
    ServerCase {
        name: "burst",
        asks: "1000 new clients send 10 datagrams each at once: all come back in order",
        needs: &[],
        ports: ServerPorts::Two,
        start: echo::start,
        exercise: burst::exercise,
    },
    ServerCase {
        name: "dns",
        asks: "dig gets an answer from dnsmasq a hundred times",
        needs: &[("dnsmasq", "dnsmasq-base"), ("dig", "bind9-dnsutils")],
        ports: ServerPorts::Two,
        start: names::start,
        exercise: names::exercise,
    },
    ServerCase {
        name: "dns-silent",
        asks: "dig fails 0 of 1000 times while one of two servers never answers",
        needs: &[("dnsmasq", "dnsmasq-base"), ("dig", "bind9-dnsutils")],
        ports: ServerPorts::Two,
        start: names::start_one_silent,
        exercise: names::exercise_often,
    },
    ServerCase {
        name: "iperf3-udp",
        asks: "a second of datagrams in each direction without an error",
        needs: &[("iperf3", "iperf3")],
        ports: ServerPorts::SameTwice,
        start: stream::start,
        exercise: stream::exercise,
    },
    ServerCase {
        name: "quic",
        asks: "two megabytes and a hundred short messages come back over QUIC",
        needs: &[],
        ports: ServerPorts::Two,
        start: quic::start,
        exercise: quic::exercise,
    },
    ServerCase {
        name: "tunnel",
        asks: "a handshake and datagrams of both sides at their own pace, as WireGuard sends them",
        needs: &[],
        ports: ServerPorts::Two,
        start: tunnel::start,
        exercise: tunnel::exercise,
    },
];
