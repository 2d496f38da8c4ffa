//! `penlog`: sends every line of standard input to penlogd, a datagram per line.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::options::{Tool, UsageError, opt};
use crate::output::complain;

/// Everything about the program's command line.
pub static TOOL: Tool = Tool {
    name: "penlog",
    about: "send a web server's log to penlogd, line by line",
    synopsis: &["[OPTION]... SERVER PORT [MYIP]"],
    description: "\
Sends each line of standard input as one UDP datagram to PORT of SERVER, where penlogd runs. A web
server starts it:

    CustomLog \"|penlog loghost 10514\" common

SERVER and MYIP are names or addresses, IPv4 or IPv6; PORT is a number or a service name. MYIP is the
address to send from. penlogd tells web servers apart by it, so it must be the address that this
server has in the balancer's configuration.",
    options: &[
        opt(' ', "max", "BYTES", "Cut lines that are longer, keeping the newline. Default and maximum 65507 (65487 over IPv6); a classic penlogd takes 1023."),
        opt(' ', "legacy", "", "Behave as the classic program 0.34.1: send lines of more than 1023 bytes in pieces."),
    ],
    sections: &[
        ("exit status", "\
0: the input has ended; 1: SERVER or MYIP cannot be used; 2: wrong usage. Lost
datagrams are not noticed; the first one that cannot be sent is reported on standard error."),
        ("see also", "penlogd(1), mergelogs(1)"),
    ],
};

/// Runs the program. `args` are those after its name.
pub fn main(argv0: &str, args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(argv0, args, |name, args| {
        let max = match args.parse::<usize>("max", "a number of bytes")? {
            Some(0) => return Err(UsageError("--max must be at least 1".to_owned())),
            max => max.unwrap_or(usize::MAX),
        };
        let words: Vec<_> =
            args.operands.iter().map(|w| w.to_string_lossy().into_owned()).collect();
        let [server, port, from @ ..] = &words[..] else {
            complain(&format!("Usage: {name} server_ip server_port [my_ip]"));
            return Ok(ExitCode::FAILURE);
        };
        let from = from.first().cloned();
        let sent = Target { server: server.clone(), port: port.clone(), from }.open();
        let sent = sent.and_then(|sender| {
            let pieces = args.has("legacy").then_some(LEGACY_MAX);
            sender.send_all(io::stdin().lock(), max, pieces).map_err(SendError::Input)
        });
        Ok(match sent {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{name}: {error}"));
                ExitCode::FAILURE
            }
        })
    })
}

/// Why nothing was sent. Status 1.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A name or a port is not known.
    #[error("getaddrinfo: {what}: {reason}")]
    LookUp {
        /// The name.
        what: String,
        /// The resolver's reason.
        reason: String,
    },
    /// There is no socket that sends from there to there.
    #[error("Problem creating socket to {to} from {from}: {source}")]
    Socket {
        /// The receiver.
        to: SocketAddr,
        /// Our own address.
        from: IpAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input: {0}")]
    Input(io::Error),
}

struct Target {
    server: String,
    port: String,
    from: Option<String>,
}

impl Target {
    /// The first of all combinations of addresses for which there is a socket.
    fn open(self) -> Result<Sender, SendError> {
        let port = port(&self.port)?;
        let from = self.from.as_deref().map(|name| resolve(name, 0)).transpose()?;
        let mut last = None;
        for to in resolve(&self.server, port)? {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let sources = match &from {
                None => vec![any],
                Some(all) => all.iter().map(SocketAddr::ip).collect(),
            };
            for from in sources {
                let bound = if from.is_ipv4() == to.is_ipv4() {
                    UdpSocket::bind((from, 0))
                } else {
                    Err(io::Error::other("the addresses are of different families"))
                };
                match bound {
                    Ok(socket) => return Ok(Sender { target: self, socket, to }),
                    Err(source) => last = last.or(Some(SendError::Socket { to, from, source })),
                }
            }
        }
        Err(last.unwrap_or_else(|| SendError::LookUp {
            what: self.server,
            reason: "no address".to_owned(),
        }))
    }
}

struct Sender {
    target: Target,
    socket: UdpSocket,
    to: SocketAddr,
}

