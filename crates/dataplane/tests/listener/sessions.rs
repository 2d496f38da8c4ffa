//! What settings make of a session.

use crate::rig::{Rig, accept, backend, expect, expect_rest, pool, settings, wait_until};
use balancing::{AccessEntry, AccessList, Affinity, Country, Subject, Verdict};
use dataplane::{Countries, Event, Observe, REQUEST_BYTES_MAX, Settings, SourceFault};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use terms::{CloseReason, Phase, Source, SpliceMode};

#[test]
fn requests_get_their_headers_however_they_come() {
    let (backend, address) = backend();
    let mut rig = Rig::new(Settings { forwarded_headers: true, ..settings() }, pool(&[address]));
    let mut client = rig.connect();
    let mut served = accept(&backend);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4";
    let headers = "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 127.0.0.1";
    client.write_all(head.as_bytes()).unwrap();
    expect(&mut served, head.as_bytes());
    client.write_all(b"\r\n\r\nbo").unwrap();
    expect(&mut served, format!("{headers}\r\n\r\nbo").as_bytes());
    client.write_all(b"dyGET / HTTP/1.0\n\nGET / HTTP/1.1\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    served.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // What is held back at the end is let go.
    let rest = format!("dyGET / HTTP/1.0{headers}\n\nGET / HTTP/1.1\r\n");
    expect_rest(&mut served, rest.as_bytes());
    drop(served);
    expect_rest(&mut client, b"GET / HTTP/1.1\r\n\r\n");
    let sent = head.len() + headers.len() + 6 + rest.len();
    assert_eq!(rig.await_end().sent_bytes as usize, sent);
}

#[test]
fn a_large_body_passes_whole_behind_a_request() {
    let (backend, address) = backend();
    let splice = SpliceMode::Always;
    let observe = Observe { requests: true, ..Observe::default() };
    let asked = Settings { forwarded_headers: true, splice, observe, ..settings() };
    let mut rig = Rig::new(asked, pool(&[address]));
    let mut client = rig.connect();
    let mut served = accept(&backend);
    let body: Vec<u8> = (0..3_000_000u32).map(|it| (it / 3) as u8).collect();
    let head = format!("PUT / HTTP/1.1\r\nContent-Length: {}", body.len());
    let headers = "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n";
    let sent = [head.as_bytes(), b"\r\n\r\n", &body].concat();
    let received = [head.as_bytes(), headers.as_bytes(), &body].concat();
    let sender = std::thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    });
    let mut bytes = Vec::new();
    served.read_to_end(&mut bytes).unwrap();
    assert!(bytes == received);
    drop((sender.join().unwrap(), served));
    let mut told = 0;
    while told < received.len() {
        told += rig.await_event(|event| match event {
            Event::Request { whole_bytes, .. } => Some(*whole_bytes),
            _ => None,
        });
    }
    assert_eq!(told, received.len());
}

#[test]
fn what_clients_send_is_told() {
    let (backend, address) = backend();
    let mut rig = Rig::new(settings(), pool(&[address]));
    let mut client = rig.connect();
    let mut served = accept(&backend);
    client.write_all(b"unseen").unwrap();
    expect(&mut served, b"unseen");
    let observe = Observe { requests: true, ..Observe::default() };
    rig.plane.publish(&rig.listener, Settings { observe, ..settings() });
    rig.settle();
    served.write_all(b"an answer").unwrap();
    expect(&mut client, b"an answer");
    let data = vec![b'x'; 3000];
    client.write_all(&data).unwrap();
    let (bytes, whole, from, to) = rig.await_event(|event| match event {
        Event::Request { client, backend, bytes, whole_bytes } => {
            Some((bytes.clone(), *whole_bytes, *client, Arc::clone(backend)))
        }
        _ => None,
    });
    assert_eq!(whole, data.len());
    assert_eq!(*bytes, data[..REQUEST_BYTES_MAX]);
    assert_eq!(from, client.local_addr().ok());
    assert_eq!(*to.name, *address.to_string());
}

#[test]
fn dumped_blocks_are_all_there() {
    let (backend, address) = backend();
    let observe = Observe { blocks: true, ..Observe::default() };
    let mut rig = Rig::new(Settings { observe, ..settings() }, pool(&[address]));
    let mut client = rig.connect();
    let mut served = accept(&backend);
    // More than one read takes, and an end known before the first of them.
    let data: Vec<u8> = (0..100_000u32).map(|it| it as u8).collect();
    client.write_all(&data).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    served.read_to_end(&mut bytes).unwrap();
    assert!(bytes == data);
    let mut told = Vec::new();
    while told.len() < data.len() {
        told.extend(rig.await_event(|event| match event {
            Event::Block { bytes: Some(bytes), .. } => Some(bytes.clone()),
            _ => None,
        }));
    }
    assert!(told == data);
}

#[test]
fn a_dummy_answers_and_no_reset_overtakes_the_answer() {
    let mut rig = Rig::new(Settings { dummy: true, ..settings() }, pool(&[]));
    let mut client = rig.connect();
    client.write_all(&vec![b'x'; 4_000_000]).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/html");
    assert_eq!(page.len(), 15);
    drop(client);
    assert_eq!(rig.await_end().reason, CloseReason::Answered);
    // Without a word there is no answer.
    let client = rig.connect();
    client.shutdown(Shutdown::Write).unwrap();
    expect_rest(&mut { client }, b"");
    assert_eq!(rig.await_end().reason, CloseReason::ClientFin);
    assert_eq!(rig.listener.connecting(), 0);
}

