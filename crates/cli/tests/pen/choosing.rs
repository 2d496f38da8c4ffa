//! Who gets a client, and who does not.

use crate::support::{Backend, Client, End, until};
use crate::{Pen, silent};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn fault_1_a_refused_connect_fails_over() {
    for options in ["-r", "", "-h", "-h -r", "-P -r"] {
        let (a, b) = (Backend::named("a"), Backend::named_but_down("b"));
        let pen = Pen::start(options, &format!("{b} {a}"));
        assert_eq!(pen.ask(4), "a a a a", "{options}");
        let other = [127, 0, 0, 2];
        assert_eq!(pen.ask_from(other), "a", "{options}");
    }
    let (a, b) = (Backend::named("a"), Backend::named_but_down("b"));
    let pen = Pen::start("-O prio", &format!("{b} {a}:0:0:0:9"));
    assert_eq!(pen.ask(3), "a a a");
    let pen = Pen::start("-W", &format!("{b}:0:0:9:0 {a}:0:0:1:0"));
    assert_eq!(pen.ask(3), "a a a");
}

#[test]
fn fault_1_a_refusing_server_is_blacklisted_until_it_is_told_otherwise() {
    let (a, b) = (Backend::named("a"), Backend::named_but_down("b"));
    let pen = Pen::start("-r", &format!("{b} {a}"));
    assert_eq!(pen.ask(2), "a a");
    b.start();
    assert_eq!(pen.ask(4), "a a a a");
    pen.set(&["server 0 blacklist 0"]);
    let answers = pen.ask(4);
    assert!(answers.contains("b a b") || answers.contains("a b a"), "{answers}");
}

#[test]
fn fault_1_when_all_refuse_the_emergency_server_serves() {
    let (down, too, e) = (Backend::refusing(), Backend::refusing(), Backend::named("e"));
    let pen = Pen::start(&format!("-r -e {e}"), &format!("{down} {too}"));
    assert_eq!(pen.ask(5), "e e e e e");
    let pen = Pen::start(&format!("-s -e {e}"), &format!("{down} {too}"));
    assert!(["eof", "reset"].contains(&pen.ask(1).as_str()), "stubborn");
}

#[test]
fn fault_1_what_the_client_sent_reaches_the_server_finally_used() {
    let (down, echo) = (Backend::refusing(), Backend::echo());
    let pen = Pen::start("-r -b 0", &format!("{down} {echo}"));
    for _ in 0..20 {
        let client = Client::connect(&pen.port);
        client.send("kept");
        client.finish();
        assert_eq!(client.rest(), (b"kept".to_vec(), End::Eof));
    }
}

#[test]
fn fault_4_a_soft_limit_holds_whatever_refused_clients_do() {
    let (a, down) = (Backend::named("a"), Backend::refusing());
    let pen = Pen::start("-r -b 0", &format!("{a}:2 {down}"));
    let held: Vec<_> = (0..2).map(|_| Client::connect(&pen.port)).collect();
    for client in &held {
        client.expect("a\n");
    }
    for _ in 0..30 {
        assert!(["eof", "reset"].contains(&pen.ask(1).as_str()));
    }
    assert_eq!((a.open_most(), a.accepted()), (2, 2));
    assert_eq!(pen.server_number(0, "conn"), 2);
    for unused in [400, 77, 9] {
        // Whatever it says, nothing may change.
        pen.ctl(&format!("close {unused}"));
    }
    assert!(["eof", "reset"].contains(&pen.ask(1).as_str()));
    assert_eq!(a.open_most(), 2);
    for client in &held {
        client.send("still here");
        client.expect("still here");
    }
    drop(held);
    until("the places to be free again", || pen.server_number(0, "conn") == 0);
    assert_eq!(pen.ask(1), "a");
}

#[test]
fn fault_4_connects_that_never_complete_are_not_counted() {
    let (hole, a) = (Backend::black_hole(), Backend::named("a"));
    let pen = Pen::start("-r -t 1 -b 0", &format!("{a}:1 {hole}"));
    let held = Client::connect(&pen.port);
    held.expect("a\n");
    for client in (0..3).map(|_| Client::connect(&pen.port)).collect::<Vec<_>>() {
        assert!(["eof", "reset"].contains(&client.line().as_str()));
    }
    assert_eq!((pen.server_number(0, "conn"), pen.server_number(1, "conn")), (1, 0));
    assert_eq!((a.open_most(), a.accepted()), (1, 1));
}

#[test]
fn a_connect_without_an_answer_is_given_up_in_time() {
    let (hole, a) = (Backend::black_hole(), Backend::named("a"));
    let pen = Pen::start("-r -t 1", &format!("{a} {hole}"));
    let begin = Instant::now();
    assert_eq!(pen.ask(1), "a"); // the first goes to server 1
    let time = begin.elapsed();
    assert!(time > Duration::from_millis(700) && time < Duration::from_secs(4), "{time:?}");
}

#[test]
fn fault_5_a_client_whose_time_is_over_is_new() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let pen = Pen::start("-T 1", &format!("{a} {b} {c}"));
    assert_eq!(pen.ask(3), "b b b");
    thread::sleep(Duration::from_millis(3100)); // more than a second, however it is rounded
    assert_eq!(pen.ask(2), "c c");
}

