//! What workers share is exact: turns, limits, and the sessions themselves.

use crate::support::{
    Backend, Client, Place, Port, Program, ask, ask_often, ask_times, port, until,
};
use rustix::process::Signal;
use std::thread;

/// Sessions of each worker, from `ctl status --json`.
fn by_worker(place: &Place) -> Vec<u64> {
    let done = place.ctl("status --json").check(0);
    let status: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let workers = status["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["sessions"].as_u64().unwrap()).collect()
}

#[test]
fn ten_long_sessions_are_spread_five_and_five() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} --workers 2"));
    let held: Vec<_> = (0..10).map(|_| Client::connect(&port)).collect();
    assert!(held.iter().all(|client| client.line() == "a"));
    assert_eq!(by_worker(&place), [5, 5]);
}

#[test]
fn a_hundred_sessions_at_once_are_spread_evenly() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} --workers 2"));
    let (_, held) = ask_often(&port, 100);
    let workers = by_worker(&place);
    assert_eq!(workers.iter().sum::<u64>(), 100);
    assert!(workers.iter().all(|sessions| (45..=55).contains(sessions)), "{workers:?}");
    drop(held);
    until("the sessions to end", || by_worker(&place) == [0, 0]);
}

#[test]
fn turns_are_exact_over_four_workers() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} {c} --workers 4"));
    let (counts, _held) = ask_often(&port, 600);
    assert_eq!(counts, [("a", 200), ("b", 200), ("c", 200)].map(|(n, c)| (n.to_owned(), c)).into());
}

#[test]
fn limits_are_exact_over_four_workers() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("{port} {a}:5 --workers 4"));
    for round in 0..5 {
        let (counts, held) = ask_often(&port, 50);
        let sessions = || place.ctl("sessions").stdout;
        let expected = [("a", 5), ("reset", 45)].map(|(n, c)| (n.to_owned(), c)).into();
        assert_eq!(counts, expected, "{}", sessions());
        assert_eq!(a.open_most(), 5);
        drop(held);
        until("the sessions to end", || place.sessions() == 0 && a.open() == 0);
        assert_eq!(a.accepted(), 5 * (round + 1), "nobody is turned away who had a place");
    }
}

#[test]
fn nobody_waits_between_two_workers() {
    // Bursts after which nothing moves: a worker that was not woken for a client handed to it
    // would sleep on.
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}:5 --workers 4"));
    for burst in 0..60 {
        let (counts, held) = ask_often(&port, 50);
        assert_eq!(counts.get("silence"), None, "burst {burst}");
        drop(held);
        until("the sessions to end", || place.sessions() == 0);
    }
}

#[test]
fn a_limit_spills_exactly_under_concurrency() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a}:7 ! {b} --workers 4"));
    let (counts, _held) = ask_often(&port, 50);
    assert_eq!(counts, [("a", 7), ("b", 43)].map(|(n, c)| (n.to_owned(), c)).into());
    assert_eq!(a.open_most(), 7);
}

#[test]
fn clients_that_come_while_it_stops_cost_no_session() {
    for _ in 0..5 {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let mut evenkeel = place.native(&format!("{port} {a} --workers 2"));
        let held = [(); 4].map(|()| Client::connect(&port));
        assert_eq!(held.each_ref().map(Client::line), ["a"; 4]);
        let address = ([127, 0, 0, 1], port.number()).into();
        thread::scope(|scope| {
            let comers = [(); 3].map(|()| {
                // Until nobody listens any more.
                scope.spawn(|| while Client::try_to(address).is_ok() {})
            });
            evenkeel.signal(Signal::TERM);
            comers.into_iter().for_each(|comer| comer.join().unwrap());
        });
        for client in held {
            client.send("still here");
            client.expect("still here");
        }
        assert_eq!(evenkeel.wait().code(), Some(0));
        assert_eq!(evenkeel.log.with("panicked"), [""; 0]);
    }
}

#[test]
fn with_few_places_everybody_has_their_turn() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} --max-sessions 3 --workers 4"));
    let answers = thread::scope(|scope| {
        let threads = [(); 12].map(|()| scope.spawn(|| ask_times(&port, 60)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(answers, [(); 12].map(|()| ["a"; 60].join(" ")));
    until("the sessions to end", || place.sessions() == 0);
    assert_eq!(a.accepted(), 720);
}

/// Starts the file, in which two listeners share a pool of these backends, and returns when it is
/// ready.
fn two_listeners(place: &Place, [first, second]: [&Port; 2], backends: &str) -> Program {
    let file = place.file("evenkeel.toml");
    let text = format!(
        "[listeners.first]\nbind = {first}\npool = \"both\"\n\
         [listeners.second]\nbind = {second}\npool = \"both\"\n\
         [pools.both]\nbackends = [{backends}]\n\
         [process]\nworkers = 4\n"
    );
    std::fs::write(&file, text).unwrap();
    place.native(&format!("run {}", file.display()))
}

#[test]
fn a_limit_is_exact_over_two_listeners_and_four_workers() {
    let (place, ports, a) = (Place::new(), [port(), port()], Backend::named("a"));
    let [first, second] = &ports;
    let _evenkeel = two_listeners(&place, [first, second], &format!("\"{a}:100\""));
    for round in 0..3 {
        let answers: Vec<_> = thread::scope(|scope| {
            let asking = ports.each_ref().map(|port| scope.spawn(|| ask_often(port, 150)));
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let served = |answer: &str| -> usize {
            answers.iter().filter_map(|(counts, _)| counts.get(answer)).sum()
        };
        assert_eq!((served("a"), served("reset")), (100, 200));
        assert_eq!(a.open_most(), 100);
        drop(answers);
        until("the sessions to end", || place.backend(0, 0)["sessions"] == 0 && a.open() == 0);
        assert_eq!(a.accepted(), 100 * (round + 1), "nobody is turned away who had a place");
    }
}

#[test]
fn turns_and_commands_are_those_of_the_pool_whatever_the_listener() {
    let (place, ports) = (Place::new(), [port(), port()]);
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let [first, second] = &ports;
    let backends = format!("\"{a}\", {{ to = \"{b}\", name = \"bee\" }}, \"{c}\"");
    let _evenkeel = two_listeners(&place, [first, second], &backends);
    let answers: Vec<_> = [first, second, first, second, second, first].map(ask).into();
    assert_eq!(answers, ["a", "b", "c", "a", "b", "c"]);
    place.ctl("disable bee").check(0);
    let answers: Vec<_> = [second, first, second, first].map(ask).into();
    assert_eq!(answers, ["a", "c", "a", "c"]);
    // And they fail over together.
    a.stop();
    assert_eq!((ask(first), ask(second)), ("c".to_owned(), "c".to_owned()));
    assert_eq!(place.backend(0, 0)["failures_total"], 1);
    place.ctl("enable both/bee").check(0);
    let status = place.ctl("status").check(0).stdout;
    assert!(status.contains("\npool both, round-robin\n"), "{status}");
}
