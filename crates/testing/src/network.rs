//! Network namespaces of a client, a balancer and backends: with the routing that a balancer needs
//! whose backends see the clients' own addresses, or all on one bridge.

use crate::namespaces::Namespaces;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The namespaces, removed when it is dropped.
pub struct Network(Namespaces);

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
const ROLES: [&str; 3] = ["client", "balancer", "backend"];

impl Network {
    /// Makes the namespaces. The client is 192.0.2.1 and 2001:db8:1::1, the backend 198.51.100.1 and 2001:db8:2::1; the
    /// balancer is .254 and ::fe in both networks.
    ///
    /// # Errors
    /// Why this machine cannot have them.
    pub fn new() -> Result<Self, String> {
        let network = Self(Namespaces::new(&ROLES)?);
        network.lay()?;
        network.take_answers()?;
        Ok(network)
    }

    /// Makes the namespaces with a balancer that forwards packets, as routers do, and a backend that is
    /// also 198.51.100.2 and 2001:db8:2::2.
    ///
    /// # Errors
    /// Why this machine cannot have them.
    pub fn routed() -> Result<Self, String> {
        let network = Self(Namespaces::new(&ROLES)?);
        network.lay()?;
        network.ip("backend", "address add 198.51.100.2/24 dev eth0")?;
        network.ip("backend", "address add 2001:db8:2::2/64 dev eth0 nodad")?;
        network.ip("client", "route add default via 192.0.2.254")?;
        network.ip("client", "-6 route add default via 2001:db8:1::fe")?;
        let settings = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
        network
            .within("balancer", || {
                settings
                    .iter()
                    .try_for_each(|it| std::fs::write(format!("/proc/sys/net/{it}"), "1"))
            })
            .map_err(|error| format!("forwarding: {error}"))?;
        Ok(network)
    }

    /// Makes the namespaces of a client, a balancer and two backends, `one` and `two`, on one bridge.
    /// They are 192.0.2.1, .254, .11 and .12, and 2001:db8:1::1, ::fe, ::11 and ::12. The balancer is
    /// also .100 and ::100; so are the backends, which do not say so.
    ///
    /// # Errors
    /// Why this machine cannot have them.
    pub fn bridged() -> Result<Self, String> {
        let roles = ["client", "balancer", "one", "two", "switch"];
        let network = Self(Namespaces::new(&roles)?);
        network.ip("switch", "link add bridge type bridge mcast_snooping 0")?;
        network.ip("switch", "link set bridge up")?;
        let far = network.0.name("switch");
        for (role, v4, v6) in
            [("client", 1, "1"), ("balancer", 254, "fe"), ("one", 11, "11"), ("two", 12, "12")]
        {
            // Otherwise nobody may ask for addresses of IPv6 for a second or two.
            network
                .within(role, || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0"))
                .map_err(|error| format!("accept_dad: {error}"))?;
            network.ip(role, &format!("link add eth0 type veth peer name {role} netns {far}"))?;
            network.ip("switch", &format!("link set {role} master bridge"))?;
            network.ip("switch", &format!("link set {role} up"))?;
            network.ip(role, &format!("address add 192.0.2.{v4}/24 dev eth0"))?;
            network.ip(role, &format!("address add 2001:db8:1::{v6}/64 dev eth0 nodad"))?;
            network.ip(role, "link set eth0 up")?;
        }
        for (role, device) in [("balancer", "eth0"), ("one", "lo"), ("two", "lo")] {
            let settings = [("arp_ignore", "1"), ("arp_announce", "2")];
            let set = |(name, value)| {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{name}"), value)
            };
            if device == "lo" {
                network
                    .within(role, || settings.into_iter().try_for_each(set))
                    .map_err(|error| format!("arp: {error}"))?;
            }
            network.ip(role, &format!("address add 192.0.2.100/32 dev {device}"))?;
            network.ip(
                role,
                &format!("address add 2001:db8:1::100/128 dev {device} nodad preferred_lft 0"),
            )?;
        }
        Ok(network)
    }

    fn lay(&self) -> Result<(), String> {
        for (role, prefix_v4, prefix_v6) in
            [("client", "192.0.2", "2001:db8:1"), ("backend", "198.51.100", "2001:db8:2")]
        {
            let far = self.0.name("balancer");
            self.ip(role, &format!("link add eth0 type veth peer name {role} netns {far}"))?;
            for (end, device, v4, v6) in [(role, "eth0", 1, "1"), ("balancer", role, 254, "fe")] {
                self.ip(end, &format!("address add {prefix_v4}.{v4}/24 dev {device}"))?;
                self.ip(end, &format!("address add {prefix_v6}::{v6}/64 dev {device} nodad"))?;
                self.ip(end, &format!("link set {device} up"))?;
            }
        }
        // The backend's answers to clients go through the balancer.
        self.ip("backend", "route add default via 198.51.100.254")?;
        self.ip("backend", "-6 route add default via 2001:db8:2::fe")
    }

    fn take_answers(&self) -> Result<(), String> {
        // The balancer takes what comes from the backend for its own, whomever it is addressed to.
        for family in ["-4", "-6"] {
            self.ip("balancer", &format!("{family} rule add iif backend lookup 100"))?;
            self.ip("balancer", &format!("{family} route add local default dev lo table 100"))?;
        }
        self.within("balancer", || {
            ["all", "backend"].into_iter().try_for_each(|device| {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"), "0")
            })
        })
        .map_err(|error| format!("rp_filter: {error}"))
    }

    /// Changes a namespace with `ip` (ip(8)).
    ///
    /// # Errors
    /// What the program says.
    pub fn ip(&self, role: &str, words: &str) -> Result<(), String> {
        self.0.ip(role, words)
    }

    /// Does something in a namespace. Sockets, threads and programs that it starts stay there.
    ///
    /// # Panics
    /// If `what` does, or if the namespace is gone.
    pub fn within<T: Send>(&self, role: &str, what: impl FnOnce() -> T + Send) -> T {
        self.0.within(role, what)
    }

    /// Whether anybody listens on a port there.
    #[must_use]
    pub fn is_listening(&self, role: &str, port: u16) -> bool {
        let port = format!(":{port:04X} ");
        self.within(role, || {
            ["tcp", "tcp6"].into_iter().any(|table| {
                let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}"));
                let table = table.unwrap_or_default();
                let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
                rows.any(|row| format!("{} ", row[1]).ends_with(&port) && row[3] == "0A")
            })
        })
    }

    /// Starts a server at this address of the backend, which tells each client the address that
    /// it comes from.
    ///
    /// # Panics
    /// If the address is taken.
    pub fn tell_addresses(&self, backend: &str) {
        let listener =
            self.within("backend", || TcpListener::bind(backend).expect("a free address"));
        thread::spawn(move || {
            while let Ok((mut stream, client)) = listener.accept() {
                let _ = writeln!(stream, "{}", client.ip());
            }
        });
    }

    /// The first line that the client gets from this address.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, address: &str) -> String {
        let address: SocketAddr = address.parse().expect("an address and a port");
        self.within("client", || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).expect("an answer");
            line.trim_end().to_owned()
        })
    }
}
