//! What the kernel forwards by itself, in a network of namespaces with real rules.

use crate::support::{Client, Network, Place, Program, or_skip, until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// How long an answer may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A client, a balancer and backends that say who they are and whom they see.
pub struct Rig {
    pub network: Network,
    pub place: Place,
}

pub const BACKENDS: [&str; 4] =
    ["198.51.100.1:80", "198.51.100.2:80", "[2001:db8:2::1]:80", "[2001:db8:2::2]:80"];

impl Rig {
    /// `None` where there can be none; says why.
    #[track_caller]
    pub fn new() -> Option<Self> {
        let rig = Self::within(Network::routed)?;
        BACKENDS.iter().for_each(|address| rig.serve("backend", address));
        Some(rig)
    }

    /// One without servers, in such a network.
    #[track_caller]
    pub fn within(network: fn() -> Result<Network, String>) -> Option<Self> {
        or_skip(match std::path::Path::new("/usr/sbin/nft").exists() {
            true => Ok(()),
            false => Err("this needs nft".to_owned()),
        })?;
        Some(Self { network: or_skip(network())?, place: Place::new() })
    }

    /// Starts a server of TCP and UDP.
    pub fn serve(&self, role: &str, address: &'static str) {
        let (tcp, udp) = self.network.within(role, || {
            (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap())
        });
        serve_tcp(tcp, address);
        serve_udp(udp, address);
    }

    /// Starts the balancer, and waits until it has said that the kernel forwards.
    #[track_caller]
    pub fn start(&self, words: &str) -> Program {
        let program = self.network.within("balancer", || self.place.native(words));
        program.log.wait("the kernel forwards");
        program
    }

    #[track_caller]
    pub fn ctl(&self, words: &str) {
        self.network.within("balancer", || self.place.ctl(words).check(0));
    }

    pub fn connect(&self, role: &str, address: &str) -> Client {
        let address: SocketAddr = address.parse().unwrap();
        self.network.within(role, || Client::try_to(address).expect("a connection"))
    }

    /// Whom a new session reaches, and whom the backend sees.
    #[track_caller]
    pub fn ask(&self, role: &str, address: &str) -> (String, String) {
        said(&self.connect(role, address).0)
    }

    /// Likewise for UDP.
    #[track_caller]
    pub fn ask_udp(&self, role: &str, address: &str) -> (String, String) {
        answered(&self.flow(role, address))
    }

    /// A client of UDP, with a port of its own.
    pub fn flow(&self, role: &str, address: &str) -> UdpSocket {
        self.network.within(role, || {
            let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }

    /// What `nft` says in the balancer's namespace.
    pub fn nft(&self, words: &str) -> String {
        let words: Vec<_> = words.split(' ').collect();
        let run = || Command::new("/usr/sbin/nft").args(&words).output().unwrap();
        String::from_utf8(self.network.within("balancer", run).stdout).unwrap()
    }

    /// What the status says of all backends of the first pool together.
    pub fn sum(&self, field: &str) -> u64 {
        let status = self.place.status();
        let backends = status["pools"][0]["tiers"][0]["backends"].as_array().unwrap().clone();
        backends.iter().map(|it| it[field].as_u64().unwrap()).sum()
    }

    /// How many sessions the process has served itself.
    pub fn own(&self) -> u64 {
        let status = self.place.status();
        let listeners = status["listeners"].as_array().unwrap();
        listeners.iter().map(|it| it["sessions_total"].as_u64().unwrap()).sum()
    }

    /// The backends that the next sessions reach, with their numbers.
    pub fn spread(&self, address: &str, count: usize) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for _ in 0..count {
            *spread.entry(self.ask("client", address).0).or_default() += 1;
        }
        spread
    }
}

/// Says to each client who this is and whom it sees, and then what the client says.
pub fn serve_tcp(tcp: TcpListener, name: &'static str) {
    thread::spawn(move || {
        while let Ok((mut stream, client)) = tcp.accept() {
            thread::spawn(move || {
                let _ = writeln!(stream, "{name} {}", client.ip().to_canonical());
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

/// Answers each datagram with who this is and whom it sees.
pub fn serve_udp(udp: UdpSocket, name: &'static str) {
    thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((_, client)) = udp.recv_from(&mut bytes) {
            let _ = udp.send_to(format!("{name} {}", client.ip()).as_bytes(), client);
        }
    });
}

/// Whom a datagram of a flow reaches, and whom the backend sees.
#[track_caller]
pub fn answered(flow: &UdpSocket) -> (String, String) {
    answered_to(flow, b"who")
}

/// Likewise with a datagram of one's own.
#[track_caller]
pub fn answered_to(flow: &UdpSocket, question: &[u8]) -> (String, String) {
    flow.send(question).unwrap();
    let mut bytes = [0; 100];
    let count = flow.recv(&mut bytes).expect("an answer");
    split(std::str::from_utf8(&bytes[..count]).unwrap())
}

/// The line that a backend says first.
pub fn said(stream: &TcpStream) -> (String, String) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, stream).read_line(&mut line).expect("an answer");
    split(&line)
}

pub fn split(line: &str) -> (String, String) {
    let (backend, client) = line.trim_end().split_once(' ').expect("a backend and a client");
    (backend.to_owned(), client.to_owned())
}

#[track_caller]
pub fn echoes(client: &Client) {
    (&client.0).write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    (&client.0).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
}

/// Each way in which clients can come: whether the kernel serves them, and whom backends see.
#[test]
fn every_way_in_is_served_and_the_kernel_takes_those_it_can() {
    let Some(rig) = Rig::new() else { return };
    rig.serve("balancer", "127.0.0.1:81");
    rig.serve("balancer", "127.0.0.2:81");
    let v4 = "198.51.100.1:80 198.51.100.2:80 --engine kernel";
    let v6 = "[2001:db8:2::1]:80 [2001:db8:2::2]:80 --engine kernel";
    let words = format!(
        "8080/tcp+udp {v4} -- [::]:8081/tcp+udp {v6} -- 192.0.2.254:8082 {v4} --transparent \
         -- 127.0.0.1:8083 127.0.0.1:81 127.0.0.2:81 --engine kernel --policy random \
         -- 192.0.2.254:8084 {v4} --policy maglev -- [2001:db8:1::fe]:8085 {v6} --policy maglev"
    );
    let program = rig.start(&words);
    until("all listeners to be known", || program.log.with("the kernel").len() == 6);
    let (own_v4, own_v6) = ("198.51.100.254", "2001:db8:2::fe");
    // From where, to where, whether the kernel takes it, and whom the backend sees.
    let tcp = [
        ("client", "192.0.2.254:8080", true, own_v4), // routed, to a wildcard
        ("client", "198.51.100.254:8080", true, own_v4), // likewise, another address
        ("backend", "198.51.100.254:8080", true, own_v4), // from the backends' own network
        ("balancer", "192.0.2.254:8080", true, own_v4), // from here
        ("balancer", "127.0.0.1:8080", false, own_v4), // the loopback network is not routed
        ("client", "[2001:db8:1::fe]:8080", false, own_v4), // no backend speaks IPv6
        ("client", "[2001:db8:1::fe]:8081", true, own_v6),
        ("backend", "[2001:db8:2::fe]:8081", true, own_v6),
        ("balancer", "[2001:db8:1::fe]:8081", true, own_v6),
        ("balancer", "[::1]:8081", false, own_v6),
        ("client", "192.0.2.254:8082", true, "192.0.2.1"), // backends see clients
        ("balancer", "127.0.0.1:8083", true, "127.0.0.1"), // all of it here
        ("client", "192.0.2.254:8084", true, own_v4),
        ("client", "[2001:db8:1::fe]:8085", true, own_v6),
    ];
    let udp = [
        ("client", "192.0.2.254:8080", true, own_v4),
        ("balancer", "192.0.2.254:8080", true, own_v4),
        ("client", "[2001:db8:1::fe]:8081", true, own_v6),
        ("client", "[2001:db8:1::fe]:8080", false, own_v4),
    ];
    let mut own = 0;
    for ((from, to, is_kernel, sees), is_udp) in
        tcp.iter().map(|it| (it, false)).chain(udp.iter().map(|it| (it, true)))
    {
        let ask = |role, address| {
            if is_udp { rig.ask_udp(role, address) } else { rig.ask(role, address) }
        };
        for _ in 0..4 {
            let (_, client) = ask(from, to);
            // A wildcard's own process may be seen as any of its addresses.
            assert!(client == *sees || *from == "balancer", "{from} to {to}: {client}");
        }
        own += if *is_kernel { 0 } else { 4 };
        assert_eq!(rig.own(), own, "{from} to {to}: {:#?}", program.log.all());
    }
}

#[test]
fn turns_are_exact_and_a_disabled_backend_gets_nobody() {
    let Some(rig) = Rig::new() else { return };
    let [a, b] = [BACKENDS[0], BACKENDS[1]].map(str::to_owned);
    let program = rig.start(&format!("192.0.2.254:8080 {a} {b} --engine kernel"));
    let to = "192.0.2.254:8080";
    assert_eq!(rig.spread(to, 10), [(a.clone(), 5), (b.clone(), 5)].into());
    let old = rig.connect("client", to);
    let (first, _) = said(&old.0);
    let place = usize::from(first == b);
    for command in [format!("disable main/0.{place}"), format!("drain main/0.{place}")] {
        rig.ctl(&command);
        let other = if first == a { &b } else { &a };
        until("the other one to serve alone", || rig.spread(to, 4) == [(other.clone(), 4)].into());
        echoes(&old);
    }
    rig.ctl(&format!("enable main/0.{place}"));
    until("both to serve", || rig.spread(to, 4) == [(a.clone(), 2), (b.clone(), 2)].into());
    // Without any, this process says no.
    rig.ctl("disable main/0.0");
    rig.ctl("disable main/0.1");
    program.log.wait("no backend is available");
    until("this process to refuse", || {
        let _ = rig.network.within("client", || Client::try_to(to.parse().unwrap()));
        !program.log.with("reason=no-backend").is_empty()
    });
    echoes(&old);
}

#[test]
fn weights_and_tiers_decide_as_ever() {
    let Some(rig) = Rig::new() else { return };
    let [a, b] = [BACKENDS[0], BACKENDS[1]];
    let _program = rig.start(&format!(
        "192.0.2.254:8080 {a}:::3 {b}:::1 --policy weighted-turn --engine kernel \
         -- 192.0.2.254:8081 {a} ! {b} --engine kernel"
    ));
    let spread = rig.spread("192.0.2.254:8080", 8);
    assert_eq!(spread, [(a.to_owned(), 6), (b.to_owned(), 2)].into());
    let to = "192.0.2.254:8081";
    until("both listeners to be served", || rig.spread(to, 3) == [(a.to_owned(), 3)].into());
    rig.ctl("disable 192.0.2.254:8081/0.0");
    until("the second tier to serve", || rig.spread(to, 3) == [(b.to_owned(), 3)].into());
}

/// The same clients, with the same backends: one listener is the kernel's, the other is not.
#[test]
fn both_engines_send_a_client_to_the_same_backend() {
    let Some(rig) = Rig::new() else { return };
    let names = ["127.0.1.1:81", "127.0.1.2:81", "127.0.1.3:81", "127.0.1.4:81", "127.0.1.5:81"];
    names.iter().for_each(|name| rig.serve("balancer", name));
    let backends = names.map(|name| format!("{name}:0:0:{}", 1 + name.len() % 3)).join(" ");
    let [kernel, user] = ["127.0.0.1:8080", "127.0.0.1:8081"];
    let program = rig.start(&format!(
        "{kernel}/udp {backends} --policy maglev --engine kernel \
         -- {user}/udp {backends} --policy maglev"
    ));
    let differ = || {
        let ask = |client: u32, to: &str| {
            let client = std::net::Ipv4Addr::from_bits(0x7f02_0000 | client);
            let socket = UdpSocket::bind((client, 0)).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(b"who").unwrap();
            let mut bytes = [0; 100];
            let count = socket.recv(&mut bytes).expect("an answer");
            split(std::str::from_utf8(&bytes[..count]).unwrap()).0
        };
        let clients = (0..2_000u32).map(|number| number.wrapping_mul(40_503) & 0xffff);
        clients.filter(|client| ask(*client, kernel) != ask(*client, user)).count()
    };
    assert_eq!(rig.network.within("balancer", differ), 0);
    // Those that are left take over alike, too.
    let rules = || rig.nft("--stateless list ruleset");
    let before = rules();
    for pool in [kernel, user] {
        rig.ctl(&format!("disable {pool}/udp/0.1"));
    }
    until("the kernel to know it", || rules() != before);
    assert_eq!(rig.network.within("balancer", differ), 0);
    assert_eq!(program.log.with("the kernel does not").len(), 0);
}

#[test]
fn sessions_survive_the_process_and_the_next_one_takes_over() {
    let Some(rig) = Rig::new() else { return };
    let words = format!("192.0.2.254:8080 {} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let mut program = rig.start(&words);
    let to = "192.0.2.254:8080";
    let old = rig.connect("client", to);
    let (_, _) = said(&old.0);
    program.kill();
    echoes(&old);
    assert_eq!(rig.spread(to, 4).len(), 2, "the rules are still there");
    let mut program = rig.start(&words);
    echoes(&old);
    assert_eq!(rig.spread(to, 4).len(), 2);
    let anchored = || rig.nft("list tables").lines().count() == 2;
    until("one table, and what anchors it", anchored);
    // An orderly end leaves nothing.
    drop(old);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(rig.nft("list tables"), "");
}

/// The first child of a process.
fn child(id: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().next().map(|it| it.parse().unwrap())
}

#[test]
fn a_killed_helper_has_a_successor() {
    let Some(rig) = Rig::new() else { return };
    let to = "192.0.2.254:8080";
    let mut program = rig.start(&format!("{to} {} {} --engine kernel", BACKENDS[0], BACKENDS[1]));
    let open = rig.connect("client", to);
    said(&open.0);
    let overseer = child(program.pid().as_raw_nonzero().get()).expect("a helper");
    let helper = child(overseer).and_then(Pid::from_raw).expect("one that works");
    kill_process(helper, Signal::KILL).unwrap();
    rig.ctl("disable main/0.0");
    until("the kernel to know", || {
        let spread = rig.spread(to, 4);
        spread.len() == 1 && spread.contains_key(BACKENDS[1])
    });
    echoes(&open);
    assert_eq!(program.log.with("does not answer"), [""; 0]);
    drop(open);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(rig.nft("list tables"), "");
}

#[test]
fn only_the_helper_keeps_a_privilege() {
    let Some(rig) = Rig::new() else { return };
    let words = format!("192.0.2.254:8080 {} --engine kernel --user nobody", BACKENDS[0]);
    let program = rig.start(&words);
    let id = program.pid().as_raw_nonzero().get();
    let status = |id: &str| std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |id: &str, name: &str| {
        let status = status(id);
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let none = "0000000000000000";
    assert_eq!(field(&id.to_string(), "CapPrm:"), none);
    let overseer = child(id).expect("a helper").to_string();
    let helper = child(overseer.parse().unwrap()).expect("one that works").to_string();
    let network = "0000000000001000"; // CAP_NET_ADMIN
    for helper in [&overseer, &helper] {
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(field(helper, set), network, "{set}");
        }
        assert_eq!(field(helper, "Uid:"), "65534");
        assert_eq!(field(helper, "NoNewPrivs:"), "1");
    }
    let files = |id: &str| std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    assert_eq!(files(&overseer), 4, "three standard streams and the way to its parent");
    // Now and then, it has one more with which it asks the kernel.
    until("the helper to have these, its claim, its anchor and a socket for changes", || {
        files(&helper) == 7
    });
    assert_eq!(rig.ask("client", "192.0.2.254:8080").0, BACKENDS[0]);
}

#[test]
fn what_the_kernel_cannot_do_is_named_and_this_process_serves() {
    let Some(rig) = Rig::new() else { return };
    let words = format!("192.0.2.254:8080 {} --engine kernel --max-sessions 5", BACKENDS[0]);
    let program = rig.network.within("balancer", || rig.place.native(&words));
    let line = program.log.wait("the kernel does not forward; this process serves");
    assert!(line.contains("the kernel cannot do this: max-sessions"), "{line}");
    assert_eq!(rig.ask("client", "192.0.2.254:8080").0, BACKENDS[0]);
    program.log.wait("session ended");
    drop(program);
    // Without the privilege there is one line.
    let words = format!("192.0.2.254:8081 {} --engine kernel", BACKENDS[0]);
    let place = Place::new();
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = place.as_nobody("evenkeel", &words);
    let program = rig.network.within("balancer", || Program::spawn(&mut command));
    let line = program.log.wait("the kernel cannot forward; this process serves");
    assert!(line.contains("CAP_NET_ADMIN is missing"), "{line}");
    assert_eq!(rig.ask("client", "192.0.2.254:8081").0, BACKENDS[0]);
}

#[test]
fn denied_clients_are_left_to_this_process() {
    let Some(rig) = Rig::new() else { return };
    let [a, b] = [BACKENDS[0], BACKENDS[1]];
    let words = format!("192.0.2.254:8080 {a} --engine kernel --deny 192.0.2.1 --reject {b}");
    let _program = rig.start(&words);
    assert_eq!(rig.ask("balancer", "192.0.2.254:8080").0, a);
    assert_eq!(rig.ask("client", "192.0.2.254:8080").0, b);
    assert_eq!(rig.own(), 1);
}

#[test]
fn returning_clients_are_remembered() {
    let Some(rig) = Rig::new() else { return };
    let [a, b] = [BACKENDS[0], BACKENDS[1]];
    let to = "192.0.2.254:8080";
    let _program = rig.start(&format!("{to} {a} {b} --engine kernel --affinity 100"));
    let (first, _) = rig.ask("client", to);
    let (place, other) = if first == a { (0, b) } else { (1, a) };
    assert_eq!(rig.spread(to, 4), [(first, 4)].into());
    rig.ctl(&format!("disable main/0.{place}"));
    until("the other one to serve", || rig.spread(to, 3) == [(other.to_owned(), 3)].into());
    rig.ctl(&format!("enable main/0.{place}"));
    until("both to be there", || rig.nft("list ruleset").contains("numgen inc mod 2 map"));
    assert_eq!(rig.spread(to, 4), [(other.to_owned(), 4)].into());
}

#[test]
fn sessions_and_bytes_are_counted_and_missing_rules_come_back() {
    let Some(rig) = Rig::new() else { return };
    let to = "192.0.2.254:8080";
    let words = format!("{to} {} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let _program = rig.start(&words);
    let sum = |field: &str| rig.sum(field);
    rig.spread(to, 200);
    until("all to be counted", || sum("attempts_total") == 200);
    assert!(sum("sent_bytes_total") > 200 * 100 && sum("received_bytes_total") > 200 * 100);
    let open: Vec<_> = (0..4).map(|_| rig.connect("client", to)).collect();
    open.iter().for_each(|client| drop(said(&client.0)));
    until("these to be counted", || sum("attempts_total") == 204);
    rig.nft("flush ruleset");
    open.iter().for_each(echoes);
    assert_eq!(rig.spread(to, 10).len(), 2, "this process serves meanwhile");
    until("the rules to come back", || rig.nft("list tables").contains(" evenkeel_"));
    open.iter().for_each(echoes);
    let own = rig.own();
    rig.spread(to, 10);
    until("these to be counted, too", || sum("attempts_total") == 224);
    assert_eq!(rig.own(), own);
}

/// Health, weights and the engine change all the time, and no client notices. `EVENKEEL_ROUNDS` says
/// how often; by default 20 times.
#[test]
fn no_client_notices_changes() {
    let Some(rig) = Rig::new() else { return };
    let rounds = std::env::var("EVENKEEL_ROUNDS").map_or(20, |text| text.parse().unwrap());
    let to = "192.0.2.254:8080";
    let write = |engine: &str, weight: usize| {
        let text = format!(
            "[listeners.web]\nbind = '{to}'\npool = 'web'\n[listeners.other]\nbind = '192.0.2.254:8081'\n\
             pool = 'other'\n[pools.other]\nengine = 'kernel'\nbackends = ['{0}']\n[pools.web]\n\
             engine = '{engine}'\npolicy = 'weighted-turn'\nbackends = [\
             {{ to = '{0}', weight = {weight} }}, {{ to = '{1}', weight = 2 }}]\n",
            BACKENDS[0], BACKENDS[1]
        );
        std::fs::write(rig.place.file("proxy.toml"), text).unwrap();
    };
    write("kernel", 1);
    let file = rig.place.file("proxy.toml");
    let _program = rig.start(&format!("run {}", file.display()));
    let interactive: Vec<_> = (0..100).map(|_| rig.connect("client", to)).collect();
    interactive.iter().for_each(|client| drop(said(&client.0)));
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let client = rig.connect("client", to);
                    drop(said(&client.0));
                    echoes(&client);
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let client = rig.connect("client", to);
            drop(said(&client.0));
            let sent: Vec<u8> = (0..1 << 16).map(|it: u32| (it % 251) as u8).collect();
            let mut back = vec![0; sent.len()];
            while !is_over.load(Relaxed) {
                thread::scope(|both| {
                    both.spawn(|| (&client.0).write_all(&sent).unwrap());
                    (&client.0).read_exact(&mut back).unwrap();
                });
                assert!(back == sent, "wrong bytes");
            }
        });
        for round in 0..rounds {
            rig.ctl(&format!("disable web/0.{}", round % 2));
            interactive.iter().for_each(echoes);
            rig.ctl(&format!("enable web/0.{}", round % 2));
            if round % 2 == 0 {
                write(if round % 4 == 0 { "user" } else { "kernel" }, 1 + round % 3);
                rig.ctl("reload");
            }
        }
        is_over.store(true, Relaxed);
    });
    interactive.iter().for_each(echoes);
    let served = served.load(Relaxed);
    eprintln!("{rounds} rounds, {served} new sessions");
    assert!(served > rounds);
}
