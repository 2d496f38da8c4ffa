//! Listening sockets that the service manager keeps from one process to the next (sd_notify(3),
//! `FDSTORE=1`).

use super::support::{
    Backend, Client, Manager, Place, Port, Program, ask, pass, passing, port, start_with, until,
};
use super::upgrading::{pid, upgrade};
use std::fs;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::Command;

fn name(port: &Port) -> String {
    format!("evenkeel.127.0.0.1_{port}")
}

/// Starts a service whose manager has a store.
fn storing(place: &Place, manager: &Manager, words: &str) -> Command {
    let mut command = place.command("evenkeel", words);
    manager.of(&mut command).env("FDSTORE", "8");
    command
}

#[test]
fn clients_wait_while_the_service_restarts_even_after_a_crash() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let command = storing(&place, &manager, &format!("127.0.0.1:{port} {a}"));
    let mut first = Program::spawn(&mut { command });
    manager.wait_for("READY");
    until("the socket in the store", || manager.stored() == [name(&port)]);
    for is_crash in [true, false] {
        if is_crash {
            first.kill();
        } else {
            first.signal(rustix::process::Signal::TERM);
            first.wait();
        }
        let waiting = Client::connect(&port);
        let kept = manager.take(&name(&port));
        let command = storing(&place, &manager, &format!("127.0.0.1:{port} {a}"));
        first = pass(&command, &[kept.as_fd()], Some(&name(&port)));
        drop(kept);
        waiting.expect("a");
        until("the socket in the store", || manager.stored() == [name(&port)]);
        assert_eq!(first.log.with("closed, because").len(), 0);
    }
}

#[test]
fn the_store_has_what_listens_now() {
    let (place, one, two) = (Place::new(), port(), port());
    let a = Backend::named("a");
    let mut manager = Manager::new(&place);
    let write = |ports: &[&Port]| {
        let listeners = ports.iter().map(|it| format!("l{it} = '127.0.0.1:{it} {a}'\n"));
        let text = format!("[listeners]\n{}", listeners.collect::<String>());
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    write(&[&one]);
    let command = storing(&place, &manager, "run lb.toml");
    let _program = Program::spawn(&mut { command });
    until("one socket", || manager.stored() == [name(&one)]);
    write(&[&one, &two]);
    place.run("evenkeel", "reload").check(0);
    let mut both = [name(&one), name(&two)];
    both.sort();
    until("both sockets", || manager.stored() == both);
    // The store may still have a copy when clients come: they are refused all the same.
    let copy = manager.take(&name(&one));
    write(&[&two]);
    place.run("evenkeel", "reload").check(0);
    assert!(TcpStream::connect(("127.0.0.1", one.number())).is_err());
    drop(copy);
    until("the other socket", || manager.stored() == [name(&two)]);
    // A new process knows what the old one had stored.
    write(&[&one]);
    let before = pid(&place);
    upgrade(&place, "");
    assert_ne!(pid(&place), before);
    until("the new process's", || manager.stored() == [name(&one)]);
    assert_eq!(ask(&one), "a");
}

#[test]
fn a_stored_socket_is_not_in_the_way_of_another_address() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let command = storing(&place, &manager, &format!("127.0.0.1:{port} {a}"));
    let mut first = Program::spawn(&mut { command });
    until("the socket in the store", || manager.stored() == [name(&port)]);
    first.kill();
    let kept = manager.take(&name(&port));
    // The manager has it as long as it runs, as the test does.
    let command = storing(&place, &manager, &format!("*:{port} {a}"));
    let mut shell = passing(&command, 1, Some(&name(&port)));
    let second = start_with(&mut shell, &[kept.as_fd()]);
    second.log.wait("listening");
    assert_eq!(ask(&port), "a");
    assert_eq!(second.log.with("closed, because").len(), 0);
    drop(kept);
}

#[test]
fn nothing_is_stored_where_there_is_no_store() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let mut command = place.command("evenkeel", &format!("127.0.0.1:{port} {a}"));
    let mut program = Program::spawn(manager.of(&mut command).env("FDSTORE", "0"));
    manager.wait_for("READY");
    let client = Client::connect(&port);
    client.expect("a");
    program.signal(rustix::process::Signal::TERM);
    drop(client);
    program.wait();
    assert_eq!(manager.stored(), [] as [String; 0]);
    assert!(TcpStream::connect(("127.0.0.1", port.number())).is_err(), "nobody waits for nobody");
}
