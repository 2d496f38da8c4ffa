//! Clients announced by headers of the PROXY protocol, from proxies and to backends.

use crate::rig::{
    Rig, accept, announcing, backend, expect, expect_rest, pool, settings, wait_until,
};
use balancing::{AccessEntry, AccessList, Backend, ProxyPeers, Subject, Verdict};
use dataplane::Settings;
use relay::{Details, Origin, write_header};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use terms::{CloseReason, Phase, SendProxy, SpliceMode, Timeouts};

const V2: SendProxy = SendProxy::V2 { unique_id: false, crc32c: false };
const V2_WITH_ALL: SendProxy = SendProxy::V2 { unique_id: true, crc32c: true };
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

fn client() -> SocketAddr {
    "192.0.2.7:56324".parse().unwrap()
}

fn header(format: SendProxy) -> Vec<u8> {
    let origin = Origin::client(client(), "198.51.100.1:443".parse().unwrap());
    let mut header = Vec::new();
    let details = Details { unique_id: b"an id", ..Details::default() };
    write_header(format, origin, &details, &mut header);
    header
}

fn loopback(octets: [u8; 4], bits: u32) -> Subject {
    Subject::V4 { address: octets.into(), mask: Ipv4Addr::from_bits(u32::MAX << (32 - bits)) }
}

/// Loopback peers are proxies.
fn accepting() -> Settings {
    let proxies = ProxyPeers::new(vec![loopback([127, 0, 0, 0], 8)], false);
    Settings { accept_proxy: Some(proxies), ..settings() }
}

