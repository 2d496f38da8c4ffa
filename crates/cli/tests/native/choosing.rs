//! Which backend a client gets.

use crate::support::{
    Backend, Client, End, Place, ask, ask_times, has_ipv6, port, skip_unless, until,
};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

#[test]
fn backends_take_turns() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b}"));
    assert_eq!(ask_times(&port, 6), "a b a b a b");
}

#[test]
fn a_standby_takes_over_and_hands_back_after_the_quarantine() {
    let (place, port) = (Place::new(), port());
    let main = Backend::named("main");
    let standby = Backend::named("standby");
    let evenkeel = place.native(&format!("{port} {main} ! {standby} --quarantine 1s"));
    assert_eq!(ask_times(&port, 2), "main main");
    main.stop();
    assert_eq!(ask_times(&port, 2), "standby standby");
    evenkeel.log.wait("backend quarantined");
    main.start();
    assert_eq!(ask(&port), "standby", "it is left out for a second");
    until("the first tier to be used again", || ask(&port) == "main");
    evenkeel.log.wait("backend recovered");
    assert_eq!(ask_times(&port, 3), "main main main");
}

#[test]
fn a_full_tier_spills_into_the_next() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a}:2 ! {b}"));
    let held: Vec<_> = ["a", "a", "b", "b"]
        .into_iter()
        .map(|expected| {
            let client = Client::connect(&port);
            assert_eq!(client.line(), expected);
            client
        })
        .collect();
    drop(held);
    until("the sessions to end", || place.sessions() == 0);
    assert_eq!(ask(&port), "a");
}

#[test]
fn a_client_address_stays_with_its_backend() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} {c} %"));
    let first = ask(&port);
    assert_eq!(ask_times(&port, 3), [&*first; 3].join(" "));
    let ask_from = |last: u8| {
        let to = ([127, 0, 0, 1], port.number()).into();
        Client::connect_from([127, 0, 0, last].into(), to).line()
    };
    let mut seen: Vec<_> = (1..40).map(ask_from).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c"], "different addresses spread");
}

#[test]
fn least_sessions_fills_the_emptiest() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} --policy least-sessions"));
    let held: Vec<_> = (0..6).map(|_| Client::connect(&port)).collect();
    let names: Vec<_> = held.iter().map(Client::line).collect();
    assert_eq!(names.iter().filter(|name| *name == "a").count(), 3, "{names:?}");
    let was_a = |index: &usize| names[*index] == "a";
    let keep: Vec<_> = (0..6).filter(|index| !was_a(index)).collect();
    let held: Vec<_> =
        held.into_iter().enumerate().filter(|(i, _)| keep.contains(i)).map(|(_, c)| c).collect();
    until("a's sessions to end", || place.backend(0, 0)["sessions"] == 0);
    let more = [(); 3].map(|()| Client::connect(&port));
    assert_eq!(more.each_ref().map(Client::line), ["a", "a", "a"]);
    drop(held);
}

#[test]
fn random_uses_all() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} --policy random"));
    until("both to be used", || ask(&port) == "a");
    until("both to be used", || ask(&port) == "b");
}

#[test]
fn nobody_is_lost_to_a_refusing_backend() {
    for policy in ["round-robin", "hash", "least-sessions", "random"] {
        let (place, port) = (Place::new(), port());
        let (down, up) = (Backend::refusing(), Backend::named("up"));
        let _evenkeel = place.native(&format!("{port} {down} {up} --policy {policy}"));
        let begin = Instant::now();
        assert_eq!(ask_times(&port, 40), ["up"; 40].join(" "), "{policy}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{policy}: {:?}", begin.elapsed());
    }
}

#[test]
fn nobody_is_lost_to_a_black_hole() {
    let (place, port) = (Place::new(), port());
    let (hole, up) = (Backend::black_hole(), Backend::named("up"));
    let _evenkeel = place.native(&format!("{port} {hole} {up} --connect-timeout 300ms"));
    let begin = Instant::now();
    assert_eq!(ask_times(&port, 10), ["up"; 10].join(" "));
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300), "nobody tried the black hole: {took:?}");
    assert!(took < Duration::from_secs(3), "it is left out after the first time: {took:?}");
}

#[test]
fn a_backend_that_resets_before_the_first_byte_is_as_good_as_refusing() {
    let (place, port) = (Place::new(), port());
    let (broken, up) = (Backend::new(Client::reset), Backend::named("up"));
    let _evenkeel = place.native(&format!("{port} {broken} {up} --quarantine 0"));
    assert_eq!(ask_times(&port, 10), ["up"; 10].join(" "));
    assert!(broken.accepted() > 0);
}

