//! Routes: clients go where their ClientHello says, and the backend gets every byte of it.

use crate::rig::{PATIENCE, Rig, accept, announcing, backend, expect, expect_rest, pool, settings};
use balancing::{Affinity, RouteRule, Routes};
use dataplane::{Routing, Settings};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use terms::{CloseReason, Phase, SendProxy, Starttls, Timeouts};

/// Of BoringSSL, for `web.example.org`, with a post-quantum key share.
const CHROME: &[u8] = include_bytes!("../../../relay/src/client_hello/recorded/chrome.bin");
/// Of OpenSSL, for `db.example.org`.
const OPENSSL: &[u8] = include_bytes!("../../../relay/src/client_hello/recorded/openssl-tls13.bin");
const NO_NAME: &[u8] =
    include_bytes!("../../../relay/src/client_hello/recorded/openssl-no-name.bin");

/// A listener whose own pool is the first backend. The second is for `web.example.org`, and the
/// third for the protocol of PostgreSQL.
struct Routed {
    rig: Rig,
    backends: [TcpListener; 3],
}

impl Routed {
    fn new(wait: Duration) -> Self {
        let ([own, web, db], [at, web_at, db_at]) = {
            let all = [backend(), backend(), backend()];
            let addresses = [all[0].1, all[1].1, all[2].1];
            (all.map(|(listener, _)| listener), addresses)
        };
        let rig = Rig::new(Settings { hello_wait: Some(wait), ..settings() }, pool(&[at]));
        let of_name =
            RouteRule { names: vec!["*.Example.org".parse().unwrap()], ..RouteRule::default() };
        let of_protocol = RouteRule { protocols: vec!["postgresql".to_owned()], ..of_name.clone() };
        let affinity = Some(Arc::new(Affinity::new(10, None, 1)));
        let web_pool = balancing::Pool { affinity, sticky: true, ..pool(&[web_at]) };
        rig.listener.publish_routing(Routing {
            routes: Routes::new(&[of_name, of_protocol]),
            pools: vec![Arc::new(web_pool), Arc::new(pool(&[db_at]))],
        });
        Self { rig, backends: [own, web, db] }
    }

    fn connect(&self) -> TcpStream {
        let client = self.rig.connect();
        client.set_nodelay(true).unwrap();
        client
    }

    /// The client is served by this backend, which gets all these bytes.
    #[track_caller]
    fn check(&mut self, mut client: TcpStream, place: usize, bytes: &[u8], name: Option<&str>) {
        let mut served = accept(&self.backends[place]);
        expect(&mut served, bytes);
        served.write_all(b"hello").unwrap();
        expect(&mut client, b"hello");
        client.shutdown(Shutdown::Write).unwrap();
        expect_rest(&mut served, b"");
        drop((client, served));
        let ended = self.rig.await_end();
        assert_eq!((ended.reason, ended.sent_bytes), (CloseReason::ClientFin, bytes.len() as u64));
        assert_eq!(ended.server_name.as_deref(), name);
    }
}

/// A message in records of this length.
fn in_records(hello: &[u8], length: usize) -> Vec<u8> {
    let records = hello[5..].chunks(length).flat_map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    });
    records.collect()
}

#[test]
fn a_hello_cut_anywhere_goes_to_the_pool_of_its_name() {
    let mut routed = Routed::new(PATIENCE);
    for (hello, place, name) in [(CHROME, 1, "web.example.org"), (OPENSSL, 2, "db.example.org")] {
        for cut in (1..hello.len()).step_by(7) {
            let mut client = routed.connect();
            let (first, rest) = hello.split_at(cut);
            client.write_all(first).unwrap();
            routed.rig.settle(); // the worker has seen the first part
            client.write_all(rest).unwrap();
            routed.check(client, place, hello, Some(name));
        }
    }
}

#[test]
fn a_hello_may_come_in_records_and_bytes() {
    let mut routed = Routed::new(PATIENCE);
    for length in [1, 100, CHROME.len() / 8 + 1] {
        let bytes = in_records(CHROME, length);
        let mut client = routed.connect();
        for part in bytes.chunks(bytes.len() / 40) {
            client.write_all(part).unwrap();
            routed.rig.settle();
        }
        routed.check(client, 1, &bytes, Some("web.example.org"));
    }
}

