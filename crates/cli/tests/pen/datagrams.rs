//! `-U`: datagrams, their sessions, and what the original got wrong about them.

use crate::support::{
    Done, Place, Port, Program, UdpBackend, UdpClient, has_ipv6, port, skip_unless, until,
};
use crate::{Pen, as_oneself, is_root};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// `pen -U` on this host's address; like [`Pen::start`] otherwise.
#[track_caller]
fn start_at(host: IpAddr, options: &str, servers: &str) -> Pen {
    let (place, port, control) = (Place::new(), port(), port());
    let listen = SocketAddr::new(host, port.number());
    let me = as_oneself();
    let words = format!("-f {me} -C 127.0.0.1:{control} -U {options} {listen} {servers}");
    let program = Program::spawn(&mut place.command("pen", &words));
    let mut pen = Pen { program, port, control, place };
    until("pen to answer", || {
        assert!(!pen.program.has_ended(), "it ended: {:?}", pen.program.log.all());
        pen.control_bytes(b"pid\n").is_ok_and(|reply| !reply.is_empty())
    });
    pen
}

#[track_caller]
fn start(options: &str, servers: &str) -> Pen {
    start_at(HERE, options, servers)
}

/// A client with another address and port.
fn client_from(host: u8, port: &Port) -> UdpClient {
    let source = IpAddr::from([127, 0, 0, host]);
    UdpClient::from(source, (Ipv4Addr::LOCALHOST, port.number()))
}

fn client(port: &Port) -> UdpClient {
    client_from(1, port)
}

/// The number of server 0's sessions.
fn sessions(pen: &Pen) -> u64 {
    pen.server_number(0, "conn")
}

#[test]
fn fault_8_datagrams_of_every_size_pass_over_both_families() {
    for host in [HERE, Ipv6Addr::LOCALHOST.into()] {
        if host.is_ipv6() && skip_unless(has_ipv6(), "this machine has no ::1") {
            return;
        }
        let server = UdpBackend::echo(host);
        let pen = start_at(host, "", &server.to_string());
        let client = UdpClient::to((host, pen.port.number()));
        for size in [1, 0, 1500, 32_768, 32_769, 65_507, 0, 1] {
            let sent: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            client.send(&sent);
            assert!(client.answer() == sent, "{size} bytes through {host}");
        }
        assert_eq!(sessions(&pen), 1, "{host}");
        let sources: BTreeSet<_> = server.seen().into_iter().map(|(from, _)| from).collect();
        assert_eq!(sources.len(), 1, "{host}");
    }
}

#[test]
fn fault_11_ipv4_clients_of_an_ipv6_listener_are_ipv4_clients() {
    if skip_unless(has_ipv6(), "this machine has no ::1") {
        return;
    }
    let [a, b, c] = ["a", "b", "c"].map(UdpBackend::named);
    let pen = start_at(Ipv6Addr::UNSPECIFIED.into(), "-h", &format!("{a} {b} {c}"));
    let hosts = [1, 2, 3].map(|host| client_from(host, &pen.port).ask("?"));
    assert_eq!(hosts, ["c?", "a?", "b?"]);
    // The last byte of the address chooses.
    assert_eq!(UdpClient::to((Ipv6Addr::LOCALHOST, pen.port.number())).ask("?"), "b?");
    let recent = pen.ctl("recent");
    assert_eq!(recent.matches("127.0.0.").count(), 3, "{recent}");
    assert!(recent.contains("::1 connects 1 "), "{recent}");
}

#[test]
fn another_user_can_serve_too() {
    if skip_unless(is_root(), "only root can change the user") {
        return;
    }
    let a = UdpBackend::named("a");
    let pen = start("-u nobody", &a.to_string());
    assert_eq!([(); 3].map(|()| client(&pen.port).ask("?")), ["a?"; 3]);
}

#[test]
fn fault_8_a_burst_of_a_new_client_is_one_session() {
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let pen = start("-r", &format!("{a} {b}"));
    for expected in ["b", "a", "b"] {
        let client = client(&pen.port);
        (0..10).for_each(|number| client.send(format!("{number}")));
        for number in 0..10 {
            assert_eq!(client.answer(), format!("{expected}{number}").into_bytes());
        }
    }
    assert_eq!((pen.server_number(0, "conn"), pen.server_number(1, "conn")), (1, 2));
}

