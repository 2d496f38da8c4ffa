//! The PROXY protocol in datagrams: backends hear of clients, and proxies announce theirs.

use crate::support::{Place, Port, UdpBackend, UdpClient, has_ipv6, port, until};
use crate::upgrading::{until_gone, upgrade};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const PROXY: [u8; 4] = [127, 0, 0, 9];

/// A header for a datagram from this client to this address, with these fields after them.
fn header(client: SocketAddr, to: SocketAddr, fields: &[u8]) -> Vec<u8> {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [client.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let block = [octets(client), octets(to), ports, fields.to_vec()].concat();
    let family = if client.is_ipv4() { 0x12 } else { 0x22 };
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &block].concat()
}

/// A datagram of a client that a proxy passes on.
fn from(client: &str, text: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let to = if client.is_ipv4() { "198.51.100.1:53" } else { "[2001:db8::1]:53" };
    let header = header(client, to.parse().unwrap(), b"");
    [&header[..], text.as_bytes()].concat()
}

fn echo() -> UdpBackend {
    UdpBackend::echo(Ipv4Addr::LOCALHOST.into())
}

/// A socket of a proxy.
fn proxy(port: &Port) -> UdpClient {
    UdpClient::from(PROXY.into(), (Ipv4Addr::LOCALHOST, port.number()))
}

#[track_caller]
fn ask(proxy: &UdpClient, bytes: impl AsRef<[u8]>) -> String {
    proxy.send(bytes);
    String::from_utf8(proxy.answer()).unwrap()
}

fn dropped(place: &Place) -> u64 {
    place.status()["listeners"][0]["dropped_datagrams_total"].as_u64().unwrap()
}

#[test]
fn each_datagram_to_a_backend_names_its_client() {
    let (place, udp, a) = (Place::new(), port(), echo());
    let evenkeel = place.native(&format!("{udp}/udp {a} --send-proxy v2 --workers 1"));
    let mut hosts: Vec<[IpAddr; 2]> =
        vec![[[127, 0, 0, 7].into(), [127, 0, 0, 2].into()], [[127, 0, 0, 8].into(); 2]];
    if has_ipv6() {
        hosts.push([Ipv6Addr::LOCALHOST.into(); 2]);
    }
    for [own, to] in hosts {
        let to = SocketAddr::new(to, udp.number());
        let client = UdpClient::from(own, to);
        let expected = header(client.address(), to, b"");
        for text in ["one", "", "two"] {
            client.send(text);
            assert_eq!(client.answer(), [&expected[..], text.as_bytes()].concat());
        }
    }
    place.ctl("kill 1").check(0);
    let line = evenkeel.log.wait("session=1 ");
    assert!(line.contains("sent=6 "), "the header is not the client's: {line}");
}

#[test]
fn the_next_backend_hears_of_the_client_too() {
    let (place, udp, b) = (Place::new(), port(), echo());
    let mut a = UdpBackend::named("a");
    let _evenkeel = place.native(&format!("{udp}/udp {a} ! {b} --send-proxy v2"));
    a.stop();
    let client = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    client.send("hello");
    let to = (Ipv4Addr::LOCALHOST, udp.number()).into();
    assert_eq!(client.answer(), [&header(client.address(), to, b"")[..], b"hello"].concat());
}

#[test]
fn the_header_of_a_flow_stays_the_same_even_in_upgrades() {
    let (place, udp, a) = (Place::new(), port(), echo());
    let words = format!("{udp}/udp {a} --send-proxy v2-unique-id-crc32c --workers 1");
    let mut old = place.native(&words);
    let client = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    let ask = |text: &str| {
        client.send(text);
        let answer = client.answer();
        answer.strip_suffix(text.as_bytes()).unwrap().to_vec()
    };
    let first = ask("first");
    let id = &first[28..first.len() - 7];
    assert!(id[0] == 5 && id.ends_with(b"-1"), "{first:?}");
    assert_eq!(first[first.len() - 7..][..3], [3, 0, 4]);
    assert_eq!(ask("second"), first);
    upgrade(&place, "");
    until_gone(&mut old);
    assert_eq!(ask("third"), first);
}

