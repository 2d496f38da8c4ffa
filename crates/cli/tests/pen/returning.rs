//! Direct server return (`dsr_if`), on a bridge of namespaces with real rules. What the original does
//! was seen by the same means: which server each client gets, with and without a port.

use crate::support::{Client, Network, PATIENCE, Place, Program, or_skip, until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;

/// The service address, which the servers have and the balancer has not.
const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
const SERVERS: [&str; 2] = ["one", "two"];

/// Servers at two ports that say who they are, and clients in 198.18.0.0/16.
#[track_caller]
fn network() -> Option<Network> {
    or_skip(match Path::new("/usr/sbin/nft").exists() {
        true => Ok(()),
        false => Err("this needs nft".to_owned()),
    })?;
    let network = or_skip(Network::bridged())?;
    network.ip("client", "link set lo up").unwrap();
    network.ip("client", "route add local 198.18.0.0/16 dev lo").unwrap();
    // Or else it asks for servers in the name of a client.
    let announce = "/proc/sys/net/ipv4/conf/all/arp_announce";
    network.within("client", || std::fs::write(announce, "2")).unwrap();
    network.ip("balancer", "route add 198.18.0.0/16 via 192.0.2.1").unwrap();
    for name in SERVERS {
        network.ip(name, &format!("address add {SERVICE}/32 dev lo")).unwrap();
        network.ip(name, "route add 198.18.0.0/16 via 192.0.2.1").unwrap();
        for port in [80, 81] {
            let tcp = network.within(name, || TcpListener::bind((SERVICE, port)).unwrap());
            thread::spawn(move || {
                while let Ok((mut stream, _)) = tcp.accept() {
                    thread::spawn(move || {
                        stream.write_all(name.as_bytes()).unwrap();
                        // An echo until the client has no more.
                        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                    });
                }
            });
        }
        let udp = network.within(name, || UdpSocket::bind((SERVICE, 80)).unwrap());
        thread::spawn(move || {
            while let Ok((_, client)) = udp.recv_from(&mut [0; 16]) {
                let _ = udp.send_to(name.as_bytes(), client);
            }
        });
    }
    Some(network)
}

/// Starts it in the balancer's place, and returns when the kernel sends on.
fn start(network: &Network, place: &Place, words: &str) -> Program {
    let mut command = place.command("pen", &format!("-f {words}"));
    command.args(["-O", "dsr_if eth0"]);
    let mut pen = network.within("balancer", || Program::spawn(&mut command));
    until("it to send on", || {
        assert!(!pen.has_ended(), "it ended: {:?}", pen.log.all());
        let rules = balancer(network, "nft", "list ruleset");
        ["goto s_", "goto d_"].iter().any(|it| rules.contains(it))
    });
    pen
}

/// What a command says in the balancer's place.
fn balancer(network: &Network, program: &str, words: &str) -> String {
    let run = || Command::new(program).args(words.split(' ')).output().unwrap();
    String::from_utf8(network.within("balancer", run).stdout).unwrap()
}

fn connect(network: &Network, client: Ipv4Addr, port: u16) -> std::io::Result<Client> {
    let (from, to) = (SocketAddr::from((client, 0)), SocketAddr::from((SERVICE, port)));
    network.within("client", || Client::try_from(from, to))
}

/// The server of a new client, and the client's port.
fn ask(network: &Network, client: Ipv4Addr, port: u16) -> (String, u16) {
    let client = connect(network, client, port).expect("a connection");
    let mut name = [0; 3];
    (&client.0).read_exact(&mut name).expect("a name");
    (String::from_utf8_lossy(&name).into_owned(), client.0.local_addr().unwrap().port())
}

/// A connection of each client, with its server.
fn opened(network: &Network, clients: &[Ipv4Addr]) -> Vec<Client> {
    let open = clients.iter().map(|client| {
        let open = connect(network, *client, 80).unwrap();
        open.expect(expected(*client, None, 128));
        open
    });
    open.collect()
}

fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 1).to_bits() + number * 6)
}

/// The server that the original gives a client, of two whose shares are `first` and the rest of 256.
fn expected(client: Ipv4Addr, port: Option<u16>, first: usize) -> &'static str {
    let [a, b, c, d] = client.octets();
    let [e, f] = port.unwrap_or(0).to_be_bytes();
    let slot = usize::from(a ^ b ^ c ^ d ^ e ^ f);
    let nth = (0..256).position(|nth| nth * 3 % 256 == slot).unwrap();
    if nth < first { "one" } else { "two" }
}

