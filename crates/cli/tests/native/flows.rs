//! UDP: which backend serves a client, for how long, and what a dead backend means to it.

use crate::support::{Network, Place, Port, UdpBackend, UdpClient, has_ipv6, or_skip, port, until};
use crate::upgrading::upgrade;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use sys::datagram::{Batch, connect_udp, mark, receive_marked, report_marks};
use sys::net::{Source, transmit};

fn client(port: &Port) -> UdpClient {
    UdpClient::to((Ipv4Addr::LOCALHOST, port.number()))
}

#[test]
fn each_client_keeps_its_backend() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let _evenkeel = place.native(&format!("{udp}/udp {a} {b} --workers 1"));
    let clients = [(); 4].map(|()| client(&udp));
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
fn answers_leave_a_bridge_from_the_address_asked() {
    let Some(network) = or_skip(Network::new()) else { return };
    for words in [
        "link add br0 type bridge",
        "address flush dev client",
        "link set client master br0",
        "link set br0 up",
        "address add 192.0.2.253/24 dev br0",
        "address add 192.0.2.254/24 dev br0",
        "address add 2001:db8:1::fd/64 dev br0 nodad",
        "address add 2001:db8:1::fe/64 dev br0 nodad",
    ] {
        network.ip("balancer", words).unwrap();
    }
    let place = Place::new();
    network.within("balancer", || {
        let backend = UdpSocket::bind("127.0.0.1:5301").unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((length, peer)) = backend.recv_from(&mut buffer) {
                let _ = backend.send_to(&buffer[..length], peer);
            }
        });
    });
    let start = || place.native("5353/udp 127.0.0.1:5301 --workers 2");
    let _evenkeel = network.within("balancer", start);
    for host in ["192.0.2.254", "192.0.2.253", "2001:db8:1::fe", "2001:db8:1::fd"] {
        let address = SocketAddr::new(host.parse().unwrap(), 5353);
        // A connected socket takes answers from the address that it wrote to only.
        let client = network.within("client", || UdpClient::to(address));
        assert_eq!(client.ask("first"), "first", "{host}");
        assert_eq!(client.ask("second"), "second", "{host}");
    }
}

#[test]
fn marks_of_congestion_pass_both_ways_for_quic() {
    let hosts = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let hosts = hosts.into_iter().filter(|host: &IpAddr| host.is_ipv4() || has_ipv6());
    for (host, is_quic) in hosts.flat_map(|host| [(host, true), (host, false)]) {
        let passing = |ecn: u8| if is_quic { ecn } else { 0 };
        let option = if is_quic { "--hash-on quic-cid" } else { "" };
        let (place, udp) = (Place::new(), port());
        let backend = UdpSocket::bind((host, 0)).unwrap();
        report_marks(backend.as_fd(), true);
        let words = format!("{udp}/udp {} {option}", backend.local_addr().unwrap());
        let _old = place.native(&words);
        let (client, _) = connect_udp((host, udp.number()).into(), Source::System).unwrap();
        report_marks(client.as_fd(), true);
        let [mut requests, mut answers] = [(); 2].map(|()| Batch::default());
        for (number, ecn) in [2, 0, 1, 3, 2, 2, 0].into_iter().enumerate() {
            if number == 3 {
                upgrade(&place, "");
            }
            mark(client.as_fd(), ecn);
            transmit(client.as_fd(), b"?").unwrap();
            until("the request", || requests.receive(backend.as_fd()).is_ok());
            let request = requests.get(0).unwrap();
            assert_eq!(request.ecn, passing(ecn), "request {number} to {host}");
            answers.push_with(request.peer, None, |_| Ok((1, ecn ^ 3))).unwrap();
            answers.send(backend.as_fd());
            let mut answer = None;
            until("the answer", || {
                answer = receive_marked(client.as_fd(), &mut [0; 10]).ok();
                answer.is_some()
            });
            assert_eq!(answer, Some((1, passing(ecn ^ 3))), "answer {number} from {host}");
        }
        assert_eq!(place.status()["listeners"][0]["sessions_total"], 1);
    }
}

