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

/// A command that starts a service whose manager has a store.
fn storing(place: &Place, manager: &Manager, words: &str) -> Command {
    let mut command = place.command("evenkeel", words);
    manager.of(&mut command).env("FDSTORE", "8");
    command
}

/// Starts such a service, and waits until the store has the socket of this port.
#[track_caller]
fn start(place: &Place, manager: &mut Manager, words: &str, port: &Port) -> Program {
    let program = Program::spawn(&mut storing(place, manager, words));
    until("the socket in the store", || manager.stored() == [name(port)]);
    program
}

#[test]
fn clients_wait_while_the_service_restarts_even_after_a_crash() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut manager = Manager::new(&place);
    let words = format!("127.0.0.1:{port} {a}");
    let mut first = start(&place, &mut manager, &words, &port);
    manager.wait_for("READY");
    for is_crash in [true, false] {
        if is_crash {
            first.kill();
        } else {
            first.signal(rustix::process::Signal::TERM);
            first.wait();
        }
        let waiting = Client::connect(&port);
        let kept = manager.take(&name(&port));
        let command = storing(&place, &manager, &words);
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
    let _program = start(&place, &mut manager, "run lb.toml", &one);
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
    let mut first = start(&place, &mut manager, &format!("127.0.0.1:{port} {a}"), &port);
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

#[test]
fn a_stored_socket_that_was_shut_down_is_passed_over_and_other_unfit_ones_are_not() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let manager = Manager::new(&place);
    let command = storing(&place, &manager, &format!("127.0.0.1:{port} {a}"));
    let ended = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let ended_name = format!("evenkeel.127.0.0.1_{}", ended.local_addr().unwrap().port());
    rustix::net::shutdown(&ended, rustix::net::Shutdown::Read).unwrap();
    let program = pass(&command, &[ended.as_fd()], Some(&ended_name));
    program.log.wait("listening");
    assert_eq!(ask(&port), "a");
    drop(program);
    // As systemd calls the sockets of evenkeel.socket.
    let datagrams = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let mut refused = pass(&command, &[datagrams.as_fd()], Some("evenkeel.socket"));
    assert_eq!(refused.wait().code(), Some(1));
    until("the end of the log", || refused.log.is_over());
    let said = refused.log.all().join("\n");
    assert!(said.contains("evenkeel.socket") && said.contains("is not a stream socket"), "{said}");
}
