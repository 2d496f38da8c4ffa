//! `--affinity`: clients go back to where they went.

use crate::support::{Backend, Client, Place, Port, ask_from, connect_from, port, until};
use std::fs;
use std::thread;
use std::time::Duration;

/// What clients 127.0.0.N get, in their order.
#[track_caller]
fn ask_each(port: &Port, clients: &[u8]) -> String {
    let answers = clients.iter().map(|client| ask_from(port, [127, 0, 0, *client]));
    answers.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(options: &str, clients: &[u8], expected: &str) {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} {c} {options}"));
    assert_eq!(ask_each(&port, clients), expected, "{options}");
}

#[test]
fn clients_stay_where_they_were() {
    check("--affinity 9", &[1, 2, 3, 4, 3, 2, 1, 1, 4], "a b c a c b a a a");
    check("--affinity 9 --affinity-time 1h", &[1, 2, 1, 2], "a b a b");
    check("", &[1, 1, 1, 1], "a b c a");
}

#[test]
fn of_too_many_the_one_longest_ago_is_forgotten() {
    // 3 takes the place of 1; 1 that of 3, since 2 has been there again; 3 that of 2.
    check("--affinity 2", &[1, 2, 3, 2, 1, 3, 1], "a b c b a b a");
}

#[test]
fn clients_stay_with_the_backends_that_stay() {
    let (place, port) = (Place::new(), port());
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Backend::named);
    let write = |backends: [&Backend; 3]| {
        let words = backends.map(|backend| format!("'{backend}'")).join(", ");
        let text = format!(
            "[listeners.web]\nbind = {port}\npool = 'web'\n\
             [pools.web]\nbackends = [{words}]\naffinity = 9\n"
        );
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    write([&a, &b, &c]);
    let _evenkeel = place.native("run lb.toml");
    assert_eq!(ask_each(&port, &[1, 2, 3]), "a b c");
    write([&d, &c, &b]);
    place.run("evenkeel", "reload").check(0);
    assert_eq!(ask_each(&port, &[3, 2]), "c b");
    place.ctl("remove 0.0").check(0);
    assert_eq!(ask_each(&port, &[3, 2]), "c b");
    place.ctl(&format!("add 0 {a}")).check(0);
    place.ctl("enable 0.2").check(0);
    assert_eq!(ask_each(&port, &[2, 3]), "b c");
}

#[test]
fn clients_may_be_counted_only() {
    check("--affinity 9 --affinity-count-only", &[1, 1, 1, 1], "a b c a");
}

#[test]
fn clients_are_forgotten_in_time() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let words = format!("{port} {a} {b} {c} --affinity 9 --affinity-time 100ms");
    let _evenkeel = place.native(&words);
    for expected in ["a", "b", "c", "a"] {
        assert_eq!(ask_from(&port, [127, 0, 0, 1]), expected);
        thread::sleep(Duration::from_millis(150)); // what is measured, and at least that
    }
}

#[test]
fn a_client_whose_backend_fails_is_remembered_where_it_went() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} --affinity 9 --quarantine 100ms"));
    assert_eq!(ask_each(&port, &[1, 1]), "a a");
    a.stop();
    assert_eq!(ask_each(&port, &[1, 1]), "b b");
    a.start();
    // Each time somebody else, since whoever asked would be remembered.
    let mut others = 2u8..;
    until("a to be used again", || ask_from(&port, [127, 0, others.next().unwrap(), 1]) == "a");
    assert_eq!(ask_each(&port, &[1, 1]), "b b");
}

#[test]
fn the_second_limit_is_for_clients_who_were_there() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let words = format!("{port} {a}:1:3 {b} --affinity 9 --policy priority");
    let _evenkeel = place.native(&words);
    let mut held: Vec<Client> = Vec::new();
    let mut ask = |client| {
        held.push(connect_from(&port, [127, 0, 0, client]));
        held.last().unwrap().line()
    };
    assert_eq!([1, 2, 1, 1, 2, 1].map(&mut ask), ["a", "b", "a", "a", "b", "b"]);
    assert_eq!(a.open_most(), 3);
}
