//! Settings that change while sessions go on.

use crate::rig::{Rig, accept, backend, expect, pool, settings, wait_until};
use dataplane::{Listener, Settings};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use terms::{CloseReason, ListenerId};

/// A backend that leaves connects unanswered, and what must be kept for that.
fn black_hole() -> (SocketAddr, Socket, Vec<Socket>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // The queue has room for one more than it was asked for, and drops the others' requests.
    let fillers = (0..3).map(|_| {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        filler
    });
    let fillers = fillers.collect();
    (address, socket, fillers)
}

#[test]
fn accepting_pauses_at_so_many_connects_under_way() {
    let (address, _backend, _fillers) = black_hole();
    let rig = Rig::new(Settings { connecting_max: Some(1), ..settings() }, pool(&[address]));
    let _first = rig.connect();
    wait_until(|| rig.listener.connecting() == 1);
    let _second = rig.connect();
    rig.settle();
    assert_eq!(rig.plane.sessions(), 1);
    assert_eq!(rig.cut(None, CloseReason::Admin), 1);
    wait_until(|| rig.plane.sessions() == 1 && rig.listener.connecting() == 1);
    let _third = rig.connect();
    rig.settle();
    assert_eq!(rig.plane.sessions(), 1);
    rig.plane.publish(&rig.listener, settings());
    wait_until(|| rig.plane.sessions() == 2 && rig.listener.connecting() == 2);
    rig.cut(None, CloseReason::Admin);
    wait_until(|| rig.listener.connecting() == 0);
}

#[test]
fn a_connect_that_fails_over_is_counted_once() {
    let (dead, address) = backend();
    drop(dead);
    let (backend, alive) = backend();
    let limited = Settings { connecting_max: Some(1), ..settings() };
    let rig = Rig::new(limited, pool(&[address, alive]));
    for _ in 0..20 {
        let mut client = rig.connect();
        client.write_all(b"x").unwrap();
        expect(&mut accept(&backend), b"x");
    }
    wait_until(|| rig.plane.sessions() == 0);
    assert_eq!(rig.listener.connecting(), 0);
}

#[test]
fn a_higher_limit_lets_waiting_clients_in() {
    let (backend, address) = backend();
    let rig = Rig::new(Settings { sessions_max: Some(1), ..settings() }, pool(&[address]));
    let _first = rig.connect();
    let _served = accept(&backend);
    let mut second = rig.connect();
    second.write_all(b"let me in").unwrap();
    rig.settle();
    assert_eq!(rig.plane.sessions(), 1);
    rig.plane.publish(&rig.listener, Settings { sessions_max: Some(2), ..settings() });
    expect(&mut accept(&backend), b"let me in");
    // And a lower one ends nobody.
    rig.plane.publish(&rig.listener, Settings { sessions_max: Some(1), ..settings() });
    rig.settle();
    assert_eq!(rig.plane.sessions(), 2);
}

#[test]
fn a_new_time_out_holds_for_sessions_that_are_silent_already() {
    let (backend, address) = backend();
    let mut rig = Rig::new(settings(), pool(&[address]));
    let _client = rig.connect();
    let _served = accept(&backend);
    rig.settle();
    let mut changed = settings();
    changed.timeouts.idle = Some(Duration::from_millis(1));
    rig.plane.publish(&rig.listener, changed);
    assert_eq!(rig.await_end().reason, CloseReason::IdleTimeout);
}

#[test]
fn a_listener_moves_while_its_sessions_go_on() {
    let (backend, address) = backend();
    let mut rig = Rig::new(settings(), pool(&[address]));
    let first = rig.address;
    let second_door = rig.listen();
    let second = rig.address;
    let mut client = rig.connect();
    let mut served = accept(&backend);
    rig.plane.stop_listening_on(&[second_door]);
    assert!(TcpStream::connect(second).is_err());
    rig.address = first; // another door of the same listener
    let _also = rig.connect();
    let _served = accept(&backend);
    rig.listen();
    client.write_all(b"still here").unwrap();
    expect(&mut served, b"still here");
    let mut new = rig.connect();
    new.write_all(b"elsewhere").unwrap();
    expect(&mut accept(&backend), b"elsewhere");
    assert_eq!(rig.listener.sessions_total(), 3);
}

#[test]
fn no_client_is_refused_while_a_socket_goes_to_another_listener() {
    let (backend, address) = backend();
    let mut rig = Rig::new(settings(), pool(&[address]));
    let door = rig.listen();
    let sockets = rig.plane.stop_listening_on(&[door]);
    let mut early = rig.connect();
    early.write_all(b"waiting").unwrap();
    let pool = Arc::new(pool(&[address]));
    let other = Arc::new(Listener::new(ListenerId::new(1), settings(), pool, rig.plane.workers()));
    rig.plane.listen(&other, sockets.into_iter().map(|(_, socket)| socket).collect());
    expect(&mut accept(&backend), b"waiting");
    assert_eq!((rig.listener.sessions_total(), other.sessions_total()), (0, 1));
}