#[test]
fn with_nobody_left_the_client_is_reset() {
    let (place, port) = (Place::new(), port());
    let [one, two] = [(); 2].map(|()| Backend::refusing());
    let evenkeel = place.native(&format!("{port} {one} {two}"));
    assert_eq!(ask_times(&port, 2), "reset reset");
    assert!(evenkeel.log.wait("session ended").contains("reason=connect-refused"));
}

#[test]
fn the_cut_may_be_orderly() {
    let (place, port) = (Place::new(), port());
    let down = Backend::refusing();
    let _evenkeel = place.native(&format!("{port} {down} --cut close"));
    assert_eq!(ask(&port), "eof");
}

#[test]
fn an_auto_disabled_backend_stays_out() {
    let (place, port) = (Place::new(), port());
    let (a, b) = (Backend::named_but_down("a"), Backend::named("b"));
    let _evenkeel = place.native(&format!("{port} {a} {b} --auto-disable --quarantine 0"));
    assert_eq!(ask_times(&port, 2), "b b");
    until("it to be disabled", || place.backend(0, 0)["admin"] == "disabled");
    a.start();
    assert_eq!(ask_times(&port, 4), "b b b b");
    place.ctl("enable 0.0").check(0);
    until("it to be used", || ask(&port) == "a");
}

#[test]
fn unix_sockets_work_on_both_sides() {
    let place = Place::new();
    let [front, back] = ["front", "back"].map(|name| place.file(name));
    let listener = UnixListener::bind(&back).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut question = String::new();
            stream.read_to_string(&mut question).unwrap();
            let _ = stream.write_all(format!("you said {question}").as_bytes());
        }
    });
    let words = format!("unix:{} unix:{} --log-format json", front.display(), back.display());
    let mut evenkeel = place.native(&words);
    for _ in 0..3 {
        let mut client = UnixStream::connect(&front).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "you said hello");
    }
    assert!(evenkeel.log.wait("session ended").contains("\"client\":\"unix\""));
    evenkeel.signal(rustix::process::Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
    // A socket that nobody listens on is replaced by the next start.
    let _evenkeel = place.native(&words);
    UnixStream::connect(&front).unwrap();
}

#[test]
fn ipv6_in_front_of_ipv4() {
    if skip_unless(has_ipv6(), "this machine has no ::1") {
        return;
    }
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("[::1]:{port} {a}"));
    let to = |address: &str| format!("{address}:{port}").parse().unwrap();
    assert_eq!(Client::try_to(to("[::1]")).unwrap().line(), "a");
    assert!(Client::try_to(to("127.0.0.1")).is_err(), "only ::1 was asked for");
}

#[test]
fn a_bare_port_serves_both_protocols() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("{port} {a}"));
    assert_eq!(ask(&port), "a");
    if !skip_unless(has_ipv6(), "this machine has no ::1") {
        let to = format!("[::1]:{port}").parse().unwrap();
        assert_eq!(Client::try_to(to).unwrap().line(), "a");
    }
}

#[test]
fn a_name_is_tried_at_all_its_addresses() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("{port} localhost:{}", a.port()));
    assert_eq!(ask_times(&port, 4), "a a a a");
}

#[test]
fn a_limit_of_zero_is_none_and_a_negative_one_is_never() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a}:-1 {b}:0"));
    assert_eq!(ask_times(&port, 4), "b b b b");
}

#[test]
fn the_source_address_is_used() {
    let (place, port) = (Place::new(), port());
    let whoami = Backend::new(|client| {
        let peer = client.0.peer_addr().unwrap().ip();
        client.send(format!("{peer}\n"));
        client.rest();
    });
    let _evenkeel = place.native(&format!("{port} {whoami} --source 127.0.0.9"));
    assert_eq!(ask(&port), "127.0.0.9");
}

#[test]
fn what_a_client_says_before_its_backend_answers_is_delivered() {
    let (place, port) = (Place::new(), port());
    let (hole, echo) = (Backend::black_hole(), Backend::echo());
    let _evenkeel = place.native(&format!("{port} {hole} {echo} --connect-timeout 300ms"));
    let client = Client::connect(&port);
    client.send("first words");
    client.finish();
    assert_eq!(client.rest(), (b"first words".to_vec(), End::Eof));
}