#[test]
fn ten_thousand_clients_get_the_servers_of_their_slots() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let _pen = start(&network, &place, "-U 192.0.2.200:80 192.0.2.11 192.0.2.12");
    network.within("client", || {
        for client in (0..10_000).map(client) {
            let socket = UdpSocket::bind((client, 0)).unwrap();
            socket.connect((SERVICE, 80)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(b"who").unwrap();
            let mut name = [0; 3];
            socket.recv(&mut name).expect("an answer");
            assert_eq!(&name, expected(client, None, 128).as_bytes(), "{client}");
        }
    });
}

#[test]
fn weights_and_ports_of_clients_count_and_any_port_of_the_address_is_served() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let servers = "192.0.2.11:0:0:0:3 192.0.2.12:0:0:0:1";
    let mut pen = start(&network, &place, &format!("-r 192.0.2.200 {servers}"));
    for number in 0..100 {
        let port = if number % 2 == 0 { 80 } else { 81 };
        let (server, own) = ask(&network, client(number), port);
        assert_eq!(server, expected(client(number), Some(own), 192), "{}", client(number));
    }
    // An orderly end leaves nothing.
    pen.signal(Signal::TERM);
    pen.wait();
    assert_eq!(balancer(&network, "nft", "list tables"), "");
    let routes = balancer(&network, "ip", "route show table local");
    assert!(!routes.contains("192.0.2.200"), "{routes}");
}

/// In the original, the table is made once (22.16).
#[test]
fn commands_count_for_new_clients_and_open_connections_go_on() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let control = place.file("control");
    let pen = start(
        &network,
        &place,
        &format!("-u root -C {} 192.0.2.200:80 192.0.2.11 192.0.2.12", control.display()),
    );
    let tell = |words: &str| {
        place.run("penctl", &format!("{} {words}", control.display())).check(0);
    };
    let clients: Vec<_> = (0..40).map(client).collect();
    let open = opened(&network, &clients);
    let echo = || {
        for open in &open {
            open.send("still here");
            open.expect("still here");
        }
    };
    tell("server 0 blacklist 1000");
    until("the other one to serve alone", || {
        clients.iter().all(|it| ask(&network, *it, 80).0 == "two")
    });
    echo();
    tell("server 1 blacklist 1000");
    pen.log.wait("no backend is available");
    until("nobody to serve", || connect(&network, clients[0], 80).is_err());
    echo();
    tell("server 0 blacklist 0");
    tell("server 1 blacklist 0");
    until("both to serve", || {
        let is_expected = |it: &Ipv4Addr| {
            connect(&network, *it, 80).is_ok()
                && ask(&network, *it, 80).0 == expected(*it, None, 128)
        };
        clients.iter().all(is_expected)
    });
    echo();
}

/// The answers of the original are damaged, and nobody is trapped (22.16).
#[test]
fn connections_to_a_tarpit_begin_and_never_go_on() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let control = place.file("control");
    let words = format!("-u root -C {} 192.0.2.200:80 192.0.2.11", control.display());
    let mut pen = start(&network, &place, &words);
    let tell = |words: &str| {
        place.run("penctl", &format!("{} {words}", control.display())).check(0).stdout
    };
    // All of the network but for the client, and what spares itself: .11, .200 and .254.
    for words in ["acl 3 deny 192.0.2.1", "acl 3 permit 192.0.2.0 255.255.255.0"] {
        tell(words);
    }
    assert_eq!(tell("tarpit_acl 3").trim_end(), "tarpit_acl = 3");
    let pit = |last: u8, port: u16| {
        let to = SocketAddr::from(([192, 0, 2, last], port));
        network.within("client", || std::net::TcpStream::connect_timeout(&to, PATIENCE))
    };
    until("the tarpit to be there", || {
        balancer(&network, "nft", "list ruleset").contains("synproxy")
    });
    let trapped: Vec<_> = [(2, 80), (77, 4444), (199, 22), (255 - 2, 1)]
        .map(|(last, port)| pit(last, port).expect("a connection"))
        .into();
    for mut stream in &trapped {
        stream.write_all(b"hello").unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "it is answered");
    }
    let tracked = "/proc/sys/net/netfilter/nf_conntrack_count";
    let tracked = network.within("balancer", || std::fs::read_to_string(tracked).unwrap());
    assert_eq!(tracked.trim(), "0");
    assert_eq!(ask(&network, client(0), 80).0, "one");
    // The balancer itself says that nobody listens there.
    assert_eq!(pit(254, 4444).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(tell("tarpit_acl -1").trim_end(), "tarpit_acl = -1");
    until("it to be gone", || !balancer(&network, "nft", "list ruleset").contains("synproxy"));
    tell("tarpit_acl 0");
    pen.log.wait("there is no tarpit, because list 0 permits more than 16777216 addresses");
    tell("tarpit_acl 3");
    until("the tarpit to be back", || pit(78, 80).is_ok());
    pen.signal(Signal::TERM);
    pen.wait();
    assert_eq!(balancer(&network, "nft", "list tables"), "");
    let routes = balancer(&network, "ip", "route show table local");
    assert!(!routes.contains("proto 75"), "{routes}");
}