#[test]
fn what_is_too_long_with_its_header_is_counted() {
    let (place, udp, a) = (Place::new(), port(), echo());
    let _evenkeel = place.native(&format!("{udp}/udp {a} --send-proxy v2"));
    let client = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    let longest = vec![b'x'; 65_507 - 28];
    for dropped_before in 0..2 {
        client.send(vec![b'x'; longest.len() + 1]);
        until("one more is dropped", || dropped(&place) == dropped_before + 1);
        client.send(&longest);
        assert!(client.answer().ends_with(&longest));
    }
    assert_eq!(place.status()["listeners"][0]["sessions_total"], 1);
}

#[test]
fn one_pool_hears_of_clients_of_both_protocols() {
    // One port that is free for both.
    let (tcp, udp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            break (tcp, udp);
        }
    };
    let (place, both, to) = (Place::new(), port(), udp.local_addr().unwrap());
    let _evenkeel = place.native(&format!("{both}/tcp+udp {to} --send-proxy v2"));
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, both.number()));
    let client = UdpClient::to(at);
    client.send("hello");
    let mut bytes = [0; 100];
    let count = udp.recv(&mut bytes).unwrap();
    assert_eq!(bytes[..count], [&header(client.address(), at, b"")[..], b"hello"].concat());
    let client = TcpStream::connect(at).unwrap();
    let mut expected = header(client.local_addr().unwrap(), at, b"");
    expected[13] = 0x11;
    tcp.accept().unwrap().0.read_exact(&mut bytes[..28]).unwrap();
    assert_eq!(bytes[..28], expected);
}

#[test]
fn a_probe_by_datagrams_announces_nobody() {
    let (place, udp, a) = (Place::new(), port(), UdpBackend::silent());
    let file = place.file("evenkeel.toml");
    let config = format!(
        "[listeners.dns]\nbind = \"{udp}/udp\"\npool = \"dns\"\n[pools.dns]\nbackends = [\"{a}\"]\n\
         send-proxy = \"v2\"\nprobe = \"dns over=udp\"\nprobe-interval = \"100ms\"\n"
    );
    std::fs::write(&file, config).unwrap();
    let _evenkeel = place.native(&format!("run {}", file.display()));
    until("a probe", || !a.seen().is_empty());
    let (_, probe) = a.seen().remove(0);
    let query = probe.strip_prefix(LOCAL).expect("a header that names nobody");
    assert_eq!(query[2..6], [1, 0, 0, 1], "one question");
}

#[test]
fn clients_of_a_proxy_are_told_apart_and_known() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let words = "--accept-proxy 127.0.0.9 --deny 192.0.2.128/25 --affinity 10 --workers 1";
    let evenkeel = place.native(&format!("{udp}/udp {a} {b} {words}"));
    let first = proxy(&udp);
    assert_eq!(ask(&first, from("192.0.2.7:1", "one")), "aone");
    assert_eq!(ask(&first, from("192.0.2.8:1", "two")), "btwo");
    assert_eq!(ask(&first, from("192.0.2.7:1", "three")), "athree");
    assert_eq!(ask(&first, from("[2001:db8::7]:1", "four")), "afour");
    assert_eq!(place.sessions(), 3);
    // Its affinity is the client's, wherever it comes from; its answers go where it came from.
    let second = proxy(&udp);
    assert_eq!(ask(&second, from("192.0.2.8:1", "five")), "bfive");
    assert_eq!(ask(&first, from("192.0.2.8:1", "six")), "bsix");
    assert_eq!(place.sessions(), 4);
    let own = first.address();
    let sessions = place.ctl("sessions --json").check(0).stdout;
    assert!(sessions.contains("\"client\": \"192.0.2.8:1\""), "{sessions}");
    assert!(sessions.contains(&format!("\"peer\": \"{own}\"")), "{sessions}");
    first.send(from("192.0.2.200:1", "denied"));
    let line = evenkeel.log.wait("reason=denied");
    assert!(line.contains(&format!(" client=192.0.2.200:1 peer={own} ")), "{line}");
    // What the proxy itself says, such as a probe, is nobody else's.
    assert_eq!(ask(&first, [LOCAL, b"itself"].concat()), "bitself");
    place.ctl("kill 6").check(0);
    let line = evenkeel.log.wait(&format!("client={own}"));
    assert!(!line.contains(" peer="), "{line}");
}