/// When a client sends again.
const SOON: Duration = Duration::from_millis(100);

#[test]
fn flows_leave_a_backend_that_dies() {
    let (place, udp) = (Place::new(), port());
    let [mut a, b] = ["a", "b"].map(UdpBackend::named);
    let _evenkeel = place.native(&format!("{udp}/udp {a} {b} --workers 2"));
    let clients: Vec<_> = (0..50).map(|_| client(&udp)).collect();
    let first: BTreeSet<_> = clients.iter().map(|client| client.ask("1")).collect();
    assert_eq!(first, BTreeSet::from(["a1".to_owned(), "b1".to_owned()]));
    a.stop();
    for client in &clients {
        // What is under way to the dead one when ICMP answers is lost; a client sends again.
        until("an answer from the other one", || {
            client.send("2");
            client.answer_within(SOON).is_ok_and(|answer| answer == b"b2")
        });
    }
}

#[test]
fn nobody_notices_a_dead_backend() {
    let (place, udp) = (Place::new(), port());
    let [mut a, b] = ["a", "b"].map(UdpBackend::named);
    let evenkeel = place.native(&format!("{udp}/udp {a} {b} --workers 1"));
    a.stop();
    for _ in 0..4 {
        assert_eq!(client(&udp).ask("?"), "b?");
    }
    evenkeel.log.wait("backend quarantined");
}

#[test]
fn what_is_kept_for_another_backend_is_bounded() {
    let (place, udp) = (Place::new(), port());
    let (mut a, b) = (UdpBackend::named("a"), UdpBackend::silent());
    let evenkeel = place.native(&format!("{udp}/udp {a} ! {b} --workers 1"));
    let clients = [(); 300].map(|()| client(&udp));
    clients.iter().for_each(|client| assert_eq!(client.ask("?"), "a?"));
    a.stop();
    let before = evenkeel.memory_peak();
    let mut sent = 0;
    for some in clients.chunks(20) {
        for client in some {
            // The first finds out that the backend is gone; the second is kept.
            client.send("?");
            client.send(vec![0; 60_000]);
        }
        sent += some.len();
        until("the next backend to get them", || b.seen().len() >= sent);
    }
    let more = evenkeel.memory_peak() - before;
    assert!(more < 12 << 20, "{more} bytes of memory for 18 MB");
}

#[test]
fn tcp_and_udp_share_a_pool() {
    let (place, both) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let evenkeel = place.native(&format!("{both}/tcp+udp {a} {b} --workers 1"));
    assert_eq!(client(&both).ask("?"), "a?");
    assert_eq!(crate::support::ask(&both), "reset"); // nobody serves TCP there
    evenkeel.log.wait("connect-refused");
}

#[test]
fn a_burst_of_new_clients_loses_nothing() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::echo(Ipv4Addr::LOCALHOST.into());
    let _evenkeel = place.native(&format!("{udp}/udp {a} --workers 2"));
    let clients: Vec<_> = (0..1000).map(|_| client(&udp)).collect();
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

#[test]
fn silence_moves_a_flow_if_asked_to() {
    let (place, udp) = (Place::new(), port());
    let (silent, b) = (UdpBackend::silent(), UdpBackend::named("b"));
    let line = format!("{udp}/udp --retry-after 100ms {silent} {b} --workers 1");
    let evenkeel = place.native(&line);
    let first = client(&udp);
    first.send("one");
    first.send("two");
    assert_eq!([first.answer(), first.answer()], ["bone", "btwo"].map(Vec::from));
    evenkeel.log.wait("backend quarantined");
    assert_eq!(client(&udp).ask("three"), "bthree");
    let seen: Vec<_> = silent.seen().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(seen, ["one", "two"].map(Vec::from));
}

