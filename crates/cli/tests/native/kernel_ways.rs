//! The ways in which clients can come to the kernel's engine, and one instance that listens on all
//! of them.

use super::kernel::{PATIENCE, Rig, echoes, serve_tcp, serve_udp, split};
use crate::support::{Client, End, Network, Program, until};
use rustix::net::{Shutdown, shutdown};
use serde_json::Value;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A way in which clients can come.
pub struct Way {
    pub name: &'static str,
    /// Where clients are, and two of their addresses there.
    pub from: (&'static str, [&'static str; 2]),
    /// What is listened to.
    bind: &'static str,
    /// What clients connect to.
    to: &'static str,
    pub servers: [&'static str; 2],
    pub who: Who,
}

/// Who is to serve with `engine = "kernel"`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Kernel,
    Process,
}
pub use Who::{Kernel, Process};

const CLIENT: (&str, [&str; 2]) = ("client", ["192.0.2.1", "192.0.2.7"]);
const CLIENT_V6: (&str, [&str; 2]) = ("client", ["2001:db8:1::1", "2001:db8:1::7"]);
const NEIGHBOUR: (&str, [&str; 2]) = ("backend", ["198.51.100.1", "198.51.100.7"]);
const NEIGHBOUR_V6: (&str, [&str; 2]) = ("backend", ["2001:db8:2::1", "2001:db8:2::7"]);
const HERE: (&str, [&str; 2]) = ("balancer", ["192.0.2.254", "198.51.100.254"]);
const HERE_V6: (&str, [&str; 2]) = ("balancer", ["2001:db8:1::fe", "2001:db8:2::fe"]);
const LOOPBACK: (&str, [&str; 2]) = ("balancer", ["127.0.0.1", "127.0.0.3"]);
const LOOPBACK_V6: (&str, [&str; 2]) = ("balancer", ["::1", "2001:db8:1::fe"]);

const SERVERS: [(&str, [&str; 2]); 4] =
    [("backend", V4), ("backend", V6), ("balancer", LOCAL), ("balancer", LOCAL_V6)];
const V4: [&str; 2] = ["198.51.100.1:80", "198.51.100.2:80"];
const V6: [&str; 2] = ["[2001:db8:2::1]:80", "[2001:db8:2::2]:80"];
const LOCAL: [&str; 2] = ["127.0.0.1:81", "127.0.0.2:81"];
const LOCAL_V6: [&str; 2] = ["[::1]:81", "[::1]:82"];

const fn way(
    name: &'static str,
    from: (&'static str, [&'static str; 2]),
    (bind, to): (&'static str, &'static str),
    servers: [&'static str; 2],
    who: Who,
) -> Way {
    Way { name, from, bind, to, servers, who }
}

const fn fixed(address: &'static str) -> (&'static str, &'static str) {
    (address, address)
}

/// All of them; the names of those of UDP begin with `udp`.
///
/// `Process` is where the kernel cannot serve: what goes to or comes from the loopback network is not
/// routed, and clients of IPv6 are not translated to backends of IPv4.
#[rustfmt::skip]
pub static WAYS: [Way; 20] = [
    way("routed", CLIENT, fixed("192.0.2.254:8001"), V4, Kernel),
    way("hairpin", NEIGHBOUR, fixed("198.51.100.254:8002"), V4, Kernel),
    way("here", HERE, fixed("192.0.2.254:8003"), V4, Kernel),
    way("wildcard", CLIENT, ("8004", "192.0.2.254:8004"), V4, Kernel),
    way("loopback", LOOPBACK, fixed("127.0.0.1:8005"), LOCAL, Kernel),
    way("loopback-out", LOOPBACK, ("8006", "127.0.0.1:8006"), V4, Process),
    way("loopback-in", LOOPBACK, ("8012", "192.0.2.254:8012"), V4, Process),
    way("v6", CLIENT_V6, fixed("[2001:db8:1::fe]:8007"), V6, Kernel),
    way("v6-hairpin", NEIGHBOUR_V6, ("[::]:8008", "[2001:db8:2::fe]:8008"), V6, Kernel),
    way("v6-here", HERE_V6, fixed("[2001:db8:1::fe]:8009"), V6, Kernel),
    way("v6-loopback", LOOPBACK_V6, fixed("[::1]:8010"), LOCAL_V6, Kernel),
    way("v6-to-v4", CLIENT_V6, ("8011", "[2001:db8:1::fe]:8011"), V4, Process),
    way("udp", CLIENT, fixed("192.0.2.254:8001"), V4, Kernel),
    way("udp-hairpin", NEIGHBOUR, fixed("198.51.100.254:8002"), V4, Kernel),
    way("udp-here", HERE, fixed("192.0.2.254:8003"), V4, Kernel),
    way("udp-wildcard", CLIENT, ("8004", "192.0.2.254:8004"), V4, Kernel),
    way("udp-loopback", LOOPBACK, fixed("127.0.0.1:8005"), LOCAL, Kernel),
    way("udp-loopback-out", LOOPBACK, ("8006", "127.0.0.1:8006"), V4, Process),
    way("udp-loopback-in", LOOPBACK, ("8012", "192.0.2.254:8012"), V4, Process),
    way("udp-v6", CLIENT_V6, fixed("[2001:db8:1::fe]:8007"), V6, Kernel),
];

