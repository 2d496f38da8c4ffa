//! Sessions that another data plane continues.

use crate::rig::{PATIENCE, Rig, accept, backend, expect, pool, settings, wait_until};
use balancing::Lease;
use dataplane::{Freezing, Moving, Portion, Selection, Settings, Staying};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use terms::{CloseReason, SpliceMode};

const ALL: Portion = Portion { sessions: usize::MAX, bytes: usize::MAX, selection: Selection::All };

/// Two data planes that could be two processes, and the backend of both.
struct Two {
    old: Rig,
    new: Rig,
    backend: TcpListener,
}

impl Two {
    fn new(settings: Settings) -> Self {
        let (backend, address) = backend();
        let old = Rig::new(settings.clone(), pool(&[address]));
        Self { old, new: Rig::new(settings, pool(&[address])), backend }
    }

    fn connect(&self) -> [TcpStream; 2] {
        [self.old.connect(), accept(&self.backend)]
    }

    fn freeze(&self) -> (Vec<Moving>, Staying) {
        let mover = self.old.plane.mover();
        let (sender, all) = channel();
        for worker in 0..mover.workers() {
            let sender = sender.clone();
            mover.freeze(worker, 0, ALL, move |it| sender.send(it).unwrap());
        }
        drop(sender);
        all.iter().fold((Vec::new(), Staying::default()), |(mut frozen, staying), it| {
            let Freezing { sessions, next_key: None, staying: more } = it else { panic!() };
            frozen.extend(sessions);
            (frozen, staying.plus(more))
        })
    }

    /// Moves as many sessions as there are, which must be all.
    fn move_all(&self, count: usize) {
        wait_until(|| self.old.plane.sessions() == count);
        let mut moved = 0;
        while moved < count {
            self.old.settle();
            let (frozen, _) = self.freeze();
            moved += frozen.len();
            self.new.plane.mover().adopt(frozen.iter().map(|it| self.arrive(it)).collect());
            self.old.plane.mover().let_go(frozen);
        }
        assert_eq!(self.old.plane.sessions(), 0);
        assert_eq!(self.old.listener.sessions(), 0);
    }

    /// What arrives of a session in the new data plane.
    fn arrive(&self, frozen: &Moving) -> Moving {
        let sockets: Vec<_> = frozen.sockets.iter().map(|it| it.try_clone().unwrap()).collect();
        let listener = Arc::clone(&self.new.listener);
        listener.adopt_session();
        let lease = Lease::adopt(&listener.pool().tiers[0].backends[0]);
        let state = serde_json::to_string(&frozen.state).unwrap();
        Moving {
            state: serde_json::from_str(&state).unwrap(),
            sockets: sockets.try_into().unwrap(),
            residues: frozen.residues.clone(),
            listener,
            lease,
            affinity: None,
        }
    }
}

/// Sends `count` bytes that say where they are, and then an end of file.
fn send(mut to: TcpStream, count: usize) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || {
        let bytes: Vec<u8> = (0..count).map(|place| (place / 251) as u8).collect();
        to.write_all(&bytes).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
        to
    })
}

#[track_caller]
fn receive(from: &mut TcpStream, count: usize) {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), count);
    let wrong = bytes.iter().zip(0..).position(|(&byte, place)| byte != (place / 251) as u8);
    assert_eq!(wrong, None, "the first wrong byte");
}

fn at_once() -> Settings {
    let mut settings = settings();
    // So that a silent backend is settled at once.
    settings.timeouts.connect = Duration::from_millis(1);
    settings
}

#[test]
fn a_session_goes_on_in_both_directions_and_reports_its_whole_life() {
    let mut two = Two::new(settings());
    let [mut client, mut served] = two.connect();
    client.write_all(b"before").unwrap();
    expect(&mut served, b"before");
    two.move_all(1);
    client.write_all(b"after").unwrap();
    expect(&mut served, b"after");
    served.write_all(b"answer").unwrap();
    expect(&mut client, b"answer");
    assert_eq!(two.new.listener.sessions(), 1);
    drop(client);
    assert_eq!(served.read(&mut [0]).unwrap(), 0, "the client is seen to be first");
    drop(served);
    let ended = two.new.await_end();
    assert_eq!((ended.session, ended.sent_bytes, ended.received_bytes), (1, 11, 6));
    assert_eq!(ended.reason, CloseReason::ClientFin);
    assert!(ended.connect.is_some() && ended.client.is_some());
    assert_eq!(two.new.listener.sessions(), 0);
    assert!(two.old.seen().is_empty(), "{:?}", two.old.seen());
}