#[test]
fn a_rejected_request_goes_to_the_next_backend_if_asked_to() {
    let (place, udp) = (Place::new(), port());
    let [mut a, mut b, c] = ["a", "b", "c"].map(UdpBackend::named);
    let line = format!("{udp}/udp --retry-after 10s {a} ! {b} ! {c} --workers 1");
    let evenkeel = place.native(&line);
    let client = client(&udp);
    assert_eq!(["1", "2"].map(|word| client.ask(word)), ["a1", "a2"]);
    a.stop();
    client.send("3");
    client.send("4");
    let answers = [(); 2].map(|()| String::from_utf8(client.answer()).unwrap());
    assert_eq!(answers, ["b3", "b4"]);
    b.stop();
    assert_eq!(client.ask("5"), "c5"); // what was answered is not sent again
    assert_eq!(c.seen().len(), 1);
    evenkeel.log.wait_nth("backend quarantined", 1);
    assert_eq!(place.status()["listeners"][0]["sessions_total"], 1);
}

/// When flows of a client that sends nothing more end. All earlier timers have been obeyed then.
const LATER: Duration = Duration::from_millis(300);

#[test]
fn what_needs_no_answer_moves_no_flow() {
    let (place, [udp, timed]) = (Place::new(), [(); 2].map(|()| port()));
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let evenkeel = place.native(&format!(
        "{udp}/udp --retry-after {SOON:?} {a} ! {b} --workers 1 -- \
         {timed}/udp --flow-timeout {LATER:?} {b}"
    ));
    let client = client(&udp);
    assert_eq!(client.ask("1"), "a1");
    client.send("silence a");
    until("the backend to have it", || a.seen().len() == 2);
    assert_eq!(self::client(&timed).ask("?"), "b?");
    evenkeel.log.wait("reason=idle-timeout");
    assert_eq!(client.ask("2"), "a2");
    assert_eq!(evenkeel.log.with("quarantined"), Vec::<String>::new());
}

#[test]
fn a_backend_that_was_sent_nothing_is_not_quarantined() {
    let (place, [udp, full, timed]) = (Place::new(), [(); 3].map(|()| port()));
    let [mut a, c] = ["a", "c"].map(UdpBackend::named);
    let [b, silent] = [(); 2].map(|()| UdpBackend::silent());
    let evenkeel = place.native(&format!(
        "{udp}/udp --retry-after {SOON:?} {a} ! {b} ! {c} --workers 1 -- \
         {full}/udp --retry-after 1h --flow-timeout 1h {silent} -- \
         {timed}/udp --flow-timeout {LATER:?} {c}"
    ));
    let client = client(&udp);
    assert_eq!(client.ask("1"), "a1");
    // No room is left to keep a datagram for another backend.
    let others = [(); 7].map(|()| self::client(&full));
    for sent in 1..=10 {
        others.iter().for_each(|other| other.send([0; 60_000]));
        until("the backend to have them", || silent.seen().len() == sent * others.len());
    }
    a.stop();
    client.send([0; 60_000]);
    evenkeel.log.wait("backend quarantined");
    assert_eq!(self::client(&timed).ask("?"), "c?");
    evenkeel.log.wait("reason=idle-timeout");
    assert_eq!(evenkeel.log.with("backend quarantined").len(), 1);
    // Now it owes an answer.
    assert_eq!(client.ask("3"), "c3");
    assert_eq!(b.seen().len(), 1);
    evenkeel.log.wait_nth("backend quarantined", 1);
}

#[test]
fn a_backend_that_answers_others_is_not_quarantined() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let line = format!("{udp}/udp --retry-after 300ms {a} {b} --workers 1 --policy hash");
    let evenkeel = place.native(&line);
    let (lost, other) = (client(&udp), client(&udp));
    let name = other.ask("x"); // whom the hash has chosen for this address
    lost.send(format!("silence {}", &name[..1]));
    let is_over = AtomicBool::new(false);
    let moved = thread::scope(|scope| {
        // It answers somebody else while the first client waits.
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                other.ask("y");
            }
        });
        let moved = lost.answer();
        is_over.store(true, Relaxed);
        String::from_utf8(moved).unwrap()
    });
    assert_ne!(moved[..1], name[..1], "{moved}");
    assert_eq!(evenkeel.log.with("quarantined"), Vec::<String>::new());
}