#[test]
fn without_patience_one_end_is_the_end_of_both() {
    let (backend, address) = backend();
    for client_first in [true, false] {
        let mut hasty = settings();
        hasty.timeouts.half_close = Some(Duration::ZERO);
        hasty.timeouts.backend_half_close = Some(Duration::ZERO);
        let mut rig = Rig::new(hasty, pool(&[address]));
        let mut client = rig.connect();
        let mut served = accept(&backend);
        let (first, second) =
            if client_first { (&mut client, &mut served) } else { (&mut served, &mut client) };
        let data = vec![b'y'; 500_000];
        let copy = data.clone();
        let mut writer = first.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut bytes = Vec::new();
        second.read_to_end(&mut bytes).unwrap();
        assert!(bytes == data);
        sender.join().unwrap();
        expect_rest(first, b"");
        let reason = if client_first { CloseReason::ClientFin } else { CloseReason::BackendFin };
        assert_eq!(rig.await_end().reason, reason);
    }
}

#[test]
fn a_list_has_descriptors_and_ends() {
    let (backend, address) = backend();
    let rig = Rig::new(settings(), pool(&[address]));
    let client = rig.connect();
    let mut served = accept(&backend);
    wait_until(|| rig.list().iter().any(|it| it.phase == Phase::Open));
    let open = rig.list().pop().unwrap();
    assert!(open.downstream_fd > 2 && open.upstream_fd.is_some_and(|fd| fd > 2));
    assert_eq!(open.place, Some((0, 0)));
    assert!(!open.client_ended && !open.backend_ended);
    client.shutdown(Shutdown::Write).unwrap();
    expect_rest(&mut served, b"");
    let open = rig.list().pop().unwrap();
    assert!(open.client_ended && !open.backend_ended);
    // More than the client's and our queues take.
    served.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    wait_until(|| {
        while (&served).write(&chunk).is_ok() {}
        rig.list()[0].held_received_bytes > 0
    });
    assert_eq!(rig.list()[0].held_sent_bytes, 0);
}

#[test]
fn one_notice_where_clients_have_no_address_that_fits() {
    let listener = std::net::TcpListener::bind("[::1]:0");
    let Ok(backend) = listener else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let address = backend.local_addr().unwrap();
    let mut rig = Rig::new(Settings { source: Source::Client, ..settings() }, pool(&[address]));
    for _ in 0..3 {
        let mut client = rig.connect();
        client.write_all(b"x").unwrap();
        expect(&mut accept(&backend), b"x");
        drop(client);
        rig.await_end();
    }
    let mut notices = 0;
    rig.plane.publish(&rig.listener, settings());
    rig.cut(None, CloseReason::Admin);
    let mut marker = rig.connect();
    marker.write_all(b"y").unwrap();
    expect(&mut accept(&backend), b"y");
    drop(marker);
    rig.await_end();
    for event in rig.seen() {
        if let Event::SourceUnusable { fault, .. } = event {
            assert!(matches!(fault, SourceFault::Family));
            notices += 1;
        }
    }
    assert_eq!(notices, 1);
}

#[derive(Debug, Default)]
struct Everywhere(AtomicU32);

impl Countries for Everywhere {
    fn country(&self, address: IpAddr) -> Option<Country> {
        assert!(address.is_loopback());
        self.0.fetch_add(1, Relaxed);
        Some(Country(*b"SE"))
    }
}

#[test]
fn countries_are_asked_for_once_and_only_where_a_rule_wants_them() {
    let (backend, address) = backend();
    let countries = Arc::new(Everywhere::default());
    let known = Arc::clone(&countries);
    let rig = Rig::new(Settings { countries: Some(known), ..settings() }, pool(&[address]));
    let serve = || {
        let mut client = rig.connect();
        client.write_all(b"x").unwrap();
        expect(&mut accept(&backend), b"x");
    };
    serve();
    assert_eq!(countries.0.load(Relaxed), 0);
    let entry =
        AccessEntry { verdict: Verdict::Permit, subject: Subject::Country(Country(*b"SE")) };
    let mut choosy = pool(&[address]);
    choosy.access = Arc::new(AccessList::new(vec![entry]));
    rig.listener.publish_pool(Arc::new(choosy));
    serve();
    assert_eq!(countries.0.load(Relaxed), 1);
}

#[test]
fn what_passed_is_known_of_a_client() {
    let (backend, address) = backend();
    let mut remembering = pool(&[address]);
    let affinity = Arc::new(Affinity::new(8, None, 1));
    remembering.affinity = Some(Arc::clone(&affinity));
    let mut rig = Rig::new(settings(), remembering);
    for _ in 0..2 {
        let mut client = rig.connect();
        client.write_all(b"ask").unwrap();
        let mut served = accept(&backend);
        expect(&mut served, b"ask");
        served.write_all(b"answer").unwrap();
        drop(served);
        expect_rest(&mut client, b"answer");
        drop(client);
        rig.await_end();
    }
    let rows = affinity.rows();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.sent_bytes, row.received_bytes), (12, 6));
}