#[test]
fn fault_8_silent_sessions_end() {
    let a = UdpBackend::named("a");
    let pen = start("", &a.to_string());
    let clients = [(); 5].map(|()| client(&pen.port));
    assert!(clients.iter().all(|client| client.ask("?") == "a?"));
    assert_eq!(sessions(&pen), 5);
    assert_eq!(pen.ctl("idle_timeout 1"), "Idle timeout: 1 seconds\n");
    until("the sessions to end", || sessions(&pen) == 0);
    assert!(clients.iter().all(|client| client.ask("!") == "a!"));
}

#[test]
fn fault_8_the_oldest_sessions_make_room() {
    let a = UdpBackend::named("a");
    let mut pen = start("-x 20", &a.to_string());
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", pen.program.pid())).unwrap().count();
    let before = descriptors();
    let clients: Vec<_> = (0..300).map(|_| client(&pen.port)).collect();
    assert!(clients.iter().all(|client| client.ask("?") == "a?"));
    assert!(sessions(&pen) <= 20 + cores(), "{}", sessions(&pen));
    assert!(descriptors() <= before + 40, "{before}, then {}", descriptors());
    pen.program.log.wait("no room for more UDP clients");
    assert!(pen.program.log.all().len() as u64 <= cores(), "{:?}", pen.program.log.all());
    pen.check_alive();
}

/// Each worker may have one session more, so that no worker's clients are shut out.
fn cores() -> u64 {
    std::thread::available_parallelism().unwrap().get() as u64
}

#[test]
fn a_dead_server_is_noticed() {
    let (mut a, b) = (UdpBackend::named("a"), UdpBackend::named("b"));
    let pen = start("-r", &format!("{b} {a}"));
    let early = client(&pen.port);
    assert_eq!(early.ask("1"), "a1");
    a.stop();
    // New clients do not notice; their datagrams are kept until there is an answer.
    for _ in 0..4 {
        assert_eq!(client(&pen.port).ask("?"), "b?");
    }
    pen.program.log.wait("blacklisting server 1");
    // Who was there before loses what was on its way when the server died, and no more.
    early.send("2");
    until("its session to move", || pen.server_number(0, "conn") == 5);
    assert_eq!(early.ask("3"), "b3");
}

#[test]
fn a_client_whose_servers_are_all_dead_gets_the_emergency_server() {
    let (mut a, e) = (UdpBackend::named("a"), UdpBackend::named("e"));
    let pen = start(&format!("-e {e}"), &a.to_string());
    assert_eq!(client(&pen.port).ask("?"), "a?");
    a.stop();
    assert_eq!(client(&pen.port).ask("?"), "e?");
}

#[test]
fn a_stubborn_pen_does_not_try_another_server() {
    let (a, mut b) = (UdpBackend::named("a"), UdpBackend::named("b"));
    b.stop();
    let pen = start("-s -r", &format!("{a} {b}"));
    client(&pen.port).send("lost");
    pen.program.log.wait("blacklisting server 1");
    assert_eq!(client(&pen.port).ask("?"), "a?");
    assert_eq!(a.seen().len(), 1);
}

#[test]
fn the_reject_server_and_limits_are_as_for_tcp() {
    let [a, b, abuse] = ["a", "b", "abuse"].map(UdpBackend::named);
    let pen = start(&format!("-r -B {abuse}"), &format!("{a} {b}:1"));
    pen.set(&["acl 3 deny 127.0.0.9"]);
    assert_eq!(pen.ctl("client_acl 3"), "3\n");
    assert_eq!(client_from(9, &pen.port).ask("?"), "abuse?");
    let clients = [(); 4].map(|()| client(&pen.port));
    assert_eq!(clients.each_ref().map(|it| it.ask("?")), ["b?", "a?", "a?", "a?"]);
    assert_eq!(client_from(9, &pen.port).ask("?"), "abuse?");
}

