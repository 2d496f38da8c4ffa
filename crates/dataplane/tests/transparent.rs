//! Backends see the clients' own addresses (`Source::Client`), in three network namespaces: a
//! client's, the balancer's and a backend's. The routing is what a guide would tell.
//!
//! Without a harness, since this program runs itself in each of the namespaces. Skipped where it
//! may not make namespaces.

use balancing::{AdminState, Backend, BackendState, Pool, Tier};
use dataplane::{DataPlane, Event, Listener, Observe, Options, Settings};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, Cut, Limit, ListenerId, Source, SpliceMode, Timeouts};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(10);
const ROLE: &str = "EVENKEEL_TEST_ROLE";
/// The roles' namespaces, by first letter; the process id makes them unique.
const NAMESPACES: [&str; 3] = ["client", "balancer", "backend"];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match (std::env::var(ROLE).as_deref(), &arguments[..]) {
        (Ok("backend"), [address]) => backend(address.parse()?),
        (Ok("balancer"), [address, backend]) => balancer(address.parse()?, backend.parse()?),
        (Ok("client"), [address]) => client(address.parse()?),
        _ => stage(),
    }
}

fn stage() -> Outcome<()> {
    let stage = Stage { id: std::process::id() };
    let built = if sys::process::user_id() == 0 { stage.build() } else { Err("not root".into()) };
    if let Err(error) = built {
        println!("skipped: no network namespaces to be had: {error}");
        return Ok(());
    }
    for (balancer, backend, client) in [
        ("192.0.2.254:8080", "198.51.100.1:8080", "192.0.2.1"),
        ("[2001:db8:1::fe]:8080", "[2001:db8:2::1]:8080", "2001:db8:1::1"),
        // Through a dual-stack listener, whose IPv4 clients are IPv4 clients.
        ("[::]:8081", "198.51.100.1:8081", "192.0.2.1"),
    ] {
        let mut behind = stage.start("backend", &[backend])?;
        let mut between = stage.start("balancer", &[balancer, backend])?;
        let door = balancer.replace("[::]", "192.0.2.254");
        let answer = stage.command("client", &[&door]).output()?;
        let seen = String::from_utf8_lossy(&answer.stdout);
        let told = stop(&mut between)?;
        stop(&mut behind)?;
        assert_eq!(seen.trim(), client, "what the backend at {backend} saw; told: {told}");
        assert_eq!(told, "", "told by the balancer");
    }
    Ok(())
}

/// The namespaces, removed at the end.
struct Stage {
    id: u32,
}

impl Stage {
    fn name(&self, role: &str) -> String {
        format!("evenkeel-{}-{role}", self.id)
    }

    fn build(&self) -> Outcome<()> {
        for role in NAMESPACES {
            run("ip", &["netns", "add", &self.name(role)])?;
            self.ip(role, "link set lo up")?;
        }
        for (role, prefix_v4, prefix_v6) in
            [("client", "192.0.2", "2001:db8:1"), ("backend", "198.51.100", "2001:db8:2")]
        {
            let far = self.name("balancer");
            self.ip(role, &format!("link add eth0 type veth peer name {role} netns {far}"))?;
            for (end, device, v4, v6) in [(role, "eth0", 1, "1"), ("balancer", role, 254, "fe")] {
                self.ip(end, &format!("address add {prefix_v4}.{v4}/24 dev {device}"))?;
                self.ip(end, &format!("address add {prefix_v6}::{v6}/64 dev {device} nodad"))?;
                self.ip(end, &format!("link set {device} up"))?;
            }
        }
        // The backend's answers to clients go through the balancer...
        self.ip("backend", "route add default via 198.51.100.254")?;
        self.ip("backend", "-6 route add default via 2001:db8:2::fe")?;
        // ...which takes what comes from there for its own, whomever it is addressed to.
        self.ip("balancer", "rule add iif backend lookup 100")?;
        self.ip("balancer", "route add local default dev lo table 100")?;
        self.ip("balancer", "-6 rule add iif backend lookup 100")?;
        self.ip("balancer", "-6 route add local default dev lo table 100")?;
        for name in ["all", "backend"] {
            let setting = format!("net.ipv4.conf.{name}.rp_filter=0");
            let name = self.name("balancer");
            run("ip", &["netns", "exec", &name, "sysctl", "-q", "-w", &setting])?;
        }
        Ok(())
    }

    fn ip(&self, role: &str, arguments: &str) -> Outcome<()> {
        let name = self.name(role);
        let arguments = ["-n", &name].into_iter().chain(arguments.split(' '));
        run("ip", &arguments.collect::<Vec<_>>())
    }

    /// This program in a role, in its namespace.
    fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(role)]);
        command.arg(std::env::current_exe().unwrap_or_default()).args(arguments);
        command.env(ROLE, role);
        command
    }

    /// Starts a role; returns when it says that it is ready.
    fn start(&self, role: &str, arguments: &[&str]) -> Outcome<Child> {
        let mut command = self.command(role, arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut ready = [0; 1];
        child.stdout.as_mut().ok_or("no output")?.read_exact(&mut ready)?;
        Ok(child)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for role in NAMESPACES {
            let _ = run("ip", &["netns", "delete", &self.name(role)]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Outcome<()> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Ends a role by closing its input; gives what it has printed.
fn stop(child: &mut Child) -> Outcome<String> {
    drop(child.stdin.take());
    let mut printed = String::new();
    child.stdout.take().ok_or("no output")?.read_to_string(&mut printed)?;
    child.wait()?;
    Ok(printed)
}

/// Says that it is ready, and waits for the end of the input.
fn serve_until_told() -> Outcome<()> {
    print!(".");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Tells each client the address it comes from.
fn backend(address: SocketAddr) -> Outcome<()> {
    let listener = TcpListener::bind(address)?;
    std::thread::spawn(move || {
        while let Ok((mut stream, client)) = listener.accept() {
            let _ = writeln!(stream, "{}", client.ip());
        }
    });
    serve_until_told()
}

fn balancer(address: SocketAddr, backend: SocketAddr) -> Outcome<()> {
    let sink = |_| -> Box<dyn FnMut(Vec<Event>) + Send> {
        Box::new(|events| {
            for event in events {
                if let Event::SourceUnusable { fault, .. } = event {
                    println!("{fault}");
                }
            }
        })
    };
    let plane = DataPlane::start(Options { workers: 1, spin: None }, sink)?;
    let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
    let backend = Backend::new(backend.to_string(), vec![Address::Ip(backend)], state);
    let tier = Tier { backends: vec![Arc::new(backend)], ..Tier::default() };
    let settings = Settings {
        timeouts: Timeouts {
            idle: None,
            half_close: None,
            backend_half_close: None,
            connect: PATIENCE,
            linger: PATIENCE,
            ..Timeouts::default()
        },
        sessions_max: None,
        connecting_max: None,
        source: Source::Client,
        splice: SpliceMode::Auto,
        cut: Cut::Reset,
        forwarded_headers: false,
        dummy: false,
        countries: None,
        observe: Observe::default(),
    };
    let listener =
        Listener::new(ListenerId::new(0), settings, Pool { tiers: vec![tier], ..Pool::default() });
    plane.listen(Arc::new(listener), sys::net::listen_tcp(address, true, false)?);
    serve_until_told()
}

fn client(address: SocketAddr) -> Outcome<()> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    println!("{line}");
    Ok(())
}
