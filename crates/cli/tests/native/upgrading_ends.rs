//! Upgrades after which something ends: the new process, the time of the old one, or a listener.

use super::support::{Backend, Client, End, Place, Port, port, until};
use super::upgrading::{pid, talk, upgrade};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::SocketAddr;

/// Writes a file with one listener, or another one that a later version of the file lacks. `drain` is
/// for sessions that cannot move.
fn write(place: &Place, drain: &str, ports: &[&Port], backend: &Backend) {
    let listener = |(port, name)| format!("{name} = '{port} {backend}'\n");
    let listeners: String = ports.iter().zip(["web", "old"]).map(listener).collect();
    let process = format!("[process]\nworkers = 2\nupgrade-drain = '{drain}'\n");
    fs::write(place.file("lb.toml"), format!("{process}[listeners]\n{listeners}")).unwrap();
}

#[test]
fn sessions_of_a_removed_listener_are_cut_when_their_time_is_over() {
    let (place, [web, gone], echo) = (Place::new(), [port(), port()], Backend::echo());
    write(&place, "2s", &[&web, &gone], &echo);
    let mut old = place.native("run lb.toml");
    let client = talk(&gone, "x");
    write(&place, "2s", &[&web], &echo);
    let said = upgrade(&place, "");
    assert!(said.contains("finishes 1 of listeners that are gone"), "{said}");
    // An end of file would say that it was complete.
    assert_eq!(client.rest().1, End::Reset);
    assert_eq!(old.wait().code(), Some(0));
    let line = old.log.wait("session ended");
    assert!(line.contains("reason=shutdown"), "{line}");
    assert!(old.log.wait("shutdown cut sessions").contains("sessions=1"));
}

fn is_refused(port: &Port) -> bool {
    Client::try_to(SocketAddr::from(([127, 0, 0, 1], port.number()))).is_err()
}

/// Ends the instance in an orderly way.
fn end(place: &Place, way: &str) {
    let signal = match way {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        words => return drop(place.ctl(words).check(0)),
    };
    kill_process(Pid::from_raw(pid(place) as i32).unwrap(), signal).unwrap();
}

#[test]
fn an_orderly_end_during_the_watch_ends_the_old_process_too() {
    for way in ["shutdown", "drain-all --by 1m", "TERM"] {
        let (place, port, echo) = (Place::new(), port(), Backend::echo());
        let mut old = place.native(&format!("{port} {echo}"));
        upgrade(&place, "--watch 10m");
        drop(talk(&port, "x"));
        end(&place, way);
        assert_eq!(old.wait().code(), Some(0), "{way}");
        until("nobody to listen", || is_refused(&port));
        assert_eq!(old.log.with("serves again").len(), 0, "{way}");
        until("the files to be removed", || place.all_sockets().is_empty());
    }
}

#[test]
fn after_an_orderly_end_sessions_of_the_old_process_get_to_their_end() {
    for way in ["shutdown", "drain-all --by 1m", "TERM", "INT"] {
        let (place, [web, gone], echo) = (Place::new(), [port(), port()], Backend::echo());
        write(&place, "1h", &[&web, &gone], &echo);
        let mut old = place.native("run lb.toml");
        let client = talk(&gone, "x");
        write(&place, "1h", &[&web], &echo);
        upgrade(&place, "");
        end(&place, way);
        until("nobody to listen", || is_refused(&web) && is_refused(&gone));
        old.log.wait("waiting for open sessions to end");
        client.send("y");
        client.expect("y");
        client.finish();
        assert_eq!(client.end(), End::Eof, "{way}");
        assert_eq!(old.wait().code(), Some(0), "{way}");
        assert_eq!(old.log.with("serves again").len(), 0, "{way}");
        assert!(is_refused(&web));
    }
}

#[test]
fn the_time_of_the_stop_counts_for_sessions_of_the_old_process_too() {
    let (place, [web, gone], echo) = (Place::new(), [port(), port()], Backend::echo());
    write(&place, "1h", &[&web, &gone], &echo);
    let mut old = place.native("run lb.toml");
    let client = talk(&gone, "x");
    write(&place, "1h", &[&web], &echo);
    let text = fs::read_to_string(place.file("lb.toml")).unwrap();
    fs::write(place.file("lb.toml"), format!("{text}[defaults]\nshutdown-timeout = '1s'\n"))
        .unwrap();
    upgrade(&place, "");
    place.ctl("shutdown").check(0);
    assert_eq!(client.rest().1, End::Reset);
    assert_eq!(old.wait().code(), Some(0));
    assert!(old.log.wait("session ended").contains("reason=shutdown"));
}

#[test]
fn a_removed_address_refuses_clients_at_once_and_until_the_old_process_serves_again() {
    for (words, has_session) in [("", true), ("--watch 10m", false)] {
        let (place, [web, gone], echo) = (Place::new(), [port(), port()], Backend::echo());
        write(&place, "1h", &[&web, &gone], &echo);
        let old = place.native("run lb.toml");
        let client = has_session.then(|| talk(&gone, "x"));
        write(&place, "1h", &[&web], &echo);
        upgrade(&place, words);
        until("clients to be refused", || is_refused(&gone));
        drop(talk(&web, "x"));
        if let Some(client) = &client {
            client.send("y");
            client.expect("y");
        }
        kill_process(Pid::from_raw(pid(&place) as i32).unwrap(), Signal::KILL).unwrap();
        old.log.wait("serves again");
        drop((talk(&web, "x"), talk(&gone, "x")));
    }
}

#[test]
fn the_file_of_a_removed_unix_socket_goes_with_the_old_process() {
    let (place, web, echo) = (Place::new(), port(), Backend::echo());
    write(&place, "1h", &[&web], &echo);
    let later = fs::read_to_string(place.file("lb.toml")).unwrap();
    let path = place.file("sock");
    let more = format!("old = 'unix:{} {echo}'\n", path.display());
    fs::write(place.file("lb.toml"), format!("{later}{more}")).unwrap();
    let mut old = place.native("run lb.toml");
    assert!(path.exists());
    fs::write(place.file("lb.toml"), later).unwrap();
    upgrade(&place, "");
    assert_eq!(old.wait().code(), Some(0));
    assert!(!path.exists());
}
