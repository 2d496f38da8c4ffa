//! Who is served: lists, countries, the reject backend, and how many at a time.

use crate::support::{
    Backend, Client, Mmdb, Place, Port, Program, ask, ask_from, ask_times, connect_from, port,
    skip_unless, until,
};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// What clients 127.0.0.N get, in their order.
#[track_caller]
fn check(options: &str, clients: &[u8], expected: &str) {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} {options}"));
    assert_eq!(ask_each(&port, clients), expected, "{options}");
}

#[track_caller]
fn ask_each(port: &Port, clients: &[u8]) -> String {
    let answers = clients.iter().map(|client| ask_from(port, [127, 0, 0, *client]));
    answers.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_entry_that_fits_decides() {
    check("--deny 127.0.0.7 --allow 127.0.0.0/29", &[5, 7, 9], "a reset reset");
    check("--allow 127.0.0.0/29 --deny 127.0.0.7", &[5, 7, 9], "a a a");
    check("--allow 127.0.0.7 --deny 127.0.0.0/29", &[5, 7, 9], "reset a a");
}

#[test]
fn where_none_fits_the_opposite_of_the_last_decides() {
    check("--deny 127.0.0.7", &[7, 8], "reset a");
    check("--allow 127.0.0.7", &[7, 8], "a reset");
    check("--allow ::1", &[7], "reset");
    check("--deny ::/0", &[7], "a");
    check("--deny 0.0.0.0/0", &[7], "reset");
    check(
        "--allow 127.0.0.7 --deny 127.0.0.8 --allow 127.0.0.9",
        &[7, 8, 9, 10],
        "a reset a reset",
    );
}

#[test]
fn a_list_of_an_ipv4_listener_is_the_same() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("127.0.0.1:{port} {a} --deny 127.0.0.8/29"));
    assert_eq!(ask_each(&port, &[7, 8, 15, 16]), "a reset reset a");
}

#[test]
fn refused_clients_are_logged_and_reach_no_backend() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} ! {a} --deny 127.0.0.7"));
    assert_eq!(ask_each(&port, &[7, 7]), "reset reset");
    for before in 0..2 {
        let line = evenkeel.log.wait_nth("session ended", before);
        assert!(line.contains("reason=denied"), "{line}");
        assert!(line.contains("client=127.0.0.7:") && line.contains("backend=-"), "{line}");
    }
    assert_eq!(a.accepted(), 0);
    assert_eq!(place.sessions(), 0);
}

#[test]
fn a_refused_client_may_be_closed_in_order() {
    check("--deny 127.0.0.7 --cut close", &[7, 8], "eof a");
}

#[test]
fn the_reject_backend_takes_those_who_may_not_be_served() {
    let (place, port) = (Place::new(), port());
    let (a, jail) = (Backend::named("a"), Backend::named("jail"));
    let words = format!("{port} {a} --deny 127.0.0.7 --reject {jail}");
    let evenkeel = place.native(&words);
    assert_eq!(ask_each(&port, &[7, 8, 7]), "jail a jail");
    let line = evenkeel.log.wait(&format!("backend={jail}"));
    assert!(line.contains("reason=client-"), "served as any other: {line}");
    a.stop();
    assert_eq!(ask_each(&port, &[8, 7]), "reset jail", "nobody else is sent there");
    a.start();
    jail.stop();
    let before = a.accepted();
    assert_eq!(ask_each(&port, &[7, 7]), "reset reset", "and they go nowhere else");
    assert_eq!(a.accepted(), before);
}

/// Starts `evenkeel` with a country database in the place.
fn with_countries(place: &Place, file: &str, words: &str) -> Program {
    let mut command = place.command("evenkeel", words);
    let evenkeel = Program::spawn(command.env("EVENKEEL_COUNTRIES", place.file(file)));
    evenkeel.log.wait("admin socket");
    evenkeel
}

#[test]
fn a_country_is_looked_up() {
    let networks = [("127.0.0.16", 28, "SE"), ("127.0.0.32", 28, "DE")];
    for (options, expected) in [
        ("--deny country:SE", "a reset a"),
        ("--allow country:SE", "reset a reset"),
        ("--allow country:se --deny 127.0.0.1", "reset a a"),
        ("--deny 127.0.0.17 --allow country:SE --allow country:DE", "reset reset a"),
    ] {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        std::fs::write(place.file("c.mmdb"), Mmdb::file(&networks)).unwrap();
        let evenkeel = with_countries(&place, "c.mmdb", &format!("{port} {a} {options}"));
        assert_eq!(ask_each(&port, &[1, 17, 33]), expected, "{options}");
        assert_eq!(evenkeel.log.with("country"), [""; 0], "{options}");
    }
}

