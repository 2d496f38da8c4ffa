//! Random commands and rubbish on pen's control port, from many sides at once.
//!
//! Every burst has its own seed, which a failure reports. After each, orders that undo the harm an
//! operator may do (a denied client, a server moved away) are given, and then traffic must pass,
//! `penctl pid` must name the same process, and its memory must stay within bounds.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    Check, Failure,
    dice::Dice,
    migration::{Balancer, Service, Settings, Stream, same},
    pattern::Pattern,
};

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Bursts.
    pub bursts: u64,
    /// The most memory seen after a burst, in kB.
    pub memory_most: u64,
}

/// Fuzzes until the time of `settings` is over, beginning with `seed`.
///
/// # Errors
/// What went wrong first, and the seed of its burst.
pub fn run(settings: &Settings, seed: u64) -> Check<Summary> {
    let deadline = Instant::now() + settings.time;
    let server = Service::start(|mut stream| {
        stream.send("ready\n")?;
        let line = stream.line()?;
        stream.send(format!("{line}\n"))
    })?;
    let pen = Balancer::start(settings, "", "-r -F pen.cfg -w page.html", &[server.port()])?;
    // A line that is cut short may name any server: the table is at its largest from the start, so
    // that its growth is not taken for a leak.
    pen.ctl("server 65535 address 0.0.0.0")?;
    let mut summary = Summary { bursts: 0, memory_most: 0 };
    let mut allowed = u64::MAX;
    while summary.bursts == 0 || Instant::now() < deadline {
        let seed = seed.wrapping_add(summary.bursts);
        let in_burst = |failure: Failure| {
            Failure::new(failure.expected, format!("{}, in the burst of seed {seed}", failure.seen))
        };
        burst(pen.control_port(), seed);
        check(&pen, &server).map_err(in_burst)?;
        let memory = memory_of(&pen)?;
        summary.bursts += 1;
        summary.memory_most = summary.memory_most.max(memory);
        // Tables grow at first; what comes later must not add up.
        if summary.bursts == WARM_UP {
            allowed = memory + GROWTH;
        }
        if memory > allowed.min(MEMORY_MOST) {
            return Err(in_burst(Failure::new("bounded memory", format!("{memory} kB"))));
        }
    }
    Ok(summary)
}

/// Many connections at once, each of which says one thing.
fn burst(port: u16, seed: u64) {
    thread::scope(|scope| {
        for side in 0..SIDES {
            scope.spawn(move || {
                let mut dice = Dice::new(seed, side);
                let mut open = Vec::new();
                for _ in 0..CONNECTIONS {
                    let Ok(mut stream) = connect(port) else { continue };
                    // A balancer may close on whom it does not understand.
                    let _ = speak(&mut stream, &mut dice);
                    if dice.roll(4) == 0 {
                        open.push(stream); // silent for the rest of the burst
                    }
                }
            });
        }
    });
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn speak(stream: &mut TcpStream, dice: &mut Dice) -> io::Result<()> {
    let command = command(dice);
    match dice.roll(8) {
        0 => {
            let bytes = Pattern::new(dice.next()).take(1 + dice.roll(5000));
            // Bytes that happen to be an order that locks everybody out do not exist: none of
            // them is a line that begins with a known word.
            stream.write_all(&[b"\x01", bytes.as_slice()].concat())?;
        }
        1 => stream.write_all(&command.as_bytes()[..dice.roll(command.len() + 1)])?,
        2 => stream.write_all(&[b'x'; 100_000])?,
        3 => {
            for byte in command.bytes().chain(*b"\r\n") {
                stream.write_all(&[byte])?;
            }
        }
        _ => stream.write_all(format!("{command}\n").as_bytes())?,
    }
    match dice.roll(4) {
        0 => SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
        1 => stream.shutdown(Shutdown::Write),
        2 => Ok(()),
        _ => {
            stream.set_read_timeout(Some(Duration::from_millis(200)))?;
            let mut answer = [0; 4096];
            while stream.read(&mut answer)? > 0 {}
            Ok(())
        }
    }
}

/// A command of the table with arguments that fit, or do not.
fn command(dice: &mut Dice) -> String {
    let number = dice.pick(NUMBERS);
    match dice.roll(12) {
        0 => format!(
            "acl {} {} {}",
            dice.pick(LISTS),
            dice.pick(&["permit", "deny", "x", ""]),
            dice.pick(SUBJECTS)
        ),
        1 => format!("no acl {}", dice.pick(LISTS)),
        2 => format!("client_acl {}", dice.pick(LISTS)),
        3..=5 => {
            let mut line = format!("server {}", dice.pick(SERVERS));
            for _ in 0..dice.roll(5) {
                let value = match dice.roll(3) {
                    0 => dice.pick(ADDRESSES),
                    _ => dice.pick(NUMBERS),
                };
                line += &format!(" {} {value}", dice.pick(KEYS));
            }
            line
        }
        6 => format!("listen {}", dice.pick(BAD_LISTENERS)),
        7 => format!("{} {}", dice.pick(FILES), dice.pick(PATHS)),
        8 => format!("no {}", dice.pick(SWITCHES)),
        9 => dice.pick(SWITCHES).to_owned(),
        10 => dice.pick(NUMBERED).to_owned(),
        _ => format!("{} {number}", dice.pick(NUMBERED)),
    }
}

/// Gives the orders after which everything must work, and sees that it does.
fn check(pen: &Balancer, server: &Service) -> Check {
    let server_words = format!(
        "server 0 address 127.0.0.1 port {} max 0 hard 0 acl 9 weight 1 prio 0 blacklist 0",
        server.port()
    );
    let listen = format!("listen 127.0.0.1:{}", pen.port());
    for command in [
        &listen,
        "no acl 9",
        "client_acl 9",
        "no dummy",
        "no stubborn",
        "no http",
        "no transparent",
        "no weight",
        "no prio",
        "no hash",
        "roundrobin",
        "timeout 3",
        "blacklist 1",
        "debug 0",
        "idle_timeout 0",
        "pending_max 100",
        "tcp_fastclose off",
        "source x",
        "no log",
        "tracking 0",
        "idlers 0",
        &server_words,
    ] {
        pen.ctl(command)?;
    }
    for other in 1..=MOST_SERVERS {
        pen.set(&format!("server {other} address 0.0.0.0"))?;
    }
    pen.check_pid()?;
    for _ in 0..5 {
        let exchange = || -> io::Result<()> {
            let mut stream = Stream::connect(Ipv4Addr::new(127, 4, 0, 1), pen.port())?;
            same("the greeting", &stream.line()?, "ready")?;
            stream.send("through\n")?;
            same("the echo", &stream.line()?, "through")?;
            stream.end()
        };
        exchange().map_err(|error| Failure::new("traffic after a burst", error))?;
    }
    Ok(())
}

/// Resident memory in kB.
fn memory_of(pen: &Balancer) -> Check<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pen.pid()));
    let status = status.map_err(|error| Failure::new("the process's status", error))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Failure::new("a line VmRSS", status))
}

