//! Full tables, pending limits and too few descriptors: waiting costs nothing and ends.

use crate::Pen;
use crate::support::{Backend, Client, until};
use rustix::process::{Resource, Rlimit, prlimit};

/// Ticks of 10 ms in a second that are nothing: a spinning process uses 100.
const IDLE: u64 = 20;

#[test]
fn fault_3_more_failed_connects_than_the_pending_limit_stop_nothing() {
    let (down, a) = (Backend::refusing(), Backend::named("a"));
    for options in ["-r -b 0", "-r -b 0 -m 1", "-r -b 0 -P"] {
        let pen = Pen::start(options, &format!("{down} {a}"));
        for _ in 0..300 {
            assert_eq!(pen.ask(1), "a", "{options}");
        }
        let ticks = pen.ticks_in_a_second();
        assert!(ticks < IDLE, "{ticks} ticks in an idle second");
    }
}

#[test]
fn fault_3_nobody_left_to_ask_stops_nothing_either() {
    let down = Backend::named_but_down("a");
    let pen = Pen::start("-r -b 0", &format!("{down}"));
    for _ in 0..250 {
        assert!(["eof", "reset"].contains(&pen.ask(1).as_str()));
    }
    down.start();
    assert_eq!(pen.ask(1), "a");
}

#[test]
fn fault_3_a_full_connection_table_waits_without_spinning() {
    let a = Backend::named("a");
    let pen = Pen::start("-r -x 5", &format!("{a}"));
    let held: Vec<_> = (0..5).map(|_| Client::connect(&pen.port)).collect();
    for client in &held {
        client.expect("a\n");
    }
    let waiting: Vec<_> = (0..5).map(|_| Client::connect(&pen.port)).collect();
    let ticks = pen.ticks_in_a_second();
    assert!(ticks < IDLE, "{ticks} ticks in a second in which nothing moves");
    assert_eq!(a.accepted(), 5, "the others wait");
    assert_eq!(pen.ctl("conn_max"), "5\n", "the control port has its own");
    drop(held);
    for client in waiting {
        client.expect("a\n");
    }
}

#[test]
fn fault_3_the_pending_limit_waits_without_spinning() {
    let hole = Backend::black_hole();
    let a = Backend::named("a");
    let pen = Pen::start("-r -t 3 -b 0", &format!("{a} {hole}"));
    pen.set(&["pending_max 1"]);
    let first = Client::connect(&pen.port);
    let later: Vec<_> = (0..3).map(|_| Client::connect(&pen.port)).collect();
    let ticks = pen.ticks_in_a_second();
    assert!(ticks < IDLE, "{ticks} ticks in a second in which nothing moves");
    for client in later.iter().chain([&first]) {
        client.expect("a\n");
    }
}

#[test]
fn fault_25_too_few_descriptors_end_nothing_and_spin_nowhere() {
    let a = Backend::named("a");
    let mut pen = Pen::start("-r", &format!("{a}"));
    let few = Rlimit { current: Some(128), maximum: Some(1024) };
    prlimit(Some(pen.program.pid()), Resource::Nofile, few).unwrap();
    let mut waiting: Vec<_> = (0..200).map(|_| Client::connect(&pen.port)).collect();
    until("as many as fit", || a.open() >= 20);
    let ticks = pen.ticks_in_a_second();
    assert!(ticks < IDLE, "{ticks} ticks in a second in which nothing moves");
    assert!(!pen.program.has_ended());
    // Those that are served give their places to the others; one that was refused for want of a
    // descriptor is told so.
    let mut served = 0;
    while !waiting.is_empty() {
        let answer = waiting.remove(0).line();
        assert!(["a", "eof", "reset"].contains(&answer.as_str()), "{answer}");
        served += usize::from(answer == "a");
    }
    assert!(served > 20, "{served}");
    until("clients to be served again", || pen.ask(1) == "a");
    until("the control port to answer", || {
        pen.control_bytes(b"pid\n").is_ok_and(|reply| !reply.is_empty())
    });
    pen.check_alive();
}

#[test]
fn fault_31_more_connections_than_at_the_start_are_safe() {
    let a = Backend::named("a");
    let mut pen = Pen::start("-r -x 10", &format!("{a}"));
    assert_eq!(pen.ctl("conn_max 2000"), "2000\n");
    assert_eq!(pen.ctl("clients_max 3000"), "3000\n");
    let (answers, held) = crate::support::ask_often(&pen.port, 400);
    assert_eq!(answers["a"], 400);
    for client in &held {
        client.send("still here");
        client.expect("still here");
    }
    assert_eq!(pen.ctl("conn_max 5"), "2000\n", "it never shrinks");
    pen.check_alive();
}

/// Each failure was one call deeper in the one before, until the stack was full.
#[test]
fn a_thousand_servers_that_fail_at_once_lead_to_the_last() {
    let a = Backend::named("a");
    let missing: Vec<_> = (0..1000).map(|number| format!("/nonexistent/{number}")).collect();
    let pen = Pen::start("-r -S 1001", &format!("{} {a}", missing.join(" ")));
    assert_eq!(pen.ask(1), "a");
}