#[test]
fn bytes_held_back_move_whole_however_they_pass() {
    for splice in [SpliceMode::Auto, SpliceMode::Always, SpliceMode::Never] {
        let two = Two::new(Settings { splice, ..at_once() });
        let pairs: Vec<_> = (0..2).map(|_| two.connect()).collect();
        let bytes = 8 << 20;
        let mut senders = Vec::new();
        for [client, served] in &pairs {
            senders.push(send(client.try_clone().unwrap(), bytes));
            senders.push(send(served.try_clone().unwrap(), bytes));
        }
        // Nobody reads, so everything is full, kernel queues and pipes.
        let held = || -> usize {
            let all = two.old.list().into_iter();
            all.map(|it| it.held_sent_bytes.min(it.held_received_bytes)).min().unwrap_or(0)
        };
        wait_until(|| held() > 0);
        two.move_all(2);
        let readers: Vec<_> = pairs
            .into_iter()
            .flatten()
            .map(|mut end| thread::spawn(move || receive(&mut end, bytes)))
            .collect();
        readers.into_iter().for_each(|it| it.join().unwrap());
        senders.into_iter().for_each(|it| drop(it.join().unwrap()));
    }
}

#[test]
fn a_half_closed_session_and_an_urgent_byte_move() {
    let mut two = Two::new(at_once());
    let [client, mut served] = two.connect();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(served.read(&mut [0; 8]).unwrap(), 0);
    two.move_all(1);
    served.write_all(b"late answer").unwrap();
    socket2::SockRef::from(&served).send_out_of_band(b"!").unwrap();
    served.write_all(b"end").unwrap();
    socket2::SockRef::from(&client).set_out_of_band_inline(true).unwrap();
    drop(served);
    let mut client = client;
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late answer!end");
    assert_eq!(two.new.await_end().reason, CloseReason::ClientFin);
}

#[test]
fn half_a_request_gets_its_headers_in_the_other_process() {
    let two = Two::new(Settings { forwarded_headers: true, ..settings() });
    let [mut client, mut served] = two.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    expect(&mut served, b"GET / HTTP/1.1\r\nHost: x");
    two.move_all(1);
    client.write_all(b"\r\n").unwrap();
    let headers = "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n";
    expect(&mut served, headers.as_bytes());
}

#[test]
fn what_is_thawed_goes_on_where_it_was() {
    let two = Two::new(settings());
    let [mut client, mut served] = two.connect();
    client.write_all(b"one").unwrap();
    expect(&mut served, b"one");
    let (frozen, _) = two.freeze();
    assert_eq!(frozen.len(), 1);
    client.write_all(b"two").unwrap();
    served.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    assert!(served.read(&mut [0]).is_err(), "a frozen session moved bytes");
    served.set_read_timeout(Some(PATIENCE)).unwrap();
    two.old.plane.mover().adopt(frozen);
    expect(&mut served, b"two");
    assert_eq!(two.old.plane.sessions(), 1);
}

#[test]
fn what_goes_on_at_another_worker_is_listed_and_cut_there() {
    let two = Two::new(settings());
    let [mut client, mut served] = two.connect();
    client.write_all(b"one").unwrap();
    expect(&mut served, b"one");
    let mover = two.old.plane.mover();
    assert!(mover.workers() > 1);
    let workers = 0..mover.workers();
    for worker in workers.clone().chain(workers) {
        two.old.settle();
        let session = two.freeze().0.pop().unwrap();
        mover.adopt_at(worker, session);
        assert_eq!(two.old.list().len(), 1, "at worker {worker}");
    }
    // The only session, so it is at the worker whose numbers are higher.
    assert_eq!(two.old.cut(None, CloseReason::Shutdown), 1);
}

#[test]
fn a_session_that_may_get_another_backend_stays() {
    let two = Two::new(settings());
    let [client, served] = two.connect();
    wait_until(|| two.old.list().iter().any(|it| it.phase == terms::Phase::Open));
    let (frozen, staying) = two.freeze();
    assert_eq!((frozen.len(), staying.unsettled), (0, 1));
    drop((client, served));
}

#[test]
fn numbers_go_on_where_the_other_process_was() {
    let two = Two::new(settings());
    two.new.plane.mover().number_from(1000);
    two.new.settle();
    let _client = two.new.connect();
    let _served = accept(&two.backend);
    assert!(two.new.list().iter().all(|it| it.session > 1000 && it.session < 1010));
    two.old.plane.mover().number_from(0);
}
