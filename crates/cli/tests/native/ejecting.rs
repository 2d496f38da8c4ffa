//! Backends whose sessions fail are ejected, and what people see of it.

use crate::support::{Backend, Client, Place, Port, Program, count, until};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A backend that passes probes, and answers others with its name, or closes while `is_ill`.
struct Moody {
    backend: Backend,
    is_ill: Arc<AtomicBool>,
}

impl Moody {
    fn new(name: &'static str, ill: bool) -> Self {
        let is_ill = Arc::new(AtomicBool::new(ill));
        let ill = Arc::clone(&is_ill);
        let backend = Backend::new(move |client| match client.line() {
            line if line.starts_with("GET ") => client.send("HTTP/1.1 200 OK\r\n\r\n"),
            _ if ill.load(SeqCst) => {}
            _ => client.send(format!("{name}\n")),
        });
        Self { backend, is_ill }
    }
}

/// What a client gets who speaks first; `eof` or `reset` if there is no answer.
fn ask(port: &Port) -> String {
    // A session that is refused may be so before the connect is known to have succeeded.
    let to = ([127, 0, 0, 1], port.number()).into();
    let Ok(client) = Client::try_to(to) else { return "reset".to_owned() };
    if (&client.0).write_all(b"hello\n").is_err() {
        return "reset".to_owned();
    }
    client.line()
}

/// Asks until `word` is in the log.
fn ask_until(port: &Port, evenkeel: &Program, word: &str) -> String {
    until(word, || {
        ask(port);
        evenkeel.log.all().iter().any(|line| line.contains(word))
    });
    evenkeel.log.wait(word)
}

fn health(place: &Place, index: usize) -> String {
    place.backend(0, index)["health"].as_str().unwrap().to_owned()
}

#[test]
fn a_backend_that_accepts_and_closes_is_ejected_and_comes_back() {
    let (place, port) = (Place::new(), crate::support::port());
    let [a, b, c] = [("a", false), ("b", true), ("c", false)].map(|(it, ill)| Moody::new(it, ill));
    let words = format!("{} {} {}", a.backend, b.backend, c.backend);
    let evenkeel = place.native(&format!("{port} {words} --eject 50% --quarantine 1s"));
    let line = ask_until(&port, &evenkeel, "backend ejected");
    assert!(line.contains(&format!("backend={}", b.backend)), "{line}");
    assert!(line.contains("sessions failed"), "{line}");
    let answers: Vec<_> = (0..6).map(|_| ask(&port)).collect();
    let why = place.ctl("why 127.0.0.1").check(0).stdout;
    assert_eq!(answers.iter().filter(|it| *it == "b").count(), 0);
    assert!(answers.iter().all(|it| it == "a" || it == "c"), "{answers:?}");
    assert!(why.contains("ejected, because its sessions failed"), "{why}");
    let status = place.ctl("status").check(0).stdout;
    assert!(status.contains("0.1: ejected: "), "{status}");

    b.is_ill.store(false, SeqCst);
    evenkeel.log.wait("backend recovered");
    until("b is asked again", || ask(&port) == "b");
    assert_eq!(health(&place, 1), "healthy");
}

#[test]
fn where_there_are_probes_a_client_is_not_the_trial() {
    let (place, port) = (Place::new(), crate::support::port());
    let [a, b] = [("a", false), ("b", true)].map(|(it, ill)| Moody::new(it, ill));
    let probe = "--probe http:/ --probe-interval 1h";
    let words = format!("{port} {} {} --eject 50% --quarantine 1s {probe}", a.backend, b.backend);
    let evenkeel = place.native(&words);
    until("both are known", || health(&place, 0) == "healthy" && health(&place, 1) == "healthy");
    ask_until(&port, &evenkeel, "backend ejected");
    let accepted = b.backend.accepted();
    evenkeel.log.wait("backend recovered");
    assert_eq!(b.backend.accepted(), accepted + 1, "one probe, and no client");
    // It passes probes, and goes on failing: the next time is longer, and five sessions are enough.
    let mut lost = 0;
    until("it is ejected again", || {
        lost += usize::from(ask(&port) == "eof");
        health(&place, 1) == "ejected"
    });
    let again = evenkeel.log.wait_nth("backend ejected", 1);
    assert!(again.contains("for=2.00s"), "{again}");
    assert!(lost >= 5, "{lost}");
}

#[test]
fn a_thin_tier_refuses_or_ignores_health_and_says_so() {
    for (option, stance, message) in [
        ("--refuse-below 60%", "refusing", "new sessions are refused"),
        ("--fail-open-below 60%", "fail-open", "health is ignored"),
    ] {
        let (place, port) = (Place::new(), crate::support::port());
        let [a, b] = [("a", false), ("b", false)].map(|(it, ill)| Moody::new(it, ill));
        let words = format!("{port} {} {} {option}", a.backend, b.backend);
        let evenkeel = place.native(&words);
        assert_eq!(ask(&port), "a");
        place.ctl("quarantine 0.1 1h").check(0);
        let line = evenkeel.log.wait("too few backends are available");
        assert!(line.contains(message) && line.contains("available=1 enabled=2"), "{line}");
        let text = place.ctl("status").check(0).stdout;
        assert!(
            text.contains(&format!("too few backends of tier 0 are available: {message}")),
            "{text}"
        );
        assert_eq!(place.status()["pools"][0]["tiers"][0]["stance"], stance);
        let answers = count((0..4).map(|_| ask(&port)));
        let expected =
            if stance == "refusing" { vec![("reset", 4)] } else { vec![("a", 2), ("b", 2)] };
        assert_eq!(answers, expected.into_iter().map(|(it, of)| (it.to_owned(), of)).collect());
        place.ctl("quarantine 0.1 0").check(0);
        evenkeel.log.wait("enough backends are available again");
    }
}

#[test]
fn shares_that_are_none_are_refused_with_a_reason() {
    let place = Place::new();
    for (option, why) in [
        ("--eject 50", "a share is a whole number of percent"),
        ("--eject 0%", "from 1% to 100%"),
        ("--fail-open-below 20% --refuse-below 30%", "cannot be used with"),
    ] {
        let done = place.run("evenkeel", &format!("8080 a {option}")).check(2);
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
}