impl Sender {
    /// Sends all lines; with `pieces`, long lines in pieces of that size.
    fn send_all(
        mut self,
        mut input: impl BufRead,
        max: usize,
        pieces: Option<usize>,
    ) -> io::Result<()> {
        let fits = if self.to.is_ipv4() { 65_507 } else { 65_487 };
        let max = max.min(fits);
        let mut line = Vec::new();
        let mut failing: Option<Instant> = None;
        while read_line(&mut input, &mut line, max, pieces)? {
            match self.socket.send_to(&line, self.to) {
                Ok(_) => failing = None,
                Err(error) => self.failed(&error, &mut failing),
            }
        }
        Ok(())
    }

    /// Says so once, and looks the name up again when sending has failed for long.
    fn failed(&mut self, error: &io::Error, failing: &mut Option<Instant>) {
        let Some(since) = failing else {
            complain(&format!("penlog: cannot send to {}: {error}; going on", self.to));
            *failing = Some(Instant::now());
            return;
        };
        if since.elapsed() > LOOK_UP_AGAIN {
            *since = Instant::now();
            let again = port(&self.target.port).and_then(|p| resolve(&self.target.server, p));
            let same = |a: &SocketAddr| a.is_ipv4() == self.to.is_ipv4();
            if let Some(to) = again.ok().and_then(|all| all.into_iter().find(same)) {
                self.to = to;
            }
        }
    }
}

/// Reads a line with its newline, of at most `max` bytes: the rest is dropped, but for the
/// newline, or left for the next piece. `false` at the end of the input.
fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    max: usize,
    pieces: Option<usize>,
) -> io::Result<bool> {
    line.clear();
    loop {
        let available = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(!line.is_empty());
        }
        let newline = memchr::memchr(b'\n', available);
        let part = newline.map_or(available.len(), |at| at + 1);
        if let Some(size) = pieces {
            let part = part.min(size - line.len());
            let whole = newline.is_some_and(|at| at < part);
            line.extend_from_slice(&available[..part]);
            input.consume(part);
            if whole || line.len() == size {
                return Ok(true);
            }
            continue;
        }
        line.extend_from_slice(&available[..part.min(max - line.len())]);
        input.consume(part);
        if newline.is_some() {
            if let Some(last) = line.last_mut() {
                *last = b'\n';
            }
            return Ok(true);
        }
    }
}

/// A number, or the name of a service as in `/etc/services`.
fn port(text: &str) -> Result<u16, SendError> {
    let found = text.parse().ok().or_else(|| {
        let services = std::fs::read_to_string("/etc/services").ok()?;
        service(&services, text)
    });
    let reason = "no port number and no known UDP service".to_owned();
    found.ok_or_else(|| SendError::LookUp { what: text.to_owned(), reason })
}

fn service(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let first = words.next()?;
        let number = words.next()?.strip_suffix("/udp")?;
        (first == name || words.any(|alias| alias == name)).then(|| number.parse().ok())?
    })
}

fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
    let failed = |e: io::Error| SendError::LookUp { what: name.to_owned(), reason: e.to_string() };
    Ok((name, port).to_socket_addrs().map_err(failed)?.collect())
}

/// What the classic's buffer holds.
const LEGACY_MAX: usize = 1023;
const LOOK_UP_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, max: usize, pieces: Option<usize>, expected: &[&str]) {
        let mut input = io::BufReader::with_capacity(3, input.as_bytes());
        let (mut line, mut found) = (Vec::new(), Vec::new());
        while read_line(&mut input, &mut line, max, pieces).unwrap() {
            found.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_is_a_datagram_with_its_newline() {
        check("one\n\nthree", 99, None, &["one\n", "\n", "three"]);
        check("", 99, None, &[]);
    }

    #[test]
    fn long_lines_are_cut_and_keep_their_newline() {
        check("123456\nab\n", 4, None, &["123\n", "ab\n"]);
        check("1234567890", 4, None, &["1234"]);
        check("123\nabc\n", 4, None, &["123\n", "abc\n"]);
    }

    #[test]
    fn the_classic_sends_pieces() {
        check("123456\nab\n", 4, Some(4), &["1234", "56\n", "ab\n"]);
        check("1234\n", 4, Some(4), &["1234", "\n"]);
    }

    #[test]
    fn services_have_names() {
        let file = "# comment\nsyslog 514/udp log # x\nshell 514/tcp\nntp\t123/udp\n";
        assert_eq!(service(file, "syslog"), Some(514));
        assert_eq!(service(file, "log"), Some(514));
        assert_eq!(service(file, "ntp"), Some(123));
        assert_eq!(service(file, "shell"), None);
    }
}
