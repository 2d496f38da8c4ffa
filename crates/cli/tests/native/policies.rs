//! The policies, failover scopes and operands that came with pen, in native words.

use crate::support::{
    Backend, Client, Place, Port, Program, ask, ask_from, ask_times, count, port, skip_unless,
    until,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Three backends with limits, weights and so on behind their addresses.
fn three(operands: [&str; 3]) -> ([Backend; 3], String) {
    let backends = ["a", "b", "c"].map(Backend::named);
    let words = backends.iter().zip(operands).map(|(backend, more)| format!("{backend}{more}"));
    let words = words.collect::<Vec<_>>().join(" ");
    (backends, words)
}

/// What clients get who all stay.
#[track_caller]
fn ask_and_stay(port: &Port, times: usize) -> (String, Vec<Client>) {
    let mut held = Vec::new();
    let answers = (0..times).map(|_| {
        held.push(Client::connect(port));
        held.last().unwrap().line()
    });
    (answers.collect::<Vec<_>>().join(" "), held)
}

#[test]
fn rotation_begins_with_the_second_as_pen_does() {
    let (place, port) = (Place::new(), port());
    let (_three, words) = three([""; 3]);
    let _evenkeel = place.native(&format!("{port} {words} --policy rotation"));
    assert_eq!(ask_times(&port, 6), "b c a b c a");
}

#[test]
fn address_hash_is_the_address_modulo() {
    for listen in ["", "127.0.0.1:"] {
        let (place, port) = (Place::new(), port());
        let (_three, words) = three([""; 3]);
        let _evenkeel = place.native(&format!("{listen}{port} {words} --policy address-hash"));
        let ask = |host: [u8; 2]| ask_from(&port, [127, 0, host[0], host[1]]);
        let hosts = [[0, 1], [0, 2], [0, 3], [0, 4], [1, 1], [2, 1], [0, 1], [0, 2]];
        assert_eq!(hosts.map(ask), ["c", "a", "b", "c", "a", "b", "c", "a"], "{listen}");
    }
}

#[test]
fn address_port_hash_looks_at_the_port_too() {
    let (place, port) = (Place::new(), port());
    let (_three, words) = three([""; 3]);
    let _evenkeel = place.native(&format!("{port} {words} --policy address-port-hash"));
    let ask = |source: u16| {
        let from = SocketAddr::from(([127, 0, 0, 9], source));
        let to = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let client = Client::try_from(from, to).unwrap();
        let answer = client.line();
        client.reset(); // so that the port can be used again at once
        answer
    };
    assert_eq!([24_001, 24_002, 24_003].map(ask), ["c", "a", "b"]);
}

#[test]
fn weighted_shares_sessions_by_weight() {
    let (place, port) = (Place::new(), port());
    let (_three, words) = three([":0:0:1", ":0:0:2", ":0:0:4"]);
    let idle = Backend::named("never");
    let words = format!("{port} {words} {idle}:0:0:0 --policy weighted");
    let _evenkeel = place.native(&words);
    let (answers, _held) = ask_and_stay(&port, 14);
    assert_eq!(answers, "a b c c b c c a b c c b c c");
    assert_eq!(idle.accepted(), 0);
}

#[test]
fn weighted_without_weights_shares_equally() {
    let (place, port) = (Place::new(), port());
    let (_three, words) = three(["", ":5", ":0:0:2"]);
    let _evenkeel = place.native(&format!("{port} {words} --policy weighted"));
    let (answers, _held) = ask_and_stay(&port, 8);
    assert_eq!(answers, "a b c c a b c c");
}

#[test]
fn priority_takes_the_smallest_that_is_there() {
    let (place, port) = (Place::new(), port());
    let ([a, b, c], words) = three([":0:0:1:5", ":0:0:1:-1", ":0:0:1:3"]);
    let _evenkeel = place.native(&format!("{port} {words} --policy priority --quarantine 1h"));
    assert_eq!(ask_times(&port, 3), "b b b");
    b.stop();
    // After a failure the next in the circle, as in pen; from then on by priority.
    assert_eq!(ask_times(&port, 3), "c c c");
    c.stop();
    assert_eq!(ask_times(&port, 3), "a a a");
    drop(a);
}

#[test]
fn a_limit_is_one_of_the_four_numbers() {
    let (place, port) = (Place::new(), port());
    let ([a, b, c], words) = three([":1:0:1:1", ":2:0:1:2", ":0:0:1:3"]);
    let _evenkeel = place.native(&format!("{port} {words} --policy priority"));
    // A full one passes on to the next.
    let (answers, _held) = ask_and_stay(&port, 5);
    assert_eq!(answers, "a b b c c");
    assert_eq!([&a, &b, &c].map(Backend::open_most), [1, 2, 2]);
    assert_eq!(place.backend(0, 1)["sessions_max"], 2);
}

#[test]
fn what_is_no_operand_is_refused_with_the_word_in_question() {
    let place = Place::new();
    for (operand, says) in [
        ("a:80:x", "x"),
        ("a:80:1:x", "x"),
        ("a:80:1:2:x", "x"),
        ("a:80:1:2:-3", "-3"),
        ("a:80:1:2:3:x", "x"),
        ("a:80:1:2:3:4:5", "a:80:1:2:3:4:5"),
    ] {
        let done = place.run("evenkeel", &format!("1 {operand}")).check(2);
        assert!(done.stderr.contains(&format!("'{operand}'")), "{}", done.stderr);
        assert!(done.stderr.contains(says), "{}", done.stderr);
    }
}

#[test]
fn failover_may_be_nothing() {
    let (place, port) = (Place::new(), port());
    let (down, b, c) = (Backend::refusing(), Backend::named("b"), Backend::named("c"));
    let words = format!("{port} {down} {b} ! {c} --failover nothing --quarantine 0");
    let evenkeel = place.native(&words);
    assert_eq!(ask_times(&port, 4), "reset b reset b");
    assert!(evenkeel.log.wait("session ended").contains("reason=connect-refused"));
    assert_eq!(c.accepted(), 0);
}

#[test]
fn failover_may_be_to_later_tiers() {
    let (place, port) = (Place::new(), port());
    let (down, b, c) = (Backend::refusing(), Backend::named("b"), Backend::named("c"));
    let words = format!("{port} {down} {b} ! {c} --failover later-tiers --quarantine 0");
    let _evenkeel = place.native(&words);
    assert_eq!(ask_times(&port, 4), "c b c b");
}

#[test]
fn when_all_are_left_out_the_last_resort_is_to_try_them() {
    for (option, expected) in [("", "a"), ("--no-last-resort", "reset")] {
        let (place, port) = (Place::new(), port());
        let a = Backend::named_but_down("a");
        let evenkeel = place.native(&format!("{port} {a} {option} --quarantine 1h"));
        assert_eq!(ask(&port), "reset");
        evenkeel.log.wait("backend quarantined");
        a.start();
        assert_eq!(ask(&port), expected, "{option:?}");
    }
}

#[test]
fn without_a_last_resort_a_backend_comes_back_by_itself() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named_but_down("a");
    let evenkeel = place.native(&format!("{port} {a} --no-last-resort --quarantine 300ms"));
    assert_eq!(ask(&port), "reset");
    a.start();
    until("it to be used again", || ask(&port) == "a");
    let refused = evenkeel.log.with("session ended");
    assert!(refused[0].contains("reason=connect-refused"), "{refused:?}");
    assert!(refused[1..].iter().all(|it| !it.contains("connect-refused")), "{refused:?}");
}

