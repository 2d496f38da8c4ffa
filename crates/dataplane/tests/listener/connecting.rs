//! Backends that do not answer, and what becomes of those who wait for them.

use crate::rig::{Rig, accept, backend, expect, pool, pool_of, settings, wait_until};
use dataplane::Event;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, CloseReason, ConnectFailure, Phase};

/// Once this many overflowed the stack of a worker.
#[test]
fn hundreds_of_backends_that_fail_at_once_lead_to_the_last() {
    let (backend, address) = backend();
    let missing = |number| vec![Address::Unix(format!("/nonexistent/{number}").into())];
    let addresses = (0..1000).map(missing).chain([vec![Address::Ip(address)]]);
    let rig = Rig::new(settings(), pool_of(addresses.collect()));
    let mut client = rig.connect();
    client.write_all(b"at last").unwrap();
    expect(&mut accept(&backend), b"at last");
}

#[test]
fn a_backend_whose_queue_is_full_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backend");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let listener = UnixListener::from(socket);
    let filler = UnixStream::connect(&path).unwrap();
    let mut rig = Rig::new(settings(), pool_of(vec![vec![Address::Unix(path)]]));
    let mut client = rig.connect();
    wait_until(|| rig.list().iter().any(|it| it.phase == Phase::Connecting));
    rig.settle();
    drop(listener.accept().unwrap());
    drop(filler);
    let (mut served, _) = listener.accept().unwrap();
    served.write_all(b"welcome").unwrap();
    expect(&mut client, b"welcome");
    drop((client, served));
    rig.await_end();
    assert_eq!(rig.failures(), 0);
}

#[test]
fn a_queue_that_stays_full_is_a_failure_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backend");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _filler = UnixStream::connect(&path).unwrap();
    let mut hasty = settings();
    hasty.timeouts.connect = Duration::from_millis(100);
    let mut rig = Rig::new(hasty, pool_of(vec![vec![Address::Unix(path)]]));
    let _client = rig.connect();
    assert_eq!(rig.await_end().reason, CloseReason::ConnectTimeout);
}

#[test]
fn a_backend_that_ends_silent_connections_is_well() {
    let (backend, address) = backend();
    let mut settings = settings();
    settings.timeouts.connect = Duration::from_millis(100);
    let mut rig = Rig::new(settings, pool(&[address]));
    let mut client = rig.connect();
    let served = accept(&backend);
    wait_until(|| rig.list().iter().any(|it| it.age > Duration::from_secs(1)));
    SockRef::from(&served).set_linger(Some(Duration::ZERO)).unwrap();
    drop(served);
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(rig.await_end().reason, CloseReason::BackendReset);
    assert_eq!(rig.failures(), 0);
}

#[test]
fn a_backend_that_resets_at_once_sends_the_client_on() {
    let (first, one) = backend();
    let (second, two) = backend();
    let mut rig = Rig::new(settings(), pool(&[one, two]));
    let mut client = rig.connect();
    let served = accept(&first);
    SockRef::from(&served).set_linger(Some(Duration::ZERO)).unwrap();
    drop(served);
    let mut served = accept(&second);
    served.write_all(b"second").unwrap();
    expect(&mut client, b"second");
    rig.await_event(|event| matches!(event, Event::ConnectFailed(_)).then_some(()));
}

/// Otherwise each connection would be a client of its own, until there are no descriptors.
#[test]
fn a_backend_that_is_our_own_listener_is_not_connected_to() {
    let quarantine = Duration::from_secs(60);
    let mut rig = Rig::new(settings(), pool(&[]));
    let mut looping = pool(&[rig.address]);
    looping.health.quarantine = quarantine;
    rig.listener.publish_pool(Arc::new(looping));
    let _client = rig.connect();
    assert_eq!(rig.await_end().reason, CloseReason::ConnectRefused);
    assert_eq!(rig.listener.sessions_total(), 1);
    let failure = rig.await_event(|event| match event {
        Event::Backend { failure, .. } => Some(*failure),
        _ => None,
    });
    assert_eq!(failure, Some(ConnectFailure::Loop));
}

#[test]
fn a_list_has_the_address_that_was_connected_to() {
    let (down, one) = backend();
    drop(down);
    let (backend, two) = backend();
    let addresses = vec![Address::Ip(one), Address::Ip(two)];
    let rig = Rig::new(settings(), pool_of(vec![addresses]));
    let client = rig.connect();
    let _served = accept(&backend);
    wait_until(|| rig.list().iter().any(|it| it.phase == Phase::Open));
    let session = rig.list().pop().unwrap();
    assert_eq!(session.backend_address, Some(two));
    assert_eq!(session.client, client.local_addr().ok());
}

#[test]
fn lists_and_cuts_of_many_sessions_are_whole() {
    let (backend, address) = backend();
    let rig = Rig::new(settings(), pool(&[address]));
    let clients: Vec<_> = (0..300).map(|_| (rig.connect(), accept(&backend))).collect();
    wait_until(|| rig.list().len() == clients.len());
    let mut numbers: Vec<_> = rig.list().iter().map(|it| it.session).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), clients.len());
    assert_eq!(rig.cut(Some(numbers[7]), CloseReason::Admin), 1);
    assert_eq!(rig.cut(Some(numbers[7]), CloseReason::Admin), 0);
    assert_eq!(rig.cut(None, CloseReason::Admin), clients.len() - 1);
    assert_eq!(rig.list().len(), 0);
}
