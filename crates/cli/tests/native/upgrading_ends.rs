//! Upgrades after which something ends: the new process, the time of the old one, or a listener.

use super::support::{Backend, End, Place, Port, port};
use super::upgrading::{talk, upgrade};
use std::fs;

/// Writes a file with one listener, or another one that a later version of the file lacks.
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