#[test]
fn a_database_is_read_before_the_user_and_the_root_change() {
    if skip_unless(rustix::process::geteuid().is_root(), "only root can become somebody else") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let (file, root) = (place.file("c.mmdb"), place.file("root"));
    std::fs::write(&file, Mmdb::file(&[("127.0.0.16", 28, "SE")])).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(&root).unwrap();
    let options = format!("--user nobody --root {} --deny country:SE", root.display());
    let evenkeel = with_countries(&place, "c.mmdb", &format!("{port} {a} {options}"));
    assert_eq!(ask_each(&port, &[1, 17]), "a reset");
    assert_eq!(evenkeel.log.with("country"), [""; 0]);
}

#[test]
fn without_a_database_one_line_says_so_and_no_entry_matches() {
    for (file, content) in [("missing.mmdb", None), ("c.mmdb", Some("not a database"))] {
        for (options, expected) in
            [("--deny country:SE", "a a"), ("--allow country:SE", "reset reset")]
        {
            let (place, port, a) = (Place::new(), port(), Backend::named("a"));
            if let Some(content) = content {
                std::fs::write(place.file(file), content).unwrap();
            }
            let evenkeel = with_countries(&place, file, &format!("{port} {a} {options}"));
            let line = evenkeel.log.wait("no country database");
            assert!(line.contains(" error ") && line.contains(file), "{line}");
            assert_eq!(ask_each(&port, &[1, 17]), expected, "{options}");
            place.ctl("disable 0.0").check(0);
            place.ctl("enable 0.0").check(0);
            assert_eq!(evenkeel.log.with("no country database").len(), 1);
        }
    }
}

#[test]
fn connects_under_way_are_limited() {
    let (place, port, hole) = (Place::new(), port(), Backend::black_hole());
    let words = format!("{port} {hole} --max-connecting 1 --connect-timeout 300ms --quarantine 0");
    let _evenkeel = place.native(&words);
    let begin = Instant::now();
    let clients = [(); 3].map(|()| Client::connect(&port));
    assert_eq!(clients.each_ref().map(Client::line), ["reset"; 3]);
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
}

#[test]
fn sessions_that_are_open_are_not_under_way() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} --max-connecting 1"));
    let held = [(); 8].map(|()| Client::connect(&port));
    assert_eq!(held.each_ref().map(Client::line), ["a"; 8]);
    assert_eq!(place.sessions(), 8);
}

#[test]
fn two_processes_share_a_port() {
    let (place, other, port) = (Place::new(), Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let mut first = place.native(&format!("127.0.0.1:{port} {a} --share-port"));
    assert_eq!(ask(&port), "a");
    let mut second = other.native(&format!("127.0.0.1:{port} {b} --share-port"));
    until("the kernel to choose the first", || ask(&port) == "a");
    until("the kernel to choose the second", || ask(&port) == "b");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(ask_times(&port, 20), ["b"; 20].join(" "));
    assert!(!second.has_ended());
}

#[test]
fn two_processes_that_share_a_port_share_a_runtime_directory() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let mut first = place.native(&format!("127.0.0.1:{port} {a} --share-port"));
    let mut second = place.native(&format!("127.0.0.1:{port} {b} --share-port"));
    until("the kernel to choose the second", || ask(&port) == "b");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(ask_times(&port, 20), ["b"; 20].join(" "));
    assert!(place.ctl("status").check(0).stdout.contains(&b.to_string()));
    assert!(!second.has_ended());
}

#[test]
fn a_port_is_not_shared_unless_both_say_so() {
    for (ours, theirs) in [("", "--share-port"), ("--share-port", ""), ("", "")] {
        let (place, other, port) = (Place::new(), Place::new(), port());
        let [a, b] = ["a", "b"].map(Backend::named);
        let _first = place.native(&format!("127.0.0.1:{port} {a} {ours}"));
        let words = format!("127.0.0.1:{port} {b} {theirs}");
        let done = other.run("evenkeel", &words).check(1);
        assert!(done.stderr.contains("cannot listen on 127.0.0.1:"), "{}", done.stderr);
        assert_eq!(ask_times(&port, 5), "a a a a a");
    }
}

#[test]
fn a_held_session_of_a_client_refused_later_is_none() {
    // A list is asked once, at the start of a session, and each client for itself.
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a} --deny 127.0.0.7"));
    let held = connect_from(&port, [127, 0, 0, 8]);
    assert_eq!(held.line(), "a");
    assert_eq!(ask_from(&port, [127, 0, 0, 7]), "reset");
    held.send("still here");
    held.expect("still here");
}
