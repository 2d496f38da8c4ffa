//! Probes of backends: who fails them gets no clients, and what people see of it.

use crate::support::{Backend, Client, End, Place, Program, ask_times, port, until};
use rustix::process::Signal;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Options that make probes fast.
const FAST: &str = "--probe-interval 100ms --probe-timeout 300ms";

/// A backend that answers HTTP requests with a status set by the test, and anything else with its
/// name.
struct Web {
    backend: Backend,
    is_well: Arc<AtomicBool>,
}

impl Web {
    fn new(name: &'static str) -> Self {
        let is_well = Arc::new(AtomicBool::new(true));
        let well = Arc::clone(&is_well);
        let backend = Backend::new(move |client| {
            let line = client.line();
            if line.is_empty() {
                return;
            }
            if !line.starts_with("GET ") {
                return client.send(format!("{name}\n"));
            }
            let status = if well.load(SeqCst) { "200 OK" } else { "503 Service Unavailable" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
            client.send(format!("{head}Connection: close\r\n\r\n"));
        });
        Self { backend, is_well }
    }
}

/// What clients get who speak first.
fn ask_first(port: &crate::support::Port) -> String {
    let client = Client::connect(port);
    client.send("hello\n");
    client.line()
}

fn health(place: &Place, index: usize) -> Value {
    place.backend(0, index)["health"].clone()
}

#[track_caller]
fn wait_for(place: &Place, index: usize, word: &str) {
    until(word, || health(place, index) == word);
}

#[test]
fn a_backend_whose_probe_fails_gets_no_client_until_it_passes() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Web::new);
    let words = format!("{port} {} {} --probe http:/healthz {FAST}", a.backend, b.backend);
    let evenkeel = place.native(&words);
    wait_for(&place, 0, "healthy");
    wait_for(&place, 1, "healthy");
    let answers: Vec<_> = (0..4).map(|_| ask_first(&port)).collect();
    assert_eq!(answers.join(""), "abab");

    b.is_well.store(false, SeqCst);
    let line = evenkeel.log.wait("backend down");
    assert!(line.contains(&format!("backend={}", b.backend)), "{line}");
    assert!(line.contains("503 Service Unavailable"), "{line}");
    let answers: Vec<_> = (0..4).map(|_| ask_first(&port)).collect();
    assert_eq!(answers.join(""), "aaaa");
    let row = place.backend(0, 1);
    assert_eq!(row["health"], "down");
    assert_eq!(row["probe"]["probe"], "http:/healthz");
    assert_eq!(row["probe"]["verdict"], "down");
    assert_eq!(row["probe"]["last_error"], "answered \"HTTP/1.1 503 Service Unavailable\"");
    let text = place.ctl("status").check(0).stdout;
    assert!(text.contains("0.1: probes have failed for "), "{text}");

    b.is_well.store(true, SeqCst);
    evenkeel.log.wait("backend up");
    let mut answers: Vec<_> = (0..4).map(|_| ask_first(&port)).collect();
    answers.sort();
    assert_eq!(answers.join(""), "aabb");
}

#[test]
fn a_start_sends_nobody_to_a_backend_that_hangs() {
    let (place, port) = (Place::new(), port());
    let hangs = Backend::new(|client| drop(client.rest()));
    let a = Web::new("a");
    let words = format!("{port} {hangs} {} --probe http:/ --probe-timeout 300ms", a.backend);
    let _evenkeel = place.native(&words);
    let answers: Vec<_> = (0..6).map(|_| ask_first(&port)).collect();
    assert_eq!(answers.join(""), "aaaaaa");
    wait_for(&place, 0, "down");
    assert_eq!(place.backend(0, 0)["attempts_total"], 0);
    assert_eq!(place.backend(0, 0)["probe"]["last_error"], "no answer within 300ms");
}

