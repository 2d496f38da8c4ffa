//! `transparent`: servers see their clients' own addresses.

use crate::support::{Network, Place, Program, skip_unless, until};
use std::os::unix::fs::PermissionsExt;

#[track_caller]
fn network() -> Option<Network> {
    let network = Network::new();
    let reason = network.as_ref().err().cloned().unwrap_or_default();
    if skip_unless(network.is_ok(), &reason) { None } else { network.ok() }
}

/// Starts it in the balancer's place, and returns when it listens.
fn start(network: &Network, port: u16, mut command: std::process::Command) -> Program {
    let mut program = network.within("balancer", || Program::spawn(&mut command));
    until("pen to listen", || {
        assert!(!program.has_ended(), "it ended: {:?}", program.log.all());
        network.is_listening("balancer", port)
    });
    program
}

/// Said when it cannot be.
const UNUSABLE: &str = "transparent: connecting from our own address";

fn check(options: &str) {
    let Some(network) = network() else { return };
    for (listen, port, server, client) in [
        ("192.0.2.254:8080", 8080, "198.51.100.1:8080", "192.0.2.1"),
        ("[2001:db8:1::fe]:8081", 8081, "[2001:db8:2::1]:8081", "2001:db8:1::1"),
    ] {
        network.tell_addresses(server);
        let place = Place::new();
        let mut command = place.command("pen", &format!("-f {options}"));
        command.args(["-O", "transparent", listen, server]);
        let pen = start(&network, port, command);
        for _ in 0..3 {
            assert_eq!(network.ask(listen), client, "through {listen}");
        }
        assert_eq!(pen.log.with("transparent"), [""; 0]);
    }
}

#[test]
fn servers_see_the_clients_addresses() {
    check("");
}

#[test]
fn another_user_keeps_what_it_takes() {
    check("-u nobody");
}

#[test]
fn without_the_right_to_it_clients_are_served_and_one_message_says_so() {
    let Some(network) = network() else { return };
    network.tell_addresses("198.51.100.1:8080");
    let place = Place::new();
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let words = "-f -O transparent 192.0.2.254:8080 198.51.100.1:8080";
    let pen = start(&network, 8080, place.as_nobody("pen", words));
    for _ in 0..5 {
        assert_eq!(network.ask("192.0.2.254:8080"), "198.51.100.254");
    }
    let said = pen.log.wait(UNUSABLE);
    assert!(said.contains("not permitted"), "{said}");
    assert_eq!(pen.log.with("transparent").len(), 1);
}

#[test]
fn switched_on_and_off_while_it_runs() {
    let Some(network) = network() else { return };
    network.tell_addresses("198.51.100.1:8080");
    let place = Place::new();
    let control = place.file("control");
    let words =
        format!("-f -u root -C {} -r 192.0.2.254:8080 198.51.100.1:8080", control.display());
    let _pen = start(&network, 8080, place.command("pen", &words));
    let ask = || network.ask("192.0.2.254:8080");
    let tell = |words: &str| {
        place.run("penctl", &format!("{} {words}", control.display())).check(0);
    };
    assert_eq!(ask(), "198.51.100.254");
    tell("transparent");
    assert_eq!(ask(), "192.0.2.1");
    tell("no transparent");
    assert_eq!(ask(), "198.51.100.254");
}