#[test]
fn fault_8_counters_count_everything() {
    let a = UdpBackend::named("a");
    let pen = start("", &a.to_string());
    let client = client_from(7, &pen.port);
    assert_eq!([client.ask("12345"), client.ask("1")], ["a12345", "a1"]);
    let counts = ["sx", "rx", "conn"].map(|word| pen.server_number(0, word));
    assert_eq!(counts, [6, 8, 1]);
    assert_eq!(pen.ctl("recent"), "127.0.0.7 connects 1 sx 8 rx 6\n");
    let connection = pen.ctl("connection 0");
    assert!(connection.contains("state = 2\n"), "{connection}");
    assert!(connection.contains("client = 0, server = 0\n"), "{connection}");
    assert_eq!(pen.ctl("close 0"), "Forcibly closing connection 0\n");
    until("the session to end", || sessions(&pen) == 0);
    assert_eq!(client.ask("again"), "aagain");
    assert_eq!(pen.ctl("recent"), "127.0.0.7 connects 2 sx 14 rx 11\n");
}

#[test]
fn a_session_that_is_never_answered_is_open() {
    let silent = UdpBackend::silent();
    let pen = start("", &silent.to_string());
    client(&pen.port).send("a line for a log");
    until("the datagram", || silent.seen().len() == 1);
    let connection = pen.ctl("connection 0");
    assert!(connection.contains("state = 2\n"), "{connection}");
}

#[test]
fn fault_8_the_log_has_every_datagram() {
    let a = UdpBackend::named("a");
    let place = Place::new();
    let log = place.file("log");
    let pen = start(&format!("-l {}", log.display()), &a.to_string());
    let client = client_from(3, &pen.port);
    for text in ["one\n", "two\n", "", "three\nfour\n"] {
        assert_eq!(client.ask(text), format!("a{text}"));
    }
    let text = || fs::read_to_string(&log).unwrap_or_default();
    until("three lines", || text().lines().count() == 3);
    let words: Vec<String> =
        text().lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(words, ["one", "two", "three"]);
    assert!(text().lines().all(|line| line.starts_with("127.0.0.3 ")), "{}", text());
}

#[test]
fn dumps_have_both_directions() {
    let a = UdpBackend::named("a");
    let pen = start("-d -d -d -a", &a.to_string());
    assert_eq!(client(&pen.port).ask("question"), "aquestion");
    pen.program.log.wait("aquestion");
    assert!(pen.program.log.with("question").len() >= 2, "{:?}", pen.program.log.all());
}

#[test]
fn commands_change_it_while_it_runs() {
    let [a, b, c] = ["a", "b", "c"].map(UdpBackend::named);
    let pen = start("-r", &format!("{a} {b}"));
    let early = client(&pen.port);
    assert_eq!(early.ask("?"), "b?");
    let [host, number] = ["address 127.0.0.1 port", &c.to_string()["127.0.0.1:".len()..]];
    pen.set(&[&format!("server 2 {host} {number}"), "server 0 blacklist 60"]);
    assert_eq!([(); 3].map(|()| client(&pen.port).ask("?")), ["c?", "b?", "c?"]);
    assert_eq!(pen.ctl("listen /nowhere/pen"), format!("127.0.0.1:{}\n", pen.port));
    pen.set(&["server 1 address /nowhere/server"]);
    pen.program.log.wait("unknown or invalid address [/nowhere/server]");
    // Elsewhere from now on. Whoever was there may finish.
    let other = port();
    assert_eq!(pen.ctl(&format!("listen 127.0.0.1:{other}")), format!("127.0.0.1:{other}\n"));
    assert_eq!(client(&other).ask("?"), "b?");
    assert_eq!(early.ask("!"), "b!");
}

#[test]
fn hup_reads_the_file_again() {
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let place = Place::new();
    let file = place.file("pen.cfg");
    let server = |server: &UdpBackend| {
        let text = server.to_string();
        format!("server 0 address 127.0.0.1 port {}\n", text.rsplit(':').next().unwrap())
    };
    fs::write(&file, server(&a)).unwrap();
    let mut pen = start(&format!("-F {}", file.display()), "");
    assert_eq!(client_from(1, &pen.port).ask("?"), "a?");
    fs::write(&file, format!("{}idle_timeout 7\n", server(&b))).unwrap();
    pen.program.signal(Signal::HUP);
    until("the other server", || client_from(2, &pen.port).ask("?") == "b?");
    assert_eq!(pen.ctl("idle_timeout"), "Idle timeout: 7 seconds\n");
}