/// In the original, they are served.
#[test]
fn denied_clients_are_refused() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let file = place.file("pen.conf");
    let rules = format!("acl 1 deny {}\nacl 1 permit 0.0.0.0 0.0.0.0\nclient_acl 1\n", client(0));
    std::fs::write(&file, rules).unwrap();
    let words = format!("-F {} 192.0.2.200:80 192.0.2.11 192.0.2.12", file.display());
    let _pen = start(&network, &place, &words);
    assert!(connect(&network, client(0), 80).is_err());
    assert_eq!(ask(&network, client(1), 80).0, expected(client(1), None, 128));
}

#[test]
fn an_upgrade_goes_on_sending() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let mut pen = start(&network, &place, "192.0.2.200 192.0.2.11 192.0.2.12");
    let clients: Vec<_> = (0..10).map(client).collect();
    let open = opened(&network, &clients);
    let said = network.within("balancer", || place.run("evenkeel", "upgrade")).check(0).stdout;
    assert!(said.starts_with("upgraded: "), "{said}");
    assert_eq!(pen.wait().code(), Some(0));
    for (client, open) in clients.iter().zip(&open) {
        open.send("still here");
        open.expect("still here");
        assert_eq!(ask(&network, *client, 81).0, expected(*client, None, 128));
    }
    network.within("balancer", || place.ctl("shutdown").check(0));
    until("it to be gone", || balancer(&network, "nft", "list tables").is_empty());
    let routes = balancer(&network, "ip", "route show table local");
    assert!(!routes.contains("192.0.2.200"), "{routes}");
}

#[test]
fn what_is_left_by_a_killed_process_goes_on_and_can_be_removed() {
    let Some(network) = network() else { return };
    let place = Place::new();
    let mut pen = start(&network, &place, "192.0.2.200:80 192.0.2.11 192.0.2.12");
    pen.kill();
    for client in (0..20).map(client) {
        assert_eq!(ask(&network, client, 80).0, expected(client, None, 128));
    }
    network.within("balancer", || place.run("evenkeel", "engine-clear").check(0));
    let routes = balancer(&network, "ip", "route show table local");
    assert!(!routes.contains("192.0.2.200"), "{routes}");
}

#[test]
fn what_cannot_be_is_said() {
    let place = Place::new();
    for (words, expected) in [
        ("::1", "Address ::1 is not valid\nCan't initialize direct server return"),
        ("/path", "Address /path is not valid\nCan't initialize direct server return"),
        ("0.0.0.0:80", "Address 0.0.0.0:80 is not valid\nCan't initialize direct server return"),
    ] {
        let mut command = place.command("pen", "-f -O");
        let done = command.args(["dsr_if eth0", words, "192.0.2.11"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stderr).trim_end(), expected);
        assert_eq!(done.status.code(), Some(1), "{words}");
    }
    let Some(network) = network() else { return };
    let mut command = place.command("pen", "-f -O");
    command.args(["dsr_if eth9", "192.0.2.200:80", "192.0.2.11"]);
    let pen = network.within("balancer", || Program::spawn(&mut command));
    let line = pen.log.wait("nobody serves");
    assert!(line.contains("there is no interface eth9 with an address"), "{line}");
    let routes = balancer(&network, "ip", "route show table local");
    assert!(!routes.contains("192.0.2.200"), "{routes}");
}