impl Way {
    pub fn is_udp(&self) -> bool {
        self.name.starts_with("udp")
    }

    /// The number of a backend that clients know by this name.
    #[track_caller]
    pub fn place(&self, server: &str) -> usize {
        self.servers.iter().position(|it| *it == server).expect("one of them")
    }
}

/// An open session, and whom it has reached.
pub struct Session {
    pub way: &'static Way,
    pub server: String,
    pub link: Link,
}

/// A client's own end of a session.
pub enum Link {
    Tcp(Client),
    Udp(UdpSocket),
}

impl Session {
    /// It must go on with the same backend.
    #[track_caller]
    pub fn goes_on(&self) {
        eprintln!("{}: a session is to go on", self.way.name);
        match &self.link {
            Link::Tcp(client) => echoes(client),
            Link::Udp(socket) => assert_eq!(asked(socket).expect("an answer"), self.server),
        }
    }
}

impl Link {
    /// Waits for its end, before which nothing may come.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Tcp(client) => {
                let (bytes, end) = client.rest();
                bytes.is_empty() && matches!(end, End::Eof | End::Reset)
            }
            Self::Udp(socket) => asked(socket).is_none(),
        }
    }
}

/// Who says so first.
fn greeted(client: &Client) -> Option<String> {
    let line = client.line();
    line.contains(' ').then(|| split(&line).0)
}

/// Who answers. A signal does not matter.
fn asked(socket: &UdpSocket) -> Option<String> {
    socket.send(b"who").ok()?;
    let mut bytes = [0; 100];
    let count = loop {
        match socket.recv(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            count => break count.ok()?,
        }
    };
    Some(split(std::str::from_utf8(&bytes[..count]).unwrap()).0)
}

/// An instance that listens on all ways, and its surroundings.
pub struct Table {
    pub rig: Rig,
    pub program: Program,
    /// What the configuration says of a pool.
    pool: fn(&Way) -> String,
    /// The first server of each pair.
    first: Vec<TcpListener>,
    /// Of the next client: one of UDP with the port of an earlier one would go on with its flow.
    next_port: AtomicU16,
}

impl Table {
    /// `None` where there can be none; says why.
    #[track_caller]
    pub fn start(pool: fn(&Way) -> String) -> Option<Self> {
        let rig = Rig::within(Network::routed)?;
        for (role, [_, other]) in [CLIENT, NEIGHBOUR] {
            rig.network.ip(role, &format!("address add {other}/24 dev eth0")).unwrap();
        }
        for (role, [_, other]) in [CLIENT_V6, NEIGHBOUR_V6] {
            rig.network.ip(role, &format!("address add {other}/64 dev eth0 nodad")).unwrap();
        }
        let first = SERVERS.iter().map(|(role, [first, second])| {
            for server in [first, second] {
                let udp = rig.network.within(role, || UdpSocket::bind(server).unwrap());
                serve_udp(udp, server);
            }
            serve(&rig, role, second);
            serve(&rig, role, first)
        });
        let first = first.collect();
        write(&rig, pool, "kernel");
        let program = start(&rig);
        Some(Self { rig, program, pool, first, next_port: AtomicU16::new(10_000) })
    }

