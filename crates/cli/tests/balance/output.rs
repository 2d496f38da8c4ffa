//! What is printed, where, and what a start leaves with.

use crate::support::{Backend, Client, Done, End, PATIENCE, Place, Program, ask, port, until};
use rustix::process::Signal;
use std::sync::mpsc::channel;

#[test]
fn fault_14_a_daemons_diagnostics_stay_out_of_the_streams() {
    for option in ["-d", "-p", "-d -p -T 1", "-dp -a"] {
        let (place, port) = (Place::new(), port());
        let (heard, hears) = channel();
        let backend = Backend::new(move |client| {
            client.send("answer");
            let _ = heard.send(client.rest());
        });
        let down = Backend::refusing();
        let done = place.run("balance", &format!("{option} {port} {down} {backend}")).check(0);
        let times_out = option.contains("-T");
        for _ in 0..3 {
            let client = Client::connect(&port);
            client.send("question");
            client.expect("answer");
            if times_out {
                assert_eq!(client.rest(), (Vec::new(), End::Eof), "{option}");
            } else {
                client.finish();
                assert_eq!(client.rest(), (Vec::new(), End::Eof), "{option}");
            }
            let heard = hears.recv_timeout(PATIENCE).unwrap();
            assert_eq!(heard, (b"question".to_vec(), End::Eof), "{option}");
        }
        // And the caller's output is let go of: the run above has waited for that.
        assert!(!done.stdout.contains("->"), "{done:?}");
    }
}

#[test]
fn fault_15_the_first_lines_of_d_are_printed_once() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let balance = place.balance(&format!("-d {port} {a}"));
    for _ in 0..3 {
        assert_eq!(ask(&port), "a");
    }
    balance.log.wait_nth("connect to channel 0 successful", 2);
    assert_eq!(balance.out.all(), ["argv[0]=balance", "bindhost=NULL"]);
}

#[test]
fn fault_16_a_dump_appears_as_it_happens_and_whole() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let balance = place.balance(&format!("-p {port} {echo}"));
    let client = Client::connect(&port);
    client.send("hello");
    client.expect("hello");
    balance.out.wait("-< 5");
    let all = || balance.out.all().join("\n");
    until("the dump", || all() == "-> 5\nhello\n-< 5\nhello");
    drop(client);
    balance.out.wait("-> 0");

    // Several at once: every block stays whole.
    let before = balance.out.all().len();
    let clients: Vec<_> = (0..8).map(|_| Client::connect(&port)).collect();
    std::thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..20 {
                    let text = char::from(b'a' + number as u8).to_string().repeat(60);
                    client.send(&text);
                    client.expect(&text);
                }
            });
        }
    });
    until("all blocks", || {
        balance.out.all()[before..].iter().filter(|it| it.len() == 60).count() >= 320
    });
    for line in &balance.out.all()[before..] {
        let is_text = line.len() == 60 && line.bytes().all(|byte| byte == line.as_bytes()[0]);
        assert!(is_text || ["-> 60", "-< 60", "-> 0", ""].contains(&line.as_str()), "{line:?}");
    }
}

#[track_caller]
fn check_refused(words: &str, status: i32, says: &str) {
    // A daemon first, since the original forks before it looks at its channels.
    for foreground in ["", "-f "] {
        let place = Place::new();
        let done = place.run("balance", &format!("{foreground}{words}")).check(status);
        assert_eq!(done.stderr, format!("{says}\n"), "{words}");
        assert_eq!(place.sockets().len(), 0, "{words}");
    }
}

#[test]
fn fault_17_a_bad_channel_is_seen_by_the_caller() {
    let port = port();
    check_refused(
        &format!("{port} no-such-host.invalid"),
        65,
        "unknown or invalid address [no-such-host.invalid]",
    );
    check_refused(&format!("{port} 127.0.0.1 ::1"), 65, "unknown or invalid address []");
    check_refused(&format!("{port} ! 127.0.0.1"), 69, "balance: no channels in group");
    check_refused(&format!("{port} 127.0.0.1 ! !"), 69, "balance: no channels in group");
}

#[test]
fn fault_18_control_works_when_the_parent_returns() {
    for round in 0..20 {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let done = place.run("balance", &format!("{port} {a}")).check(0);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
        let shown = place.balance_c(&port, "show").check(0);
        assert_eq!(shown.stdout.lines().count(), 2, "round {round}: {shown:?}");
        assert_eq!(ask(&port), "a");
        place.balance_c(&port, "kill").check(0);
        assert_eq!(ask(&port), "refused", "{round}");
    }
}