#[test]
fn a_black_hole_is_down_and_so_is_one_that_refuses() {
    let (place, port) = (Place::new(), port());
    let (hole, refuses, a) = (Backend::black_hole(), Backend::refusing(), Backend::named("a"));
    let words = format!("{port} {hole} {refuses} {a} --probe tcp {FAST}");
    let _evenkeel = place.native(&words);
    wait_for(&place, 0, "down");
    wait_for(&place, 1, "down");
    assert_eq!(place.backend(0, 0)["probe"]["last_error"], "no connection within 300ms");
    assert_eq!(place.backend(0, 1)["probe"]["last_error"], "connection refused");
    assert_eq!(ask_times(&port, 4), "a a a a");
}

#[test]
fn a_backend_that_talks_without_end_fails_and_holds_up_no_other_probe() {
    let (place, ports) = (Place::new(), [port(), port(), port()]);
    let talker = |line: &str| {
        let lines = line.repeat(10_000);
        Backend::new(move |client| while (&client.0).write_all(lines.as_bytes()).is_ok() {})
    };
    let (chargen, greeter) = (talker("chargen line\r\n"), talker("220-x\r\n"));
    let web = Web::new("a");
    let pools = [(&chargen, "ssh"), (&greeter, "smtp"), (&web.backend, "http:/")];
    let pool = |(port, (backend, probe)): (&crate::support::Port, (&Backend, &str))| {
        format!("{port} {backend} --probe {probe} {FAST}")
    };
    let words: Vec<_> = ports.iter().zip(pools).map(pool).collect();
    let _evenkeel = place.native(&words.join(" -- "));
    let backend = |pool: usize| place.status()["pools"][pool]["tiers"][0]["backends"][0].clone();
    until("healthy", || backend(2)["health"] == "healthy");
    for pool in [0, 1] {
        until("down", || backend(pool)["health"] == "down");
        let error = &backend(pool)["probe"]["last_error"];
        assert_eq!(error, "its answer is longer than 16 kB");
    }
    web.is_well.store(false, SeqCst);
    until("down", || backend(2)["health"] == "down");
}

#[test]
fn a_failed_connect_asks_for_a_probe_whose_success_ends_the_quarantine() {
    let (place, port) = (Place::new(), port());
    let (refuses, a, probed) = (Backend::refusing(), Backend::named("a"), Backend::named("p"));
    // Without a connect that fails, the next probe is far away.
    let options = format!("--probe tcp --probe-port {} --probe-interval 1h", probed.port());
    let evenkeel = place.native(&format!("{port} {refuses} {a} --quarantine 1h {options}"));
    wait_for(&place, 0, "healthy");
    let before = probed.accepted();
    assert_eq!(ask_times(&port, 1), "a");
    evenkeel.log.wait("backend quarantined");
    evenkeel.log.wait("backend recovered");
    assert_eq!(probed.accepted(), before + 1);
}

#[test]
fn what_was_down_is_down_after_a_restart() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Web::new);
    std::fs::create_dir(place.file("state")).unwrap();
    let state = place.file("state").display().to_string();
    // So long a time-out that a start would wait for nothing else.
    let backends = format!("{} {} --state {state}", a.backend, b.backend);
    b.is_well.store(false, SeqCst);
    let words = format!("{port} {backends} --probe http:/ --rise 1000 {FAST}");
    let mut evenkeel = place.native(&words);
    wait_for(&place, 1, "down");
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    b.is_well.store(true, SeqCst);
    let _evenkeel = place.native(&words);
    let answers: Vec<_> = (0..6).map(|_| ask_first(&port)).collect();
    assert_eq!(answers.join(""), "aaaaaa");
    assert_eq!(health(&place, 1), "down");
}

