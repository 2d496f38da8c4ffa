//! `transparent`: servers see their clients' own addresses.

use crate::support::{Network, PATIENCE, Place, Program, or_skip, until};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::thread;

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
    let Some(network) = or_skip(Network::new()) else { return };
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
    let Some(network) = or_skip(Network::new()) else { return };
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
    let Some(network) = or_skip(Network::new()) else { return };
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

/// Starts a UDP server that answers each client with the source address it sees.
fn answer_with_addresses(network: &Network, server: &str) {
    let socket = network.within("backend", || UdpSocket::bind(server).unwrap());
    thread::spawn(move || {
        while let Ok((_, client)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(client.ip().to_string().as_bytes(), client);
        }
    });
}

/// The answer that a new UDP client gets.
fn ask_by_datagram(network: &Network, address: &str) -> String {
    let to: SocketAddr = address.parse().unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    network.within("client", || {
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(b"?").unwrap();
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    })
}

#[test]
fn servers_of_udp_see_them_too() {
    let Some(network) = or_skip(Network::new()) else { return };
    for user in ["root", "nobody"] {
        for (listen, server, client, balancer) in [
            ("192.0.2.254:53", "198.51.100.1:53", "192.0.2.1", "198.51.100.254"),
            ("[2001:db8:1::fe]:53", "[2001:db8:2::1]:53", "2001:db8:1::1", "2001:db8:2::fe"),
        ] {
            if user == "root" {
                answer_with_addresses(&network, server);
            }
            let place = Place::new();
            let control = place.file("control").display().to_string();
            let words = format!("-f -u {user} -C {control} -U {listen} {server}");
            let mut command = place.command("pen", &words);
            command.args(["-O", "transparent"]);
            let pen = network.within("balancer", || Program::spawn(&mut command));
            let tell = |words: &str| place.run("penctl", &format!("{control} {words}"));
            until("pen to answer", || tell("pid").stdout == format!("{}\n", pen.pid()));
            let ask = || ask_by_datagram(&network, listen);
            assert_eq!([(); 3].map(|()| ask()), [client; 3], "as {user}");
            tell("no transparent").check(0);
            assert_eq!(ask(), balancer, "as {user}");
            tell("transparent").check(0);
            assert_eq!(ask(), client, "as {user}");
            assert_eq!(pen.log.with("transparent"), [""; 0]);
        }
    }
}