#[test]
fn the_longest_hello_is_read_however_much_the_socket_takes_at_first() {
    let mut routed = Routed::new(PATIENCE);
    // Of 64 kB, by an extension for padding.
    let mut message = OPENSSL[5..].to_vec();
    let padding = 64_000;
    let list = 4 + 2 + 32 + 1 + usize::from(message[38]);
    let suites = usize::from(u16::from_be_bytes([message[list], message[list + 1]]));
    let extensions = list + 2 + suites + 2;
    let length = u16::from_be_bytes([message[extensions], message[extensions + 1]]);
    message.splice(extensions..extensions + 2, (length + 4 + padding).to_be_bytes());
    message.extend([0, 21]);
    message.extend(padding.to_be_bytes());
    message.resize(message.len() + usize::from(padding), 0);
    let body = u32::try_from(message.len() - 4).unwrap().to_be_bytes();
    message.splice(1..4, body[1..].iter().copied());
    let bytes = in_records(&[&[0; 5], message.as_slice()].concat(), 1 << 14);
    assert!(bytes.len() > 64_000);
    for piece in [bytes.len(), 1000, 60_000] {
        let client = routed.connect();
        let mut sending = client.try_clone().unwrap();
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            sent.chunks(piece).for_each(|part| sending.write_all(part).unwrap());
        });
        sender.join().unwrap();
        routed.check(client, 2, &bytes, Some("db.example.org"));
    }
}

