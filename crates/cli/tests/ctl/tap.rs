//! `evenkeel ctl tap`: what passes in sessions, for those who may see it.

use crate::support::{
    Backend, Client, End, Place, Program, TlsClient, ask, certified, connect_from, pattern, port,
    until,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Starts `ctl tap`.
fn tap(place: &Place, words: &str) -> Program {
    Program::spawn(&mut place.command("evenkeel", &format!("ctl tap {words}")))
}

/// A tap of sessions to come, which has begun: the log says so.
fn tap_new(place: &Place, evenkeel: &Program, words: &str) -> Program {
    let before = evenkeel.log.with(" tap by=").len();
    let tap = tap(place, words);
    evenkeel.log.wait_nth(" tap by=", before);
    tap
}

fn number(place: &Place) -> u64 {
    let rows: Value = serde_json::from_str(&place.ctl("sessions --json").stdout).unwrap();
    rows[0]["session"].as_u64().unwrap()
}

#[test]
fn an_open_session_is_watched_from_then_on_and_the_log_says_who_did() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let evenkeel = place.native(&format!("{port} {echo} --splice always"));
    let client = Client::connect(&port);
    client.send("earlier");
    client.expect("earlier");
    let number = number(&place);
    let mut tap = tap(&place, &number.to_string());
    let begun = tap.out.wait("served by");
    assert!(begun.contains(&format!("session {number}: 127.0.0.1:")), "{begun}");
    assert!(begun.contains(&format!(" at *:{port}, served by {echo} from 127.0.0.1:")), "{begun}");
    client.send("GET /\r\n\x1b[31m");
    client.expect("GET /\r\n\x1b[31m");
    tap.out.wait("client sends 12 bytes");
    tap.out.wait("backend sends 12 bytes");
    let dump = "  00000000  47 45 54 20 2f 0d 0a 1b  5b 33 31 6d              |GET /...[31m|";
    until("both dumps", || tap.out.with(dump).len() == 2);
    client.finish();
    assert_eq!(client.rest(), (Vec::new(), End::Eof));
    tap.out.wait("client has sent everything");
    tap.out.wait(&format!("session {number}: ended, client-fin"));
    assert!(tap.wait_for_output().success());
    tap.out.wait("enough sessions: 1 sessions, 24 bytes");
    assert!(tap.out.with("earlier").is_empty());
    let uid = rustix::process::geteuid().as_raw();
    let line = evenkeel.log.wait(" tap by=");
    assert!(
        line.contains(&format!(" tap by={uid} role=admin process={} ", tap.pid().as_raw_nonzero()))
    );
    assert!(line.contains(&format!("\\\"session\\\":{number},")), "{line}");
    let line = evenkeel.log.wait(" tap ended by=");
    assert!(line.ends_with(" sessions=1 bytes=24 lost=0"), "{line}");
}

#[test]
fn new_sessions_are_chosen_by_client_and_listener() {
    let (place, one, two, a) = (Place::new(), port(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{one} {a} -- {two} {a}"));
    let words = format!("--client 127.0.0.2 --listener {two} --sessions 2 --json");
    let mut tap = tap_new(&place, &evenkeel, &words);
    for (port, client) in [(&one, 2), (&two, 1), (&two, 2), (&two, 3), (&two, 2), (&two, 2)] {
        let client = connect_from(port, [127, 0, 0, client]);
        client.expect("a\n");
        client.finish();
        assert_eq!(client.rest(), (Vec::new(), End::Eof));
    }
    assert!(tap.wait_for_output().success());
    let lines = tap.out.all();
    let lines: Vec<Value> = lines.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    let begun: Vec<_> = lines.iter().filter(|it| it["event"] == "begun").collect();
    assert_eq!(begun.len(), 2);
    for begun in begun {
        assert!(begun["client"].as_str().unwrap().starts_with("127.0.0.2:"), "{begun}");
        assert_eq!(begun["listener"], format!("*:{two}"));
    }
    let data: Vec<_> = lines.iter().filter(|it| it["event"] == "data").collect();
    assert_eq!(data.len(), 2);
    assert!(data.iter().all(|it| it["hex"] == "610a" && it["from"] == "backend"), "{data:?}");
    let over = lines.last().unwrap();
    assert_eq!((&over["event"], &over["why"]), (&"over".into(), &"sessions".into()));
}

#[test]
fn limits_end_it_and_the_session_goes_on() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let evenkeel = place.native(&format!("{port} {echo} --splice always"));
    let mut by_bytes = tap_new(&place, &evenkeel, "--bytes 1k --sessions 1");
    let client = Client::connect(&port);
    by_bytes.out.wait("served by");
    let bytes = pattern(3, 4 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(&bytes));
        client.expect(&bytes);
    });
    by_bytes.out.wait("enough bytes");
    assert!(by_bytes.wait_for_output().success());
    by_bytes.out.wait("1 sessions, 1024 bytes");

    let number = number(&place);
    let mut by_time = tap(&place, &format!("{number} --for 3s"));
    assert!(by_time.wait_for_output().success());
    by_time.out.wait("the time is over: 1 sessions, 0 bytes");
    // Whoever watched has gone, so the next one can.
    let mut interrupted = tap(&place, &number.to_string());
    interrupted.out.wait("served by");
    let other = place.ctl(&format!("tap {number}")).check(1);
    assert!(other.stderr.contains("somebody else watches"), "{}", other.stderr);
    interrupted.signal(Signal::TERM);
    interrupted.wait();
    evenkeel.log.wait_nth(" tap ended by=", 3);
    client.send("x");
    client.expect("x");
}