/// `evenkeel pen --print-config` for these words.
#[track_caller]
fn printed(place: &Place, form: &str, words: &str) -> String {
    let done = place.run("evenkeel", &format!("pen --print-config{form} {words}")).check(0);
    assert_eq!(done.stderr, "");
    done.stdout
}

#[test]
fn what_it_means_can_be_printed_and_run_with_any_number_of_workers() {
    let [a, b, c, e] = ["a", "b", "c", "e"].map(UdpBackend::named);
    for (options, hosts, expected) in [
        ("-r", [1, 1, 1, 1], ["b?", "c?", "a?", "b?"]),
        ("-H -O dummy -t 9", [1, 2, 1, 3], ["b?", "c?", "b?", "a?"]),
        ("-h", [1, 2, 3, 1], ["c?", "a?", "b?", "c?"]),
    ] {
        for workers in [1, 4] {
            let (place, port) = (Place::new(), port());
            let words = format!("-f -U {options} -e {e} 127.0.0.1:{port} {a} {b} {c}");
            let line = printed(&place, "", &words);
            let line = line.trim().strip_prefix("evenkeel ").unwrap();
            let file = printed(&place, "=toml", &words);
            let file = format!("[process]\nworkers = {workers}\n{file}");
            fs::write(place.file("pen.toml"), file).unwrap();
            place.run("evenkeel", "check pen.toml").check(0);
            for start in [&format!("{line} --workers {workers}"), "run pen.toml"] {
                let _evenkeel = place.native(start);
                let answers = hosts.map(|host| client_from(host, &port).ask("?"));
                assert_eq!(answers, expected, "{line}");
                let client = client(&port);
                client.send([b'x'; 65_506]);
                assert_eq!(client.answer().len(), 65_507);
            }
        }
    }
}

#[test]
fn paths_are_refused() {
    let place = Place::new();
    for words in ["-f -U /nowhere/pen 127.0.0.1:9", "-f -U 127.0.0.1:9 /nowhere/server"] {
        let done = place.run("pen", words).check(1);
        assert!(done.stderr.contains("Unix datagrams"), "{done:?}");
    }
}

/// A name server that has one address for every name in `test`.
struct NameServer(std::process::Child, Port);

impl NameServer {
    fn start(address: &str) -> Option<Self> {
        let port = port();
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces"])
            .args(["--listen-address=127.0.0.1", "--pid-file=", "--conf-file=/dev/null"])
            .args([format!("--port={port}"), format!("--address=/test/{address}")])
            .args(["--user=root", "--cache-size=0"])
            .stderr(Stdio::null())
            .spawn();
        let server = Self(child.ok()?, port);
        until("dnsmasq to answer", || dig(&server.1, "up.test", "+tries=1 +time=1") == address);
        Some(server)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `dig` prints.
fn dig(port: &Port, name: &str, options: &str) -> String {
    let mut dig = Command::new("dig");
    dig.args(["@127.0.0.1", "-p", &port.to_string(), "+short", name]);
    let done = Done::run(dig.args(options.split_whitespace()), "");
    done.stdout.trim().to_owned()
}

#[test]
fn names_are_found_while_one_name_server_dies() {
    let has = |program| Command::new(program).arg("-v").output().is_ok();
    if skip_unless(has("dig") && has("dnsmasq"), "needs dig and dnsmasq, and root for the latter") {
        return;
    }
    let servers = ["192.0.2.1", "192.0.2.2"].map(NameServer::start);
    let [Some(one), Some(two)] = servers else { panic!("dnsmasq starts") };
    let pen = start("-r", &format!("127.0.0.1:{} 127.0.0.1:{}", one.1, two.1));
    let ask = || dig(&pen.port, "www.test", "");
    assert_eq!([(); 4].map(|()| ask()), ["192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.1"]);
    drop(two);
    for _ in 0..10 {
        assert_eq!(dig(&pen.port, "www.test", "+tries=1"), "192.0.2.1");
    }
    pen.program.log.wait("blacklisting server 1");
}