#[test]
fn forwarded_headers_name_the_client() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let _evenkeel = place.native(&format!("{port} {echo} --forwarded-headers"));
    let to = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let client = Client::connect_from([127, 0, 0, 5].into(), to);
    // Both requests of a session get them.
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.expect(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-For: 127.0.0.5\r\n\r\n",
        );
    }
    client.send("no request\r\n\r\n");
    client.expect("no request\r\n\r\n");
}

#[test]
fn a_new_root_and_a_user_that_cannot_leave_it() {
    if skip_unless(rustix::process::geteuid().is_root(), "only root can change the root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let root = place.file("jail");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let words = format!("{port} {a} --root {} --user nobody", root.display());
    let mut evenkeel: Program = place.native(&words);
    assert_eq!(ask(&port), "a");
    let proc = format!("/proc/{}", evenkeel.pid().as_raw_nonzero());
    let root = std::fs::canonicalize(root).unwrap();
    for link in ["root", "cwd"] {
        assert_eq!(std::fs::read_link(format!("{proc}/{link}")).unwrap(), root, "{link}");
    }
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    // The admin socket is outside, and works.
    assert!(place.ctl("status").check(0).stdout.contains(&a.to_string()));
    evenkeel.signal(rustix::process::Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
    // Nobody can remove the socket any more, but it does not stand in the way of a next start.
    let _evenkeel = place.native(&format!("{port} {a}"));
    assert_eq!(ask(&port), "a");
}

#[test]
fn a_root_that_is_none_is_named() {
    if skip_unless(rustix::process::geteuid().is_root(), "only root can change the root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let done = place.run("evenkeel", &format!("{port} {a} --root no/such/dir")).check(1);
    assert!(done.stderr.contains("no/such/dir") && done.stderr.contains("root"), "{}", done.stderr);
}

#[test]
fn weighted_turn_is_exact() {
    let (place, port) = (Place::new(), port());
    let (_three, words) = three([":0:0:5", "", ""]);
    let _evenkeel = place.native(&format!("{port} {words} --policy weighted-turn"));
    assert_eq!(ask_times(&port, 14), "a a b a c a a a a b a c a a");
}

#[test]
fn networks_keep_their_backend_and_a_bound_spreads_one_of_them() {
    for policy in ["maglev", "rendezvous"] {
        let (place, port) = (Place::new(), port());
        let (_three, words) = three([""; 3]);
        let evenkeel = place.native(&format!("{port} {words} --policy {policy}"));
        let homes: BTreeMap<_, _> =
            (1..30).map(|host| (host, ask_from(&port, [127, 0, 9, host]))).collect();
        let all: BTreeSet<_> = homes.values().collect();
        assert_eq!(all.len(), 3, "{policy}: {homes:?}");
        for (host, home) in &homes {
            assert_eq!(&ask_from(&port, [127, 0, 9, *host]), home, "{policy}");
        }
        drop(evenkeel);
        let options = format!("--policy {policy} --load-bound 1.5");
        let _evenkeel = place.native(&format!("{port} {words} {options}"));
        // Half of the sessions may be at one backend: 1.5 * 12 / 3 = 6.
        let mut held = Vec::new();
        let answers = (0..12).map(|_| {
            held.push(Client::connect(&port));
            held.last().unwrap().line()
        });
        let counts = count(answers);
        assert!(counts.values().all(|it| *it <= 6) && counts.len() > 1, "{policy}: {counts:?}");
    }
}

#[test]
fn fastest_avoids_who_is_slow_and_who_closes_at_once() {
    let slow = Backend::new(|client| {
        let _question = client.first_byte();
        std::thread::sleep(Duration::from_millis(60));
        client.send("slow\n");
    });
    let closing = Backend::new(|client| drop(client.first_byte()));
    let quick = Backend::new(|client| {
        let _question = client.first_byte();
        client.send("quick\n");
    });
    for bad in [slow, closing] {
        let (place, port) = (Place::new(), port());
        let _evenkeel = place.native(&format!("{port} {bad} {quick} --policy fastest"));
        let ask = |_| {
            let client = Client::connect(&port);
            client.send("?");
            let (answer, _) = client.rest();
            String::from_utf8(answer).unwrap()
        };
        let counts = count((0..100).map(ask));
        assert!(counts["quick\n"] >= 90, "{counts:?}");
    }
}

#[test]
fn fastest_knows_servers_that_speak_first() {
    let late = Backend::new(|client| {
        std::thread::sleep(Duration::from_millis(60));
        client.send("late\n");
    });
    let prompt = Backend::named("prompt");
    let (place, port) = (Place::new(), port());
    let _evenkeel = place.native(&format!("{port} {late} {prompt} --policy fastest"));
    let answers = (0..100).map(|_| ask(&port));
    let counts = count(answers);
    assert!(counts["prompt"] >= 90, "{counts:?}");
}

#[test]
fn a_load_bound_is_a_number() {
    let place = Place::new();
    for (bound, status) in [("1.25", 0), ("2", 0), ("1", 2), ("x", 2)] {
        let words = format!("8080 a b --policy maglev --load-bound {bound} --print-config");
        let _ = place.run("evenkeel", &words).check(status);
    }
}