#[test]
fn bad_questions_get_answers() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a}"));
    for (words, status, expected) in [
        ("999", 1, "session 999"),
        ("--listener 9", 1, "listener 9"),
        ("--client 10.0.0.1/8", 2, "10.0.0.0/8"),
        ("--bytes 1.5k", 2, "64k"),
        ("--sessions 0", 2, "1..=1000"),
        ("--for 0", 2, "longer than zero"),
        ("--for 25h", 1, "at most 24h"),
        ("7 --client 10.0.0.1", 2, "cannot be used with"),
    ] {
        let done = place.ctl(&format!("tap {words}")).check(status);
        assert!(done.stderr.contains(expected), "{words}: {}", done.stderr);
    }
    let before = evenkeel.log.with(" tap by=").len();
    let taps: Vec<_> = (0..4).map(|_| tap(&place, "")).collect();
    evenkeel.log.wait_nth(" tap by=", before + 3);
    let full = place.ctl("tap --for 1ms").check(1);
    assert_eq!(full.stderr, "evenkeel ctl: 4 taps are open already\n");
    drop(taps);
    until("room for another", || place.ctl("tap --for 1ms").status == 0);
}

#[test]
fn a_reader_that_does_not_read_slows_nobody_and_learns_what_it_lost() {
    const BYTES: usize = 64 << 20;
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let evenkeel = place.native(&format!("{port} {echo}"));
    let mut stream = UnixStream::connect(place.socket()).unwrap();
    let request = "GET /v1/tap?bytes=1024M&sessions=1 HTTP/1.0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    evenkeel.log.wait(" tap by=");
    let client = Client::connect(&port);
    let bytes = pattern(9, BYTES);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(&bytes));
        client.expect(&bytes);
    });
    // It takes less than a second; whoever waited for the reader would wait for ever.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    client.finish();
    assert_eq!(client.rest(), (Vec::new(), End::Eof));
    let (mut seen, mut lost, mut last) = (0, 0, Value::Null);
    for line in BufReader::new(stream).lines().map(Result::unwrap) {
        let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
        if line["event"] == "data" {
            let hex = line["hex"].as_str().unwrap();
            assert_eq!(hex.len() as u64, 2 * line["size"].as_u64().unwrap());
            // What is seen is what passed there.
            let at = line["offset"].as_u64().unwrap() as usize;
            assert_eq!(hex[..2], format!("{:02x}", bytes[at]));
            seen += line["size"].as_u64().unwrap();
        }
        lost += line["lost"].as_u64().filter(|_| line["event"] == "ended").unwrap_or(0);
        last = line;
    }
    assert_eq!(last["event"], "over");
    assert_eq!(seen + lost, 2 * BYTES as u64);
    assert!(lost > BYTES as u64, "nobody read: {lost}");
    assert!(evenkeel.memory_peak() < 256 << 20, "{}", evenkeel.memory_peak());
}

#[test]
fn what_tls_protects_is_shown_only_where_the_configuration_says_so() {
    for (tap_key, expected) in [("on", false), ("decrypted", true)] {
        let (place, authority) = certified();
        let (port, echo) = (port(), Backend::echo());
        let file = format!(
            "[process]\ntap = \"{tap_key}\"\n[listeners.web]\nbind = {port}\npool = \"web\"\n\
             tls-cert = \"a.pem\"\n[pools.web]\nbackends = [\"{echo}\"]\n"
        );
        fs::write(place.file("file.toml"), file).unwrap();
        let evenkeel = place.native("run file.toml");
        let mut tap = tap_new(&place, &evenkeel, "--sessions 1");
        let config = Arc::new(authority.trust());
        let mut client = TlsClient::connect(&port, &config, "a.test");
        client.send("secret word");
        client.expect("secret word");
        client.finish();
        client.rest();
        assert!(tap.wait_for_output().success());
        assert_eq!(!tap.out.with("secret word").is_empty(), expected, "{:?}", tap.out.all());
        assert_eq!(
            tap.out.with("client sends 11 bytes, which TLS protects").len(),
            1 - usize::from(expected)
        );
    }
}

#[test]
fn it_can_be_switched_off() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let file = format!("[process]\ntap = \"off\"\n[listeners]\nweb = \"{port} {a}\"\n");
    fs::write(place.file("file.toml"), file).unwrap();
    let evenkeel = place.native("run file.toml");
    let done = place.ctl("tap").check(1);
    assert!(done.stderr.contains("tap = \"off\""), "{}", done.stderr);
    assert!(evenkeel.log.wait(" tap by=").contains("outcome=\"refused: tap is off\""));
    assert_eq!(ask(&port), "a");
}