#[test]
fn clients_without_a_route_go_to_the_listeners_own_pool() {
    let mut routed = Routed::new(PATIENCE);
    for bytes in [NO_NAME, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00"] {
        let mut client = routed.connect();
        client.write_all(bytes).unwrap();
        routed.check(client, 0, bytes, None);
    }
    // One that ends within its hello.
    let mut client = routed.connect();
    client.write_all(&CHROME[..1000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut served = accept(&routed.backends[0]);
    expect_rest(&mut served, &CHROME[..1000]);
}

#[test]
fn a_silent_client_soon_hears_the_server_that_speaks_first() {
    let mut routed = Routed::new(Duration::from_millis(50));
    let begun = Instant::now();
    let mut client = routed.connect();
    let mut served = accept(&routed.backends[0]);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    served.write_all(b"220 ready\r\n").unwrap();
    expect(&mut client, b"220 ready\r\n");
    client.write_all(CHROME).unwrap(); // too late
    drop(client);
    drop(served);
    assert_eq!(routed.rig.await_end().server_name, None);
}

#[test]
fn while_a_client_says_nothing_it_holds_no_backend() {
    let mut routed = Routed::new(PATIENCE);
    let mut client = routed.connect();
    client.write_all(&CHROME[..100]).unwrap();
    routed.rig.settle();
    let listed = routed.rig.list();
    assert_eq!((listed[0].phase, listed[0].upstream_fd), (Phase::Connecting, None));
    assert_eq!(routed.rig.listener.connecting(), 0);
    client.write_all(&CHROME[100..]).unwrap();
    let mut served = accept(&routed.backends[1]);
    expect(&mut served, CHROME);
    assert_eq!(routed.rig.list()[0].server_name.as_deref(), Some("web.example.org"));
    // Its bytes are counted where the client is remembered.
    let table = routed.rig.listener.routing().pools[0].affinity.clone().unwrap();
    drop((client, served));
    routed.rig.await_end();
    assert_eq!(table.rows()[0].received_bytes, CHROME.len() as u64);
}

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const STARTUP: &[u8] = &[0, 0, 0, 9, 0, 3, 0, 0, 0];

/// As [`Routed::new`], for clients of PostgreSQL.
fn postgresql() -> Routed {
    let routed = Routed::new(PATIENCE);
    let wait = Some(PATIENCE);
    let settings = Settings {
        hello_wait: wait,
        starttls: Some(Starttls::Postgresql),
        timeouts: Timeouts { connect: Duration::from_secs(1), ..settings().timeouts },
        ..settings()
    };
    routed.rig.plane.publish(&routed.rig.listener, settings);
    routed.rig.settle();
    routed
}

/// A client that has been granted TLS.
fn granted(routed: &Routed) -> TcpStream {
    let mut client = routed.connect();
    for byte in SSL_REQUEST {
        client.write_all(&[*byte]).unwrap();
    }
    expect(&mut client, b"S");
    client
}

#[test]
fn a_backend_of_postgresql_is_asked_for_tls_before_it_gets_the_hello() {
    let mut routed = postgresql();
    for cut in [1, 5, 100, 300] {
        let mut client = granted(&routed);
        client.write_all(&OPENSSL[..cut]).unwrap();
        routed.rig.settle();
        client.write_all(&OPENSSL[cut..]).unwrap();
        let mut served = accept(&routed.backends[2]);
        expect(&mut served, SSL_REQUEST);
        served.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(served.read(&mut [0]).is_err(), "the answer is awaited");
        served.set_read_timeout(Some(PATIENCE)).unwrap();
        served.write_all(b"S").unwrap();
        expect(&mut served, OPENSSL);
        served.write_all(b"ServerHello").unwrap();
        expect(&mut client, b"ServerHello");
        drop((client, served));
        let ended = routed.rig.await_end();
        assert_eq!(ended.server_name.as_deref(), Some("db.example.org"));
        assert_eq!((ended.sent_bytes, ended.received_bytes), (OPENSSL.len() as u64, 11));
    }
    // Those that begin with TLS at once are not asked about, and neither are those without it.
    for (bytes, place, name) in [(OPENSSL, 2, Some("db.example.org")), (STARTUP, 0, None)] {
        let mut client = routed.connect();
        client.write_all(bytes).unwrap();
        routed.check(client, place, bytes, name);
    }
}

#[test]
fn a_client_is_announced_before_tls_is_asked_for() {
    let routed = postgresql();
    let address = routed.backends[2].local_addr().unwrap();
    let pool = announcing(pool(&[address]), SendProxy::V1);
    let rule = RouteRule { names: vec!["db.example.org".parse().unwrap()], protocols: Vec::new() };
    let routes = Routes::new(&[rule]);
    routed.rig.listener.publish_routing(Routing { routes, pools: vec![Arc::new(pool)] });
    let mut client = granted(&routed);
    client.write_all(OPENSSL).unwrap();
    let mut served = accept(&routed.backends[2]);
    let (from, to) = (client.local_addr().unwrap().port(), routed.rig.address.port());
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n");
    expect(&mut served, &[header.as_bytes(), SSL_REQUEST].concat());
    served.write_all(b"S").unwrap();
    expect(&mut served, OPENSSL);
}

#[test]
fn a_backend_that_refuses_tls_or_says_too_much_has_failed() {
    for answer in [&b"N"[..], b"SX", b"E"] {
        let mut routed = postgresql();
        let mut client = granted(&routed);
        client.write_all(OPENSSL).unwrap();
        let mut served = accept(&routed.backends[2]);
        expect(&mut served, SSL_REQUEST);
        served.write_all(answer).unwrap();
        assert_eq!(routed.rig.await_end().reason, CloseReason::BackendTlsFailed);
    }
    // One that says nothing is as late as one that does not accept the connection.
    let mut routed = postgresql();
    let mut client = granted(&routed);
    client.write_all(OPENSSL).unwrap();
    let _silent = accept(&routed.backends[2]);
    assert_eq!(routed.rig.await_end().reason, CloseReason::ConnectTimeout);
}

#[test]
fn plain_text_around_a_request_for_tls_ends_the_session() {
    let mut routed = postgresql();
    for (before, after) in [
        ([SSL_REQUEST, STARTUP].concat(), &b""[..]),
        ([SSL_REQUEST, OPENSSL].concat(), b""),
        (SSL_REQUEST.to_vec(), STARTUP),
    ] {
        let mut client = routed.connect();
        client.write_all(&before).unwrap();
        if !after.is_empty() {
            expect(&mut client, b"S");
            client.write_all(after).unwrap();
        }
        assert_eq!(routed.rig.await_end().reason, CloseReason::TlsFailed);
    }
    // A client that goes after its request has not been served at all.
    drop(granted(&routed));
    assert_eq!(routed.rig.await_end().reason, CloseReason::ClientFin);
}