const SIDES: u64 = 8;
const CONNECTIONS: usize = 25;
const WARM_UP: u64 = 10;
/// In kB: what may be added after the first bursts, and what is too much in any case.
const GROWTH: u64 = 50_000;
const MEMORY_MOST: u64 = 400_000;
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_SERVERS: usize = 12;

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "7",
    "12",
    "100",
    "-1",
    "-99999",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "99999999999999999999",
    "x",
    "",
    "3x",
    "+5",
    "0x10",
];
const SERVERS: &[&str] =
    &["0", "1", "2", "3", "5", "8", "12", "-1", "", "x", "2000000000", "2147483647", "4294967296"];
/// Never 0 or what `atoi` takes for it, which is the control port's own list.
const LISTS: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "10", "11", "-1", "99999999999"];
const SUBJECTS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "10.0.0.0 255.0.0.0",
    "0.0.0.0 0.0.0.0",
    "::1",
    "2001:db8::/32",
    "::/0",
    "::1/200",
    "::1/-1",
    "country SE",
    "country",
    "country S",
    "1.2.3.4 5",
    "x",
    "",
    "300.1.1.1",
    "1.2.3.4/8",
    ":",
    "country \u{e9}",
];
const KEYS: &[&str] =
    &["acl", "address", "port", "max", "hard", "blacklist", "weight", "prio", "x", ""];
const ADDRESSES: &[&str] = &[
    "127.0.0.1",
    "127.0.0.9",
    "0.0.0.0",
    "::1",
    "::",
    "[::1]",
    "/nonexistent/socket",
    "x",
    "",
    "255.255.255.255",
    "no.such.host.invalid",
];
const BAD_LISTENERS: &[&str] = &[
    "127.0.0.1:x99999",
    "192.0.2.1:1",
    "x",
    ":",
    "127.0.0.1:x",
    "/nonexistent/socket",
    "127.0.0.1:-1",
    "[::1",
    "",
];
const FILES: &[&str] = &["log", "web_stats", "write", "include", "ssl_ocsp_response"];
const PATHS: &[&str] = &["here", "/nonexistent/file", "/", ".", "", "127.0.0.1:99999", "/dev/null"];
const SWITCHES: &[&str] = &[
    "ascii",
    "dummy",
    "hash",
    "http",
    "keepalive",
    "log",
    "peek",
    "prio",
    "roundrobin",
    "stubborn",
    "tcp_nodelay",
    "transparent",
    "web_stats",
    "weight",
    "abort_on_error",
    "block",
    "delayed_forward",
    "acl",
    "epoll",
    "kqueue",
    "poll",
    "select",
    "servers",
    "status",
    "mode",
    "pid",
    "exit",
    "control",
    "#",
    "",
    "no",
    "tcp_fastclose up",
    "tcp_fastclose both",
    "tcp_fastclose",
    "source 127.0.0.9",
    "source",
    "nonsense",
    "SERVERS",
    "\tservers",
];
const NUMBERED: &[&str] = &[
    "blacklist",
    "clients_max",
    "close",
    "conn_max",
    "connection",
    "debug",
    "idle_timeout",
    "idlers",
    "pending_max",
    "recent",
    "socket",
    "tarpit_acl",
    "timeout",
    "tracking",
    "ssl_client_renegotiation_interval",
    "dsr_if",
    "dsr_ip",
    "ssl_ciphers",
    "ssl_option",
    "ssl_sni_path",
];
