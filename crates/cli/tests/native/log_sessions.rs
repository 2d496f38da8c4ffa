//! Lines about sessions that are still open, and logs that have only some of the sessions.

use crate::metrics::scrape;
use crate::support::{
    Backend, Client, End, Place, Port, Program, UdpBackend, UdpClient, ask, http, port, until,
};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_session_is_logged_when_it_has_its_backend() {
    let (place, port) = (Place::new(), port());
    let (down, echo) = (Backend::refusing(), Backend::echo());
    let words = format!("{port} {down} {echo} --log-format json --log-start");
    let evenkeel = place.native(&words);
    let client = Client::connect(&port);
    let started = json(&evenkeel.log.wait("session started"));
    assert_eq!(started["backend"], echo.to_string());
    assert_eq!(started["listener"], format!("*:{port}"));
    let row = &http(&place.socket(), "GET", "/v1/sessions", "").unwrap().body[0];
    for field in ["session", "client", "source"] {
        assert_eq!(started[field], row[field], "{started}");
    }
    assert!(started["connect"].as_f64().is_some_and(|it| it < 5.0), "{started}");
    assert!(evenkeel.log.with("session ended").is_empty());
    client.finish();
    assert_eq!(client.rest(), (Vec::new(), End::Eof));
    let ended = json(&evenkeel.log.wait("session ended"));
    assert_eq!(ended["session"], started["session"]);
    assert_eq!(evenkeel.log.with("session started").len(), 1);
}

#[test]
fn open_sessions_are_logged_again_and_again() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let words = format!("{port} {echo} --log-format json --log-every 300ms --workers 2");
    let evenkeel = place.native(&words);
    let clients = [(); 2].map(|()| Client::connect(&port));
    clients[0].send("hello");
    clients[0].expect("hello");
    let of = |sent: u64| {
        let lines = evenkeel.log.with("session open").into_iter().map(|it| json(&it));
        lines.filter(move |line| line["sent"] == sent).collect::<Vec<_>>()
    };
    until("three lines about each", || of(5).len() >= 3 && of(0).len() >= 3);
    for (place, line) in of(5).iter().enumerate() {
        assert!(line["received"] == 5 || place == 0, "{line}"); // it may be on its way
        let (duration, idle) = (line["duration"].as_f64().unwrap(), line["idle"].as_f64().unwrap());
        // Each step of its age has a line.
        assert!(duration >= 0.3 * (place + 1) as f64, "{line}");
        assert!(idle > 0.0 && idle <= duration, "{line}");
    }
    drop(clients);
    evenkeel.log.wait_nth("session ended", 1);
    assert!(evenkeel.log.with("session started").is_empty());
}

#[test]
fn flows_are_logged_likewise() {
    let (place, udp) = (Place::new(), port());
    let (echo, silent) = (UdpBackend::named("a"), UdpBackend::silent());
    let words = format!("{udp}/udp {echo} --log-start --log-every 200ms");
    let evenkeel = place.native(&words);
    let client = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    assert_eq!(client.ask("x"), "ax");
    let line = evenkeel.log.wait("session started");
    assert!(line.contains(&format!(" backend={echo} ")), "{line}");
    let line = evenkeel.log.wait("session open");
    assert!(line.contains(" sent=1 received=2 "), "{line}");

    // A flow to which nobody ever answers has its backend after a while.
    let (place, udp) = (Place::new(), port());
    let evenkeel = place.native(&format!("{udp}/udp {silent} --log-start"));
    let client = UdpClient::to((Ipv4Addr::LOCALHOST, udp.number()));
    client.send("for the log");
    evenkeel.log.wait("session started");
}

#[test]
fn a_session_that_nobody_served_has_the_backend_that_was_tried_last() {
    let check = |words: &str, last: String, go: &dyn Fn(&Port)| {
        let (place, port) = (Place::new(), port());
        let evenkeel = place.native(&format!("{port}{words} --log-format json"));
        go(&port);
        let line = json(&evenkeel.log.wait("session ended"));
        assert_eq!([&line["reason"], &line["backend"]], ["connect-refused", &last], "{line}");
        let row = &place.status()["ended_sessions"][0];
        assert_eq!([&row["reason"], &row["backend"]], ["connect-refused", &last], "{row}");
        // None is tried for the next one.
        ["disable 0.0", "disable 1.0"].iter().for_each(|it| drop(place.ctl(it).check(0)));
        go(&port);
        let line = json(&evenkeel.log.wait_nth("session ended", 1));
        assert_eq!([&line["reason"], &line["backend"]], ["no-backend", "-"], "{line}");
    };
    let [first, last] = [(); 2].map(|()| Backend::refusing());
    let ask = |port: &Port| assert_eq!(ask(port), "reset");
    check(&format!(" {first} ! {last}"), last.to_string(), &ask);
    let [mut first, mut last] = ["a", "b"].map(UdpBackend::named);
    [&mut first, &mut last].into_iter().for_each(UdpBackend::stop);
    let send = |port: &Port| UdpClient::to((Ipv4Addr::LOCALHOST, port.number())).send("?");
    check(&format!("/udp {first} ! {last}"), last.to_string(), &send);
}