#[test]
fn fault_13_denied_clients_never_reach_the_emergency_server() {
    let (a, e, b) = (Backend::named("a"), Backend::named("e"), Backend::named("abuse"));
    let denied = [127, 0, 0, 7];
    let pen = Pen::start(&format!("-e {e}"), &format!("{a}"));
    pen.set(&["acl 1 deny 127.0.0.7"]);
    assert_eq!(pen.ctl("client_acl 1"), "1\n");
    for _ in 0..5 {
        assert!(["eof", "reset"].contains(&pen.ask_from(denied).as_str()));
    }
    assert_eq!(pen.ask(1), "a");
    assert_eq!((a.accepted(), e.accepted()), (1, 0));

    let pen = Pen::start(&format!("-e {e} -B {b}"), &format!("{a}"));
    pen.set(&["acl 1 deny 127.0.0.7"]);
    assert_eq!(pen.ctl("client_acl 1"), "1\n");
    assert_eq!(pen.ask_from(denied), "abuse");
    b.stop();
    assert!(["eof", "reset"].contains(&pen.ask_from(denied).as_str()));
    assert_eq!(e.accepted(), 0);
}

#[test]
fn fault_14_list_10_denies_everyone_like_any_number_out_of_range() {
    for list in ["10", "11", "-1", "99999"] {
        let (a, b) = (Backend::named("a"), Backend::named("b"));
        let pen = Pen::start("-r", &format!("{a} {b}"));
        pen.set(&[&format!("server 0 acl {list}"), "acl 10 permit 127.0.0.1", "no acl 10"]);
        assert_eq!(pen.ask(4), "b b b b", "{list}");
        pen.set(&["server 0 acl 0"]);
        assert!(pen.ask(4).contains('a'), "{list}");
        assert_eq!(pen.ctl("client_acl 10"), "0\n");
        assert_eq!(pen.ctl("control_acl 10"), "0\n");
    }
}

#[test]
fn fault_17_server_0_with_address_0_is_unused() {
    for options in ["-r", "", "-h", "-O prio"] {
        let [a, b, c] = ["a", "b", "c"].map(Backend::named);
        let pen = Pen::start(options, &format!("{a} {b} {c}"));
        pen.set(&["server 0 address 0.0.0.0"]);
        for host in 1..=6 {
            let answer = pen.ask_from([127, 0, 0, host]);
            assert!(["b", "c"].contains(&answer.as_str()), "{options}: {answer}");
        }
        assert_eq!(a.accepted(), 0, "{options}");
        pen.set(&["server 0 address 127.0.0.1"]);
        let answers: Vec<_> = (11..=16).map(|host| pen.ask_from([127, 0, 0, host])).collect();
        assert!(answers.contains(&"a".to_owned()), "{options}: {answers:?}");
    }
}

#[test]
fn fault_21_peek_changes_nothing() {
    let a = Backend::named("a");
    let pen = Pen::start("", &format!("{a}"));
    pen.set(&["peek"]);
    assert_eq!(pen.ask(2), "a a");
    pen.set(&["no peek"]);
    assert_eq!(pen.ask(2), "a a");
}

#[test]
fn fault_30_a_blacklist_time_close_to_the_epoch_blacklists_nobody_at_the_start() {
    for time in ["1800000000", "2000000000", "2147483647"] {
        let (a, down) = (Backend::named("a"), Backend::refusing());
        let pen = Pen::start(&format!("-r -b {time}"), &format!("{a} {down}"));
        assert_eq!(pen.ask(4), "a a a a", "{time}");
        assert_eq!(pen.ctl("blacklist 1900000000"), "1900000000\n");
        assert_eq!(pen.ask(2), "a a", "{time}");
    }
}

#[test]
fn a_server_blacklisted_by_command_keeps_its_connections_and_comes_back() {
    let (a, b) = (silent(), Backend::named("b"));
    let pen = Pen::start("-r", &format!("{b} {a}"));
    let held = Client::connect(&pen.port);
    until("a to have it", || a.open() + a.accepted() > 0);
    pen.set(&["server 1 blacklist 1"]);
    assert_eq!(pen.ask(3), "b b b");
    assert!(held.is_silent_for(Duration::from_millis(10)), "still open");
    let before = a.accepted();
    until("a to be used again", || {
        let client = Client::connect(&pen.port);
        let is_there = client.is_silent_for(Duration::from_millis(50));
        is_there && a.accepted() > before
    });
}

#[test]
fn a_unix_server_that_is_missing_is_reported_as_pen_does() {
    let (a, place) = (Backend::named("a"), crate::support::Place::new());
    let missing = place.file("missing");
    let pen = Pen::start_in(place, "-r -b 20", &format!("{a} {}", missing.display()));
    assert_eq!(pen.ask(2), "a a");
    pen.program.log.wait(": Server 1 failed, retry in 20 sec: 2");
    pen.program.log.wait(": blacklisting server 1 because connect error 2");
}