#[test]
fn fault_19_nothing_is_said_that_was_not_asked_for() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let balance = place.balance(&format!("{port} {a}"));
    assert_eq!(ask(&port), "a");
    place.balance_c(&port, "disable 0").check(0);
    assert_eq!(ask(&port), "eof");
    assert_eq!((balance.out.all(), balance.log.all()), (Vec::new(), Vec::new()));
}

#[test]
fn fault_20_ports_are_checked() {
    let port = port();
    check_refused("70000 127.0.0.1", 64, "invalid port [70000], exiting.");
    check_refused("65536 127.0.0.1", 64, "invalid port [65536], exiting.");
    check_refused("0 127.0.0.1", 64, "invalid port [0], exiting.");
    check_refused(&format!("{port} 127.0.0.1:99999"), 65, "invalid port number [99999]");
    check_refused(&format!("{port} 127.0.0.1:nosuch"), 65, "invalid port number [nosuch]");
}

#[test]
fn fault_22_the_outgoing_address_is_checked_at_the_start() {
    let port = port();
    for address in ["no-such-host.invalid", "::1"] {
        let says = format!("unknown or invalid address [{address}]");
        check_refused(&format!("-B {address} {port} 127.0.0.1"), 65, &says);
    }
    // A foreign address is ignored.
    let (place, port, a) = (Place::new(), port, Backend::named("a"));
    let _balance = place.balance(&format!("-B 192.0.2.1 {port} {a}"));
    assert_eq!([ask(&port), ask(&port)], ["a", "a"]);
}

#[test]
fn fault_23_a_group_holds_64_channels_and_there_are_32_groups() {
    let channels = |count: usize, between: &str| vec!["127.0.0.1:9"; count].join(between);
    for (words, rows) in [(channels(64, " "), 64), (channels(32, " ! "), 32)] {
        let (place, port) = (Place::new(), port());
        let _balance = place.balance(&format!("{port} {words}"));
        assert_eq!(crate::show(&place, &port).len(), rows);
    }
    let port = port();
    for words in [channels(65, " "), channels(33, " ! ")] {
        check_refused(&format!("{port} {words}"), 64, "MAXCHANNELS exceeded...");
    }
}

#[test]
fn fault_34_the_clients_address_is_told() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let balance = place.balance(&format!("-d {port} {a}"));
    assert_eq!(ask(&port), "a");
    let line = balance.log.wait("connect from");
    assert!(line.starts_with("connect from 127.0.0.1 clilen="), "{line}");
}

#[test]
fn an_output_that_is_full_or_closed_is_an_error() {
    let (a, place, port) = (Backend::named("a"), Place::new(), port());
    let print = format!("balance --print-config {port} {a}");
    Done::check_unwritable(1, || place.command("evenkeel", &print));
    let _balance = place.balance(&format!("{port} {a}"));
    let show = || {
        let mut command = place.command("balance", "");
        command.args(["-c", "show", &port.to_string()]);
        command
    };
    Done::check_unwritable(1, show);
    Done::check_unwritable(1, || place.command("balance", &format!("-i {port}")));
}

#[test]
fn a_dump_that_nobody_reads_neither_grows_nor_stops_anything() {
    let (place, port) = (Place::new(), port());
    let backend = Backend::new(|client| drop(client.rest()));
    let command = format!("-f -p {port} {backend}");
    let mut balance = Program::spawn_unread(&mut place.command("balance", &command));
    until("it to listen", || !place.sockets().is_empty());
    let client = Client::connect(&port);
    let block = vec![b'x'; 1 << 20];
    for _ in 0..200 {
        client.send(&block);
    }
    client.finish();
    assert_eq!(client.end(), End::Eof);
    let peak = balance.memory_peak();
    assert!(peak < 120 << 20, "{peak} bytes of memory for 200 MB that nobody has read");
    place.balance_c(&port, "show").check(0);
    balance.signal(Signal::TERM);
    balance.wait();
}

#[test]
fn names_are_printed_as_they_were_given() {
    let place = Place::new();
    let words = "balance --print-config -B c.invalid 8080 a.invalid:1 b.invalid";
    let printed = place.run("evenkeel", words).check(0).stdout;
    assert!(printed.contains(" a.invalid:1 b.invalid:8080"), "{printed}");
    assert!(printed.contains("# not expressible: -B c.invalid"), "{printed}");
}