/// The sum of a field over some lines.
fn sum(lines: &[String], field: &str) -> u64 {
    lines.iter().map(|line| json(line)[field].as_u64().unwrap()).sum()
}

#[test]
fn a_sample_has_all_lines_of_its_sessions_and_all_problems_and_counts_the_rest() {
    const SESSIONS: usize = 200;
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let words = format!("{port} {a} --log-format json --log-start --log-sample 5 --workers 2");
    let words = format!("{words} --metrics 127.0.0.1:0");
    let mut evenkeel = place.native(&words);
    for _ in 0..SESSIONS {
        assert_eq!(ask(&port), "a");
    }
    for problems in 1..=10 {
        let client = Client::connect(&port);
        client.expect("a\n");
        client.reset();
        evenkeel.log.wait_nth("client-reset", problems - 1);
    }
    until("all to have ended", || place.sessions() == 0);
    let metrics = json(&evenkeel.log.wait("\"metrics\""))["address"].clone();
    let metrics = scrape(metrics.as_str().unwrap().parse().unwrap(), "");
    evenkeel.signal(rustix::process::Signal::TERM);
    evenkeel.wait();
    let counts = evenkeel.log.with("sessions without problems were not logged");
    let ended = evenkeel.log.with("client-fin");
    let left_out = sum(&counts, "sessions") as usize;
    assert_eq!(ended.len() + left_out, SESSIONS);
    // The sample is drawn from the numbers of sessions, which are the same each time.
    assert!((15..=75).contains(&ended.len()), "{}", ended.len());
    assert_eq!(metrics["evenkeel_log_sessions_left_out_total"], left_out as f64);
    assert!(counts.iter().all(|line| json(line)["log-sample"] == 5));
    let started: Vec<_> =
        evenkeel.log.with("session started").iter().map(|it| json(it)["session"].clone()).collect();
    for line in &ended {
        assert!(started.contains(&json(line)["session"]), "{line}");
    }
    assert!(started.len() <= ended.len() + 10, "{} of {}", started.len(), ended.len());
}

#[test]
fn a_slow_connect_is_a_problem() {
    let (place, port) = (Place::new(), port());
    let (hole, a) = (Backend::black_hole(), Backend::named("a"));
    let words = format!(
        "{port} {hole} {a} --connect-timeout 3s --quarantine 1h --log-sessions problems \
         --log-slow-connect 2s"
    );
    let evenkeel = place.native(&words);
    assert_eq!(ask(&port), "a"); // after waiting for the first one
    let line = evenkeel.log.wait("session ended");
    assert!(line.contains("reason=client-fin"), "{line}");
    assert_eq!(ask(&port), "a");
    let client = Client::connect(&port);
    client.expect("a\n");
    client.reset();
    evenkeel.log.wait("reason=client-reset");
    assert_eq!(evenkeel.log.with("session ended").len(), 2);
}

#[test]
fn what_a_name_contains_cannot_pass_for_anything_else() {
    let nasty = "a, b=c \u{1b}[31m\u{202e}gpj\u{2066}\u{2028}\n<3>2026 error x";
    for format in ["text", "json"] {
        let (place, echo) = (Place::new(), Backend::echo());
        let path = place.file(nasty);
        let words =
            format!("{echo} --admin its.sock --log-start --log-every 100ms --log-format {format}");
        let mut command = place.command("evenkeel", "");
        command.arg(format!("unix:{}", path.display())).args(words.split(' '));
        let evenkeel = Program::spawn(&mut command);
        evenkeel.log.wait("admin socket");
        let client = UnixStream::connect(&path).unwrap();
        evenkeel.log.wait("session started");
        evenkeel.log.wait("session open");
        drop(client);
        evenkeel.log.wait("reason");
        for line in evenkeel.log.all() {
            assert!(line.starts_with("20") || line.starts_with("{\"time\":\"20"), "{line:?}");
            let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            assert!(line.bytes().all(plain), "{line:?}");
        }
    }
}
