//! What the kernel's engine can do, each ability on each way in which clients can come, in a
//! network of namespaces with real rules.
//!
//! Where a way is not for the kernel, the process serves, and clients must see the same.

use super::kernel_ways::{Kernel, Link, Process, Session, Table, Way};
use crate::support::until;
use serde_json::Value;
use std::io::Write;

/// One tier with both servers.
fn both(way: &Way) -> String {
    format!("backends = {:?}", way.servers)
}

#[test]
fn turns_are_exact_and_sessions_and_bytes_are_counted() {
    let Some(table) = Table::start(both) else { return };
    table.each(|way| {
        let sessions: Vec<_> = (0..6).map(|_| table.open(way)).collect();
        let is_first = |it: &&Session| way.place(&it.server) == 0;
        assert_eq!(sessions.iter().filter(is_first).count(), 3);
        sessions.iter().for_each(Session::goes_on);
    });
    table.each(|way| {
        until("all to be counted", || table.counted(way, "attempts_total") == [3, 3]);
        for field in ["sent_bytes_total", "received_bytes_total"] {
            until(field, || table.counted(way, field).iter().all(|it| *it >= 12));
        }
    });
    // By now, all have been read once more.
    table.each(|way| assert_eq!(table.counted(way, "attempts_total"), [3, 3]));
    table.check_who_served();
}

#[test]
fn weights_are_obeyed() {
    let pool = |way: &Way| {
        let [a, b] = way.servers;
        let backends = format!("backends = [{{ to = '{a}', weight = 3 }}, {{ to = '{b}' }}]");
        format!("policy = 'weighted-turn'\n{backends}")
    };
    let Some(table) = Table::start(pool) else { return };
    table.each(|way| assert_eq!(table.spread(way, 8), [6, 2]));
    table.check_who_served();
}

#[test]
fn the_backend_with_fewer_sessions_gets_the_next_ones() {
    let pool = |way: &Way| format!("{}\npolicy = 'least-sessions'", both(way));
    let Some(table) = Table::start(pool) else { return };
    table.each(|way| {
        table.rig.ctl(&format!("disable {}/0.1", way.name));
        table.wait_for(way, [4, 0]);
        let old: Vec<_> = (0..6).map(|_| table.open(way)).collect();
        until("all to be counted", || table.counted(way, "sessions")[0] >= 6);
        table.rig.ctl(&format!("enable {}/0.1", way.name));
        let mut new = vec![];
        let is_second = |it: &Session| way.place(&it.server) == 1;
        until("the second one", || {
            new.push(table.open(way));
            new.last().is_some_and(is_second)
        });
        new.extend((0..4).map(|_| table.open(way)));
        let reached: Vec<_> = new.iter().map(|it| way.place(&it.server)).collect();
        assert!(reached.ends_with(&[1; 5]), "{reached:?}");
        old.iter().for_each(Session::goes_on);
    });
    table.check_who_served_beside_changes();
}

const PROBE: &str = "probe = 'tcp'\nprobe-interval = '100ms'\nfall = 1\nrise = 1";

/// The first backend of each way goes down and comes back.
#[track_caller]
fn check_outage(pool: fn(&Way) -> String, usual: [usize; 2]) {
    let Some(mut table) = Table::start(pool) else { return };
    let old = table.open_all();
    table.stop_first();
    table.each(|way| table.wait_for(way, [0, 4]));
    old.iter().for_each(Session::goes_on);
    table.start_first();
    table.each(|way| table.wait_for(way, usual));
    old.iter().for_each(Session::goes_on);
    table.check_who_served_beside_changes();
}

#[test]
fn a_backend_that_is_down_gets_nobody_new() {
    check_outage(|way| format!("{}\n{PROBE}", both(way)), [2, 2]);
}

#[test]
fn the_second_tier_serves_while_the_first_is_down() {
    let pool = |way: &Way| {
        let [a, b] = way.servers;
        format!("tiers = [['{a}'], ['{b}']]\n{PROBE}")
    };
    check_outage(pool, [4, 0]);
}

#[test]
fn a_backend_that_is_disabled_or_drained_gets_nobody_new() {
    let Some(table) = Table::start(both) else { return };
    let old = table.open_all();
    for verb in ["disable", "drain"] {
        table.each(|way| {
            table.rig.ctl(&format!("{verb} {}/0.0", way.name));
            table.wait_for(way, [0, 4]);
        });
        old.iter().for_each(Session::goes_on);
        table.each(|way| {
            table.rig.ctl(&format!("enable {}/0.0", way.name));
            table.wait_for(way, [2, 2]);
        });
    }
    old.iter().for_each(Session::goes_on);
    table.check_who_served_beside_changes();
}