#[test]
fn datagrams_can_be_spread_one_by_one() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let _evenkeel =
        place.native(&format!("{udp}/udp --requests 1 --responses 1 {a} {b} --workers 1"));
    let client = client(&udp);
    assert_eq!(["1", "2", "3"].map(|word| client.ask(word)), ["a1", "b2", "a3"]);
    until("the flows to end", || place.sessions() == 0);
}

#[test]
fn a_flow_ends_with_its_last_answer() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::named("a");
    let evenkeel = place.native(&format!("{udp}/udp --responses 1 {a} --workers 1"));
    let client = client(&udp);
    assert_eq!(client.ask("?"), "a?");
    let ended = evenkeel.log.wait("session ended");
    assert!(ended.contains("reason=complete"), "{ended}");
}

#[test]
fn silent_flows_end() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::named("a");
    let evenkeel = place.native(&format!("{udp}/udp --flow-timeout 50ms {a} --workers 1"));
    assert_eq!(client(&udp).ask("?"), "a?");
    assert!(evenkeel.log.wait("session ended").contains("reason=idle-timeout"));
    assert_eq!(place.sessions(), 0);
}

#[test]
fn the_oldest_flow_makes_room() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::named("a");
    let evenkeel = place.native(&format!("{udp}/udp --max-sessions 3 {a} --workers 1"));
    let clients = [(); 4].map(|()| client(&udp));
    // The first has shown that it sees answers, so it stays.
    assert_eq!(["1", "2"].map(|word| clients[0].ask(word)), ["a1", "a2"]);
    for other in &clients[1..] {
        assert_eq!(other.ask("?"), "a?");
    }
    let second = evenkeel.log.wait("reason=evicted");
    evenkeel.log.wait("no room for more UDP flows");
    assert!(second.contains(" session=2 "), "{second}");
    assert_eq!(place.sessions(), 3);
    assert_eq!(clients[0].ask("3"), "a3");
    assert_eq!(a.seen().iter().map(|(from, _)| from).collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn operators_see_and_end_flows() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let evenkeel = place.native(&format!("{udp}/udp {a} {b} --workers 1"));
    let clients = [(); 2].map(|()| client(&udp));
    let names = clients.each_ref().map(|client| client.ask("?"));
    assert_ne!(names[0], names[1]);
    let listed = place.ctl(&format!("--listen {udp} sessions --json")).check(0).stdout;
    assert_eq!(listed.matches("\"phase\": \"open\"").count(), 2, "{listed}");
    place.ctl("disable 0.0").check(0);
    // Flows go on where they are; new ones go elsewhere.
    assert_eq!(clients.each_ref().map(|client| client.ask("?")), names);
    assert_eq!(client(&udp).ask("?"), "b?");
    place.ctl("kill 1").check(0);
    let ended = evenkeel.log.wait("session ended");
    assert!(ended.contains("reason=admin"), "{ended}");
}

#[test]
fn denied_clients_get_no_answer() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::named("a");
    let evenkeel = place.native(&format!("{udp}/udp --deny 127.0.0.9 {a} --workers 1"));
    let denied = UdpClient::from([127, 0, 0, 9].into(), (Ipv4Addr::LOCALHOST, udp.number()));
    denied.send("?");
    assert!(evenkeel.log.wait("session ended").contains("reason=denied"));
    assert_eq!(client(&udp).ask("?"), "a?");
    assert_eq!(a.seen().len(), 1);
}

#[test]
fn a_shutdown_lets_flows_finish() {
    let (place, udp) = (Place::new(), port());
    let a = UdpBackend::named("a");
    let line = format!("{udp}/udp --responses 1 --shutdown-timeout never {a} --workers 2");
    let mut evenkeel = place.native(&line);
    let slow = client(&udp);
    slow.send("late");
    until("the request to arrive", || a.seen().len() == 1);
    assert_eq!(slow.answer(), b"alate");
    evenkeel.signal(rustix::process::Signal::TERM);
    assert!(evenkeel.wait().success());
}