#[test]
fn a_reload_adds_changes_and_removes_probes() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Web::new);
    let file = place.file("evenkeel.toml");
    let write = |keys: &str| {
        let text = format!(
            "[listeners.l]\nbind = {port}\npool = \"p\"\n[pools.p]\nbackends = [\"{}\", \"{}\"]\n{keys}\n",
            a.backend, b.backend
        );
        std::fs::write(&file, text).unwrap();
    };
    write("");
    let evenkeel =
        Program::spawn(&mut place.command("evenkeel", &format!("run {}", file.display())));
    evenkeel.log.wait("listening");
    assert_eq!(place.backend(0, 0)["probe"], Value::Null);
    b.is_well.store(false, SeqCst);
    let fast = "probe-interval = \"100ms\"\nprobe-timeout = \"300ms\"";
    write(&format!("probe = \"http:/\"\n{fast}"));
    place.ctl("reload").check(0);
    wait_for(&place, 1, "down");
    // Another probe forgets nothing: it is down until that has passed.
    write(&format!("probe = \"http:/other\"\nrise = 1000\n{fast}"));
    place.ctl("reload").check(0);
    assert_eq!(health(&place, 1), "down");
    b.is_well.store(true, SeqCst);
    assert_eq!(ask_first(&port), "a");
    assert_eq!(ask_first(&port), "a");
    write("");
    place.ctl("reload").check(0);
    assert_ne!(health(&place, 1), "down");
    assert_eq!(place.backend(0, 1)["probe"], Value::Null);
    let mut answers: Vec<_> = (0..2).map(|_| ask_first(&port)).collect();
    answers.sort();
    assert_eq!(answers.join(""), "ab");
}

#[test]
fn connects_quarantine_and_disable_only_after_fall_failures() {
    let (place, port) = (Place::new(), port());
    let (a, refuses) = (Backend::named("a"), Backend::refusing());
    let evenkeel = place.native(&format!("{port} {refuses} {a} --fall 3 --auto-disable"));
    assert_eq!(ask_times(&port, 2), "a a");
    assert_eq!(place.backend(0, 0)["admin"], "enabled");
    assert_eq!(ask_times(&port, 6), "a a a a a a");
    assert_eq!(place.backend(0, 0)["admin"], "disabled");
    assert_eq!(place.backend(0, 0)["failures_total"], 3);
    evenkeel.log.wait("backend failed and was disabled");
}

#[test]
fn a_probe_announces_nobody_to_a_backend_that_waits_for_a_proxy_header() {
    let (place, port) = (Place::new(), port());
    let (send, lines) = std::sync::mpsc::sync_channel(100);
    let backend = Backend::new(move |client| {
        let line = client.line();
        let _ = send.try_send(line);
        drop(client.rest());
    });
    let words = format!("{port} {backend} --send-proxy v1 --probe tcp {FAST}");
    let _evenkeel = place.native(&words);
    let line = lines.recv_timeout(crate::support::PATIENCE).unwrap();
    assert_eq!(line.trim_end(), "PROXY UNKNOWN");
}

#[test]
fn sessions_of_a_backend_that_goes_down_end_if_that_is_wanted() {
    for (options, ends) in [("--on-down end-sessions", true), ("", false)] {
        let (place, port) = (Place::new(), port());
        let [a, b] = ["a", "b"].map(Web::new);
        let words = format!("{port} {} {} --probe http:/ {FAST} {options}", a.backend, b.backend);
        let evenkeel = place.native(&words);
        wait_for(&place, 0, "healthy");
        wait_for(&place, 1, "healthy");
        let clients = [(); 2].map(|()| Client::connect(&port));
        until("both sessions", || place.backend(0, 0)["sessions"] == 1);
        until("both sessions", || place.backend(0, 1)["sessions"] == 1);
        a.is_well.store(false, SeqCst);
        wait_for(&place, 0, "down");
        let [at_a, at_b] = &clients;
        if ends {
            assert_eq!(at_a.end(), End::Reset);
            evenkeel.log.wait("reason=backend-down");
            until("no session", || place.backend(0, 0)["sessions"] == 0);
            assert_eq!(place.backend(0, 1)["sessions"], 1);
        } else {
            at_a.send("hello\n");
            assert_eq!(at_a.line(), "a");
        }
        at_b.send("hello\n");
        assert_eq!(at_b.line(), "b");
    }
}

#[test]
fn what_becomes_of_sessions_needs_a_probe() {
    let place = Place::new();
    let done = place.run("evenkeel", "8080 a --on-down end-sessions").check(2);
    assert!(done.stderr.contains("--probe"), "{}", done.stderr);
}