/// Whoever serves them.
#[test]
fn sessions_are_listed_and_can_be_ended() {
    let Some(table) = Table::start(both) else { return };
    table.each(|way| {
        let session = table.open(way);
        session.goes_on();
        let listed = || {
            let words = format!("sessions --json --pool {}", way.name);
            let listed = table.rig.place.ctl(&words).check(0);
            let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
            listed
        };
        let [row] = &listed()[..] else { panic!("{:#?}", listed()) };
        assert_eq!(row["worker"].is_null(), way.who == Kernel, "{row:#?}");
        assert_eq!(row["backend"], session.server);
        table.rig.ctl(&format!("kill {}", row["session"]));
        until("no session", || listed().is_empty());
        if let Link::Tcp(client) = &session.link {
            // The kernel says nothing until it is asked.
            let _ = (&client.0).write_all(b"ping");
            assert!(session.link.is_over(), "{row:#?}");
        }
    });
    table.check_who_served();
}

/// The process denies them, on all ways.
#[test]
fn denied_clients_get_nothing() {
    let pool = |way: &Way| format!("access = ['deny {}']\n{}", way.from.1[1], both(way));
    let Some(table) = Table::start(pool) else { return };
    table.each(|way| assert_eq!(table.spread(way, 2), [1, 1]));
    table.check_who_served();
    table.each(|way| {
        // It may be broken off before it is known to have succeeded.
        let link = table.connect(way, 1);
        if let Some(Link::Udp(socket)) = &link {
            socket.send(b"who").unwrap();
        }
        until("the client to be denied", || {
            let ended = table.listener(way)["ended_total"].clone();
            ended.as_array().unwrap().iter().any(|it| it["reason"] == "denied")
        });
        match link {
            Some(Link::Udp(socket)) => {
                socket.set_nonblocking(true).unwrap();
                assert!(socket.recv(&mut [0]).is_err(), "an answer");
            }
            Some(link) => assert!(link.is_over()),
            None => assert!(!way.is_udp()),
        }
        assert_eq!(table.spread(way, 2), [1, 1]);
    });
}

#[test]
fn returning_clients_are_remembered() {
    let pool = |way: &Way| format!("affinity = 100\n{}", both(way));
    let Some(table) = Table::start(pool) else { return };
    table.each(|way| {
        let reached = |client| way.place(&table.try_open(way, client).expect("an answer").server);
        let [mine, other] = [reached(0), reached(1)];
        assert_ne!(mine, other);
        // Not by turns, so that turns cannot look like it.
        for client in [0, 0, 0, 1, 1, 1] {
            assert_eq!(reached(client), [mine, other][client]);
        }
        table.rig.ctl(&format!("disable {}/0.{mine}", way.name));
        until("the other one to serve both", || reached(0) == other && reached(1) == other);
    });
    table.check_who_served_beside_changes();
}

#[test]
fn a_change_of_engine_cuts_nobody() {
    let Some(table) = Table::start(both) else { return };
    let mut old = table.open_all();
    for (engine, who) in [("user", Process), ("kernel", Kernel), ("user", Process)] {
        table.change_engine(engine);
        table.each(|way| {
            let expected = u64::from(who == Process || way.who == Process);
            until("the engine to serve", || {
                let before = table.own(way);
                old.push(table.open(way));
                table.own(way) - before == expected
            });
        });
        old.iter().for_each(Session::goes_on);
    }
}

/// Those of the process end with it.
#[test]
fn sessions_of_the_kernel_survive_the_process() {
    let Some(mut table) = Table::start(both) else { return };
    let old = table.open_all();
    let (of_kernel, of_process): (Vec<_>, Vec<_>) = old.iter().partition(|it| it.way.who == Kernel);
    let check = |table: &Table| {
        for session in &of_kernel {
            session.goes_on();
            assert_eq!(table.spread(session.way, 4), [2, 2]);
        }
    };
    table.program.kill();
    check(&table);
    assert!(of_process.iter().all(|it| it.link.is_over()));
    table.start_again();
    check(&table);
    table.each(|way| assert_eq!(table.spread(way, 4), [2, 2]));
    table.check_who_served();
}