    /// Does this for each way, and says in the output of the test for which.
    pub fn each(&self, mut what: impl FnMut(&'static Way)) {
        for way in &WAYS {
            eprintln!("{}", way.name);
            what(way);
        }
    }

    /// A new client, the first one or the other.
    pub fn connect(&self, way: &Way, client: usize) -> Option<Link> {
        let (role, clients) = way.from;
        let port = self.next_port.fetch_add(1, Relaxed);
        let from = SocketAddr::new(clients[client].parse().unwrap(), port);
        let to: SocketAddr = way.to.parse().unwrap();
        self.rig.network.within(role, || match way.is_udp() {
            true => {
                let socket = UdpSocket::bind(from).unwrap();
                socket.connect(to).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                Some(Link::Udp(socket))
            }
            false => Client::try_from(from, to).ok().map(Link::Tcp),
        })
    }

    /// Likewise, if it has an answer.
    pub fn try_open(&self, way: &'static Way, client: usize) -> Option<Session> {
        let link = self.connect(way, client)?;
        let server = match &link {
            Link::Tcp(client) => greeted(client)?,
            Link::Udp(socket) => asked(socket)?,
        };
        Some(Session { way, server, link })
    }

    #[track_caller]
    pub fn open(&self, way: &'static Way) -> Session {
        self.try_open(way, 0).expect("an answer")
    }

    /// Two sessions on each way.
    pub fn open_all(&self) -> Vec<Session> {
        WAYS.iter().flat_map(|way| [self.open(way), self.open(way)]).collect()
    }

    /// How many of the next clients reach the first backend, and how many the second one.
    pub fn spread(&self, way: &'static Way, count: usize) -> [usize; 2] {
        let mut spread = [0, 0];
        for session in (0..count).filter_map(|_| self.try_open(way, 0)) {
            spread[way.place(&session.server)] += 1;
        }
        spread
    }

    /// Waits until that is what the next clients do.
    #[track_caller]
    pub fn wait_for(&self, way: &'static Way, expected: [usize; 2]) {
        let count = expected.iter().sum();
        until(&format!("{expected:?} on {}", way.name), || self.spread(way, count) == expected);
    }

    /// What the status says of the listener, the process's part of the way.
    pub fn listener(&self, way: &Way) -> Value {
        find(&self.rig.place.status()["listeners"], way)
    }

    /// How many sessions the process has served.
    pub fn own(&self, way: &Way) -> u64 {
        self.listener(way)["sessions_total"].as_u64().unwrap()
    }

    /// What the status says of both backends.
    pub fn counted(&self, way: &Way, field: &str) -> Vec<u64> {
        let pool = find(&self.rig.place.status()["pools"], way);
        let backends = pool["tiers"][0]["backends"].as_array().unwrap();
        backends.iter().map(|it| it[field].as_u64().unwrap()).collect()
    }

    /// Each way must have been served by whom it is for.
    #[track_caller]
    pub fn check_who_served(&self) {
        self.check_served(0);
    }

    /// Likewise, after changes. A packet that the kernel looks up at the very moment of a change may find
    /// neither what was there nor what is, and reach the process.
    #[track_caller]
    pub fn check_who_served_beside_changes(&self) {
        self.check_served(1);
    }

    /// The process may have served `spared` sessions on each way that is for the kernel.
    #[track_caller]
    fn check_served(&self, spared: u64) {
        let most = |way: &Way| if way.who == Kernel { spared } else { 0 };
        let by_process: Vec<_> =
            WAYS.iter().filter(|way| self.own(way) > most(way)).map(|way| way.name).collect();
        let expected: Vec<_> =
            WAYS.iter().filter(|way| way.who == Process).map(|way| way.name).collect();
        assert_eq!(by_process, expected, "{:#?}", self.program.log.all());
    }

    /// The first servers of all ways stop listening for TCP; they go on with their clients.
    pub fn stop_first(&mut self) {
        for listener in std::mem::take(&mut self.first) {
            shutdown(&listener, Shutdown::Both).unwrap();
        }
    }

    /// They listen again.
    pub fn start_first(&mut self) {
        self.first = SERVERS.iter().map(|(role, [it, _])| serve(&self.rig, role, it)).collect();
    }

    /// Starts the instance that has been killed.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.program = start(&self.rig);
    }

    /// Has another engine serve all ways.
    pub fn change_engine(&self, engine: &str) {
        write(&self.rig, self.pool, engine);
        self.rig.ctl("reload");
    }
}

fn find(list: &Value, way: &Way) -> Value {
    list.as_array().unwrap().iter().find(|it| it["name"] == way.name).unwrap().clone()
}

/// Starts a server of TCP, which ends when its listener is shut down.
fn serve(rig: &Rig, role: &str, address: &'static str) -> TcpListener {
    let listener = rig.network.within(role, || TcpListener::bind(address).unwrap());
    serve_tcp(listener.try_clone().unwrap(), address);
    listener
}

/// Starts the instance, and waits until it has said that the kernel forwards on all ways.
#[track_caller]
fn start(rig: &Rig) -> Program {
    let program = rig.start(&format!("run {}", rig.place.file("table.toml").display()));
    program.log.wait_nth("the kernel forwards", WAYS.len() - 1);
    program
}

/// Writes the configuration, with an admin socket whose name is not that of all listeners.
fn write(rig: &Rig, pool: fn(&Way) -> String, engine: &str) {
    let mut text =
        format!("[process]\nadmin = '{}'\n", rig.place.runtime().join("table.sock").display());
    for way in &WAYS {
        let (name, protocol) = (way.name, if way.is_udp() { "/udp" } else { "" });
        text += &format!(
            "[listeners.{name}]\nbind = '{}{protocol}'\npool = '{name}'\n\
             [pools.{name}]\nengine = '{engine}'\n{}\n",
            way.bind,
            pool(way)
        );
    }
    std::fs::create_dir_all(rig.place.runtime()).unwrap();
    std::fs::write(rig.place.file("table.toml"), text).unwrap();
}
