//! UDP: which backend serves a client, for how long, and what a dead backend means to it.

use crate::support::{Place, UdpBackend, UdpClient, has_ipv6, port, until};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

#[test]
fn each_client_keeps_its_backend() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let _evenkeel = place.native(&format!("{udp}/udp {a} {b} --workers 1"));
    let clients = [(); 4].map(|()| UdpClient::to((Ipv4Addr::LOCALHOST, udp.number())));
    for word in ["one", "two"] {
        let answers = clients.each_ref().map(|client| client.ask(word));
        assert_eq!(answers, ["a", "b", "a", "b"].map(|name| format!("{name}{word}")));
    }
    assert_eq!(place.sessions(), 4);
}

#[test]
fn answers_come_from_the_address_asked() {
    let (place, udp) = (Place::new(), port());
    let large = vec![b'x'; 65_507];
    let mut hosts: Vec<SocketAddr> =
        vec![([127, 0, 0, 1], udp.number()).into(), ([127, 0, 0, 2], udp.number()).into()];
    let mut backends = vec![UdpBackend::echo(Ipv4Addr::LOCALHOST.into())];
    if has_ipv6() {
        hosts.push((Ipv6Addr::LOCALHOST, udp.number()).into());
        backends.push(UdpBackend::echo(Ipv6Addr::LOCALHOST.into()));
    }
    let words: Vec<_> = backends.iter().map(ToString::to_string).collect();
    let _evenkeel = place.native(&format!("{udp}/udp {} --workers 4", words.join(" ")));
    for host in hosts.into_iter().cycle().take(12) {
        let client = UdpClient::to(host);
        assert_eq!(client.ask("small"), "small");
        assert_eq!(client.ask(""), "");
        client.send(&large);
        assert!(client.answer() == large, "{host}");
    }
}

#[test]
fn nobody_notices_a_dead_backend() {
    let (place, udp) = (Place::new(), port());
    let [mut a, b] = ["a", "b"].map(UdpBackend::named);
    let evenkeel = place.native(&format!("{udp}/udp {a} {b} --workers 1"));
    a.stop();
    for _ in 0..4 {
        let client = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
        assert_eq!(client.ask("?"), "b?");
    }
    evenkeel.log.wait("backend quarantined");
}

#[test]
fn tcp_and_udp_share_a_pool() {
    let (place, both) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let evenkeel = place.native(&format!("{both}/tcp+udp {a} {b} --workers 1"));
    let client = UdpClient::to((Ipv4Addr::LOCALHOST, both.number()));
    assert_eq!(client.ask("?"), "a?");
    assert_eq!(crate::support::ask(&both), "reset"); // nobody serves TCP there
    evenkeel.log.wait("connect-refused");
}

#[test]
fn a_burst_of_new_clients_loses_nothing() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::echo(Ipv4Addr::LOCALHOST.into());
    let _evenkeel = place.native(&format!("{udp}/udp {a} --workers 2"));
    let clients: Vec<_> =
        (0..1000).map(|_| UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()))).collect();
    // Only root can widen a queue beyond net.core.rmem_max.
    let wave = if rustix::process::geteuid().is_root() { clients.len() } else { 10 };
    let mut sent = 0;
    for clients in clients.chunks(wave) {
        for client in clients {
            (0..10u8).for_each(|number| client.send([number]));
        }
        sent += clients.len() * 10;
        until("every datagram to arrive", || a.seen().len() == sent);
    }
    for client in &clients {
        (0..10u8).for_each(|number| assert_eq!(client.answer(), [number]));
    }
    let mut flows: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for (client, bytes) in a.seen() {
        flows.entry(client).or_default().extend(bytes);
    }
    assert_eq!(flows.len(), 1000);
    assert!(flows.values().all(|numbers| numbers.iter().copied().eq(0..10)));
}