#[test]
fn only_what_proxies_announce_is_served() {
    let (place, udp, a) = (Place::new(), port(), UdpBackend::named("a"));
    let words = "--accept-proxy 127.0.0.9 --workers 2";
    let evenkeel = place.native(&format!("{udp}/udp {a} {words}"));
    let [proxy, stranger] = [PROXY, [127, 0, 0, 7]]
        .map(|own| UdpClient::from(own.into(), (Ipv4Addr::LOCALHOST, udp.number())));
    let whole = from("192.0.2.7:1", "");
    let unix = [SIGNATURE, &[0x21, 0x32, 0, 216], &[0; 216]].concat();
    let long = [SIGNATURE, &[0x21, 0x12, 0xff, 0xff], &[0; 60_000]].concat();
    let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    bad.extend([unix, long, b"a query".to_vec(), SIGNATURE.repeat(9), vec![0x0d; 65_507]]);
    bad.push(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nquery".to_vec());
    bad.extend((0..16).map(|at| {
        let mut bytes = from("192.0.2.7:1", "query");
        bytes[at] ^= 0x80;
        bytes
    }));
    let mut count = 0;
    for bytes in bad {
        proxy.send(bytes);
        stranger.send(&whole);
        count += 2;
        until("both are dropped", || dropped(&place) == count);
    }
    assert_eq!(ask(&proxy, from("192.0.2.7:1", "query")), "aquery");
    assert!(stranger.answer_within(Duration::from_millis(1)).is_err());
    assert_eq!(a.seen().len(), 1);
    assert_eq!(place.status()["listeners"][0]["sessions_total"], 1);
    assert_eq!(evenkeel.log.with("session ended"), [""; 0]);
}

#[test]
fn what_was_announced_goes_on_to_backends_and_through_upgrades() {
    let (place, udp, a) = (Place::new(), port(), echo());
    let words = "--accept-proxy 127.0.0.9 --send-proxy v2-unique-id";
    let mut old = place.native(&format!("{udp}/udp {a} {words}"));
    let proxy = proxy(&udp);
    let [client, to] = ["192.0.2.7:1", "198.51.100.1:53"].map(|it| it.parse().unwrap());
    let ask = |text: &[u8]| {
        let bytes = [&header(client, to, b"\x05\0\x05an id\x04\0\x01x")[..], text].concat();
        proxy.send(bytes);
        let expected = [&header(client, to, b"\x05\0\x05an id")[..], text].concat();
        assert_eq!(proxy.answer(), expected);
    };
    ask(b"one");
    upgrade(&place, "");
    until_gone(&mut old);
    ask(b"two");
    assert_eq!(place.status()["listeners"][0]["sessions_total"], 1);
    let sessions = place.ctl("sessions --json").check(0).stdout;
    assert!(sessions.contains("\"client\": \"192.0.2.7:1\""), "{sessions}");
    assert!(sessions.contains(&format!("\"peer\": \"{}\"", proxy.address())), "{sessions}");
}

#[test]
fn clients_of_a_proxy_move_from_a_backend_that_dies() {
    let (place, udp) = (Place::new(), port());
    let [mut a, b] = ["a", "b"].map(UdpBackend::named);
    let words = "--accept-proxy 127.0.0.0/8 --workers 2";
    let _evenkeel = place.native(&format!("{udp}/udp {a} ! {b} {words}"));
    let proxies = [(); 4].map(|()| proxy(&udp));
    let client = |number: usize| from(&format!("192.0.2.{number}:1"), "?");
    thread::scope(|scope| {
        for (at, proxy) in proxies.iter().enumerate() {
            scope.spawn(move || {
                (0..5).for_each(|it| assert_eq!(ask(proxy, client(4 * it + at)), "a?"))
            });
        }
    });
    a.stop();
    for (at, proxy) in proxies.iter().enumerate() {
        for number in 0..5 {
            // What is under way to the dead one when ICMP answers is lost; a client sends again.
            until("an answer from the other one", || {
                proxy.send(client(4 * number + at));
                let answer = proxy.answer_within(Duration::from_millis(100));
                answer.is_ok_and(|answer| answer == b"b?")
            });
        }
    }
}