/// The connection has been reset or closed.
#[track_caller]
fn expect_gone(stream: &mut TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_header_cut_anywhere_is_understood_and_not_passed_on() {
    let (backend, address) = backend();
    let mut rig = Rig::new(accepting(), pool(&[address]));
    for format in [SendProxy::V1, V2, V2_WITH_ALL] {
        let header = header(format);
        for cut in 1..=header.len() {
            let mut peer = rig.connect();
            peer.set_nodelay(true).unwrap();
            let (first, rest) = header.split_at(cut);
            peer.write_all(first).unwrap();
            rig.settle(); // the worker has seen the first part
            peer.write_all(&[rest, b"hello"].concat()).unwrap();
            let mut served = accept(&backend);
            expect(&mut served, b"hello");
            served.write_all(b"hi").unwrap();
            expect(&mut peer, b"hi");
            drop((peer, served));
            let ended = rig.await_end();
            assert_eq!((ended.client, ended.sent_bytes), (Some(client()), 5), "cut at {cut}");
        }
    }
}

#[test]
fn the_first_bytes_may_come_one_by_one_or_with_the_header_and_an_end() {
    let (backend, address) = backend();
    let rig = Rig::new(Settings { splice: SpliceMode::Always, ..accepting() }, pool(&[address]));
    let mut peer = rig.connect();
    peer.set_nodelay(true).unwrap();
    for byte in [LINE, b"abc"].concat() {
        peer.write_all(&[byte]).unwrap();
    }
    expect(&mut accept(&backend), b"abc");
    let mut peer = rig.connect();
    let body = vec![b'x'; 500_000];
    let sent = [&header(V2), body.as_slice()].concat();
    let sender = std::thread::spawn(move || {
        peer.write_all(&sent).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        peer
    });
    expect_rest(&mut accept(&backend), &body);
    expect_rest(&mut sender.join().unwrap(), b"");
}

#[test]
fn a_backend_that_speaks_first_is_heard_after_the_header() {
    let (backend, address) = backend();
    let rig = Rig::new(accepting(), pool(&[address]));
    let mut peer = rig.connect();
    peer.write_all(LINE).unwrap();
    let mut served = accept(&backend);
    served.write_all(b"220 ready\r\n").unwrap();
    expect(&mut peer, b"220 ready\r\n");
}

#[test]
fn the_client_that_was_announced_is_the_one_that_counts() {
    let (backend, address) = backend();
    let deny = |subject| AccessEntry { verdict: Verdict::Deny, subject };
    let access = AccessList::new(vec![deny(loopback([192, 0, 2, 0], 24))]);
    let pool = pool(&[address]);
    let mut rig = Rig::new(accepting(), balancing::Pool { access: Arc::new(access), ..pool });
    let mut denied = rig.connect();
    let peer = denied.local_addr().unwrap();
    denied.write_all(LINE).unwrap();
    expect_gone(&mut denied);
    let ended = rig.await_end();
    assert_eq!(ended.reason, CloseReason::Denied);
    assert_eq!((ended.client, ended.peer), (Some(client()), Some(peer)));
    // The proxy itself is not denied.
    let mut local = rig.connect();
    local.write_all(b"PROXY UNKNOWN\r\nping").unwrap();
    expect(&mut accept(&backend), b"ping");
    let listed = rig.list();
    assert_eq!(listed[0].client, Some(local.local_addr().unwrap()));
    assert_eq!(listed[0].client, listed[0].peer);
}

#[test]
fn a_peer_that_is_no_known_proxy_is_turned_away_whatever_it_sends() {
    let (backend, address) = backend();
    backend.set_nonblocking(true).unwrap();
    let proxies = ProxyPeers::new(vec![loopback([10, 0, 0, 0], 8)], true);
    let settings = Settings { accept_proxy: Some(proxies), ..settings() };
    let mut rig = Rig::new(settings, pool(&[address]));
    for bytes in [LINE, b"GET / HTTP/1.1\r\n\r\n", b""] {
        let mut peer = rig.connect();
        let _ = peer.write_all(bytes); // it may be over already
        expect_gone(&mut peer);
        let ended = rig.await_end();
        assert_eq!(ended.reason, CloseReason::ProxyUntrusted);
        assert_eq!(ended.client, Some(peer.local_addr().unwrap()));
    }
    assert_eq!(backend.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_proxy_that_sends_no_header_is_not_served() {
    let (backend, address) = backend();
    backend.set_nonblocking(true).unwrap();
    let mut rig = Rig::new(accepting(), pool(&[address]));
    let [half, _] = [&LINE[..20], &LINE[20..]];
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], CloseReason::ProxyInvalid),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", CloseReason::ProxyInvalid),
        (half, CloseReason::ProxyInvalid), // and then an end of file
        (b"", CloseReason::ClientFin),
    ] {
        let mut peer = rig.connect();
        peer.write_all(bytes).unwrap();
        if bytes.is_empty() || bytes == half {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        expect_gone(&mut peer);
        assert_eq!(rig.await_end().reason, reason, "{bytes:?}");
    }
    let reset = rig.connect();
    wait_until(|| rig.list().len() == 1);
    socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    assert_eq!(rig.await_end().reason, CloseReason::ClientReset);
    assert_eq!(backend.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_header_has_the_connect_timeout_and_is_not_a_connect_in_progress() {
    let (_backend, address) = backend();
    let timeouts = Timeouts { connect: Duration::from_millis(200), ..settings().timeouts };
    let asked = Settings { timeouts, connecting_max: Some(1), ..accepting() };
    let mut rig = Rig::new(asked, pool(&[address]));
    let mut slow: Vec<_> = (0..3).map(|_| rig.connect()).collect();
    for peer in &mut slow {
        peer.write_all(&LINE[..10]).unwrap();
    }
    wait_until(|| rig.list().len() == 3);
    assert!(rig.list().iter().all(|session| session.phase == Phase::Connecting));
    for _ in 0..3 {
        let ended = rig.await_end();
        assert_eq!(ended.reason, CloseReason::ProxyTimeout);
        assert!(ended.duration >= Duration::from_millis(200));
    }
    slow.iter_mut().for_each(expect_gone);
}

#[test]
fn a_backend_hears_of_the_client_before_anything_else() {
    let (backend, address) = backend();
    for (format, splice) in [(SendProxy::V1, SpliceMode::Auto), (V2, SpliceMode::Always)] {
        let pool = announcing(pool(&[address]), format);
        let mut rig = Rig::new(Settings { splice, ..settings() }, pool);
        let mut client = rig.connect();
        let mut served = accept(&backend);
        let mut header = Vec::new();
        let origin = Origin::client(client.local_addr().unwrap(), rig.address);
        write_header(format, origin, &Details::default(), &mut header);
        // At once, for a backend that speaks first.
        let mut bytes = vec![0; header.len()];
        served.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, header);
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        expect_rest(&mut served, b"hello");
        drop(served);
        expect_rest(&mut client, b"");
        assert_eq!(rig.await_end().sent_bytes, 5, "the header is not the client's data");
    }
}

#[test]
fn the_next_backend_hears_of_the_client_too() {
    let [(first, first_address), (second, second_address)] = [backend(), backend()];
    let pool = announcing(pool(&[first_address, second_address]), SendProxy::V1);
    let rig = Rig::new(settings(), pool);
    let mut client = rig.connect();
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        client.local_addr().unwrap().port(),
        rig.address.port()
    );
    let mut served = accept(&first);
    expect(&mut served, line.as_bytes());
    // It resets the connection, over which nothing but the header has passed.
    socket2::SockRef::from(&served).set_linger(Some(Duration::ZERO)).unwrap();
    drop(served);
    let mut served = accept(&second);
    expect(&mut served, line.as_bytes());
    client.write_all(b"hello").unwrap();
    expect(&mut served, b"hello");
}

#[test]
fn a_backend_can_have_a_form_of_its_own() {
    let (backend, address) = backend();
    let mut pool = announcing(pool(&[address]), V2);
    let tier = &mut pool.tiers[0];
    let announced = tier.backends.iter().map(|backend| {
        let own = backend.with_addresses(backend.addresses.clone());
        Arc::new(Backend { send_proxy: Some(SendProxy::V1), ..own })
    });
    tier.backends = announced.collect();
    let rig = Rig::new(settings(), pool);
    let _client = rig.connect();
    expect(&mut accept(&backend), b"PROXY TCP4 127.0.0.1 127.0.0.1 ");
}

#[test]
fn what_a_proxy_announced_is_passed_on() {
    let (backend, address) = backend();
    let rig = Rig::new(accepting(), announcing(pool(&[address]), V2_WITH_ALL));
    let mut peer = rig.connect();
    peer.write_all(&[&header(V2_WITH_ALL), &b"hello"[..]].concat()).unwrap();
    let mut served = accept(&backend);
    let mut bytes = vec![0; header(V2_WITH_ALL).len()];
    served.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, header(V2_WITH_ALL));
    expect(&mut served, b"hello");
    // A session without an id gets one of its own.
    let mut peer = rig.connect();
    peer.write_all(LINE).unwrap();
    let mut served = accept(&backend);
    let mut bytes = vec![0; 1024];
    let count = served.read(&mut bytes).unwrap();
    let header = relay::read_header(&bytes[..count]).unwrap().unwrap();
    assert_eq!(header.origin, Origin::client(client(), "198.51.100.1:443".parse().unwrap()));
    let id = String::from_utf8(header.unique_id.unwrap().to_vec()).unwrap();
    let number = rig.list().iter().map(|session| session.session).max().unwrap();
    assert_eq!(id.rsplit_once('-').map(|(_, last)| last), Some(number.to_string().as_str()));
}
