//! What is counted agrees with what the sessions' ends report.

use crate::rig::{Rig, accept, backend, expect, expect_rest, pool, settings, wait_until};
use dataplane::{ClientFilter, Ended, SessionFilter, SessionInfo};
use std::collections::HashSet;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use terms::{CloseReason, FailureKind, SessionOrder};

/// A session in which the client sends so much, and the backend answers with twice as much.
fn session(rig: &mut Rig, backend: &TcpListener, bytes: usize) -> Ended {
    let (mut client, mut served) = (rig.connect(), accept(backend));
    client.write_all(&vec![b'x'; bytes]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    expect_rest(&mut served, "x".repeat(bytes).as_bytes());
    served.write_all(&vec![b'y'; 2 * bytes]).unwrap();
    drop(served);
    expect_rest(&mut client, "y".repeat(2 * bytes).as_bytes());
    rig.await_end()
}

#[test]
fn counters_equal_the_ends() {
    let (backend, address) = backend();
    let mut rig = Rig::new(settings(), pool(&[address]));
    let ends: Vec<_> = (1..40).map(|it| session(&mut rig, &backend, it * it * 30)).collect();
    let listener = rig.listener.totals();
    let pool = rig.listener.pool();
    let state = &pool.tiers[0].backends[0].state;
    let (totals, timings) = (state.totals(), state.timings());
    let sent = ends.iter().map(|it| it.sent_bytes).sum();
    let received = ends.iter().map(|it| it.received_bytes).sum();
    assert!(sent > 0 && received == 2 * sent);
    assert_eq!((listener.sent_bytes, listener.received_bytes), (sent, received));
    assert_eq!((totals.sent_bytes, totals.received_bytes), (sent, received));
    assert_eq!(listener.ended[CloseReason::ClientFin as usize], 39);
    assert_eq!(listener.ended.iter().sum::<u64>(), 39);
    assert_eq!(listener.lifetime.count(), 39);
    assert_eq!(listener.lifetime.sum, ends.iter().map(|it| it.duration).sum::<Duration>());
    assert_eq!(
        (totals.attempts, timings.connect.count(), timings.first_byte.count()),
        (39, 39, 39)
    );
    let first_bytes = ends.iter().map(|it| it.first_byte.unwrap());
    assert_eq!(timings.first_byte.sum, first_bytes.sum::<Duration>());
    let paths = ends.iter().map(|it| it.client_path.unwrap());
    assert_eq!(listener.round_trip.sum, paths.filter_map(|it| it.round_trip()).sum::<Duration>());
    assert!(!listener.round_trip.sum.is_zero(), "the kernel has measured it");
    let paths = ends.iter().map(|it| it.backend_path.unwrap());
    assert_eq!(timings.round_trip.sum, paths.filter_map(|it| it.round_trip()).sum::<Duration>());
}

#[test]
fn what_open_sessions_have_passed_is_counted() {
    let (backend, address) = backend();
    let rig = Rig::new(settings(), pool(&[address]));
    let (mut client, mut served) = (rig.connect(), accept(&backend));
    client.write_all(b"request").unwrap();
    expect(&mut served, b"request");
    wait_until(|| rig.listener.totals().sent_bytes == 7);
    assert_eq!(rig.list()[0].first_byte, None);
    served.write_all(b"ok").unwrap();
    expect(&mut client, b"ok");
    wait_until(|| rig.listener.totals().received_bytes == 2);
    let row = rig.list().remove(0);
    assert!(row.first_byte.is_some() && row.client_path.is_some() && row.backend_path.is_some());
    assert!(row.idle <= row.age);
}

#[test]
fn failures_are_counted_by_kind() {
    let (backend, address) = backend();
    drop(backend);
    let mut rig = Rig::new(settings(), pool(&[address]));
    drop(rig.connect());
    let ended = rig.await_end();
    assert_eq!(ended.reason, CloseReason::ConnectRefused);
    assert_eq!(ended.first_byte, None);
    let totals = rig.listener.pool().tiers[0].backends[0].state.totals();
    assert_eq!(totals.failures[FailureKind::Refused as usize], 1);
    assert_eq!(totals.all_failures(), 1);
    assert_eq!(rig.listener.totals().ended[CloseReason::ConnectRefused as usize], 1);
}

#[test]
fn a_list_has_the_first_ones_of_all_workers() {
    let (backend, address) = backend();
    let rig = Rig::new(settings(), pool(&[address]));
    let mut open = Vec::new();
    for number in 1..=12_usize {
        let (mut client, mut served) = (rig.connect(), accept(&backend));
        let bytes = vec![b'x'; (number * 7) % 12 * 100 + 1];
        client.write_all(&bytes).unwrap();
        expect(&mut served, &bytes);
        open.push((client, served, bytes.len() as u64));
    }
    let list = |order, limit| rig.list_with(SessionFilter { order, limit, ..Default::default() });
    let bytes: Vec<_> = list(SessionOrder::Bytes, Some(5)).iter().map(|it| it.sent_bytes).collect();
    assert_eq!(bytes, [1101, 1001, 901, 801, 701]);
    let oldest: Vec<_> = list(SessionOrder::Age, Some(3)).iter().map(|it| it.client).collect();
    let first = |place: usize| Some(open[place].0.local_addr().unwrap());
    assert_eq!(oldest, [first(0), first(1), first(2)]);
    assert_eq!(list(SessionOrder::Idle, None).len(), 12);
    assert!(list(SessionOrder::Idle, None).is_sorted_by_key(|it| std::cmp::Reverse(it.idle)));
    let rtt = |it: &SessionInfo| std::cmp::Reverse(it.client_path.and_then(|it| it.round_trip()));
    assert!(list(SessionOrder::Rtt, None).is_sorted_by_key(rtt));
    let wanted = first(4);
    let client: ClientFilter = Arc::new(move |client| client == wanted);
    let only = SessionFilter { client: Some(client), ..SessionFilter::default() };
    let only = rig.list_with(only);
    assert_eq!(only.iter().map(|it| it.client).collect::<Vec<_>>(), [wanted]);
    let nobody = SessionFilter { backends: Some(HashSet::new()), ..SessionFilter::default() };
    assert!(rig.list_with(nobody).is_empty());
}
