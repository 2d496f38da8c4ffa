//! pen(1) and penctl(1), from outside: what the recorded cases of the original cannot show, above
//! all the faults it had and this program must not have. Numbers in names of tests are those of
//! the behaviour's list of faults.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

#[path = "../support/mod.rs"]
mod support;

mod choosing;
mod commands;
mod control;
mod counting;
mod countries;
mod data;
mod datagrams;
mod files;
mod http;
mod ipv6;
mod load;
mod logs;
mod printed;
mod returning;
mod shortage;
mod start;
mod transparent;
mod upgrading;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use support::{Backend, Client, PATIENCE, Place, Port, Program, port, until};

/// A running `pen -f` with a control port.
struct Pen {
    program: Program,
    port: Port,
    control: Port,
    /// Last, so that the program has ended before its files go.
    place: Place,
}

impl Pen {
    /// Starts it with these options and servers, and returns when it listens.
    #[track_caller]
    fn start(options: &str, servers: &str) -> Self {
        Self::start_in(Place::new(), options, servers)
    }

    /// The same where a test has put files before.
    #[track_caller]
    fn start_in(place: Place, options: &str, servers: &str) -> Self {
        Self::spawn(Program::spawn, place, options, servers)
    }

    /// The same with output that nobody reads.
    #[track_caller]
    fn start_unread(options: &str, servers: &str) -> Self {
        Self::spawn(Program::spawn_unread, Place::new(), options, servers)
    }

    #[track_caller]
    fn spawn(
        spawn: impl FnOnce(&mut std::process::Command) -> Program,
        place: Place,
        options: &str,
        servers: &str,
    ) -> Self {
        let (port, control) = (port(), port());
        let words = format!(
            "-f {} -C 127.0.0.1:{control} {options} 127.0.0.1:{port} {servers}",
            as_oneself()
        );
        let program = spawn(&mut place.command("pen", &words));
        let mut pen = Self { program, port, control, place };
        pen.wait_listening();
        pen
    }

    #[track_caller]
    fn wait_listening(&mut self) {
        let port = self.port.number();
        until("pen to listen", || {
            assert!(!self.program.has_ended(), "it ended: {:?}", self.program.log.all());
            fidelity::procnet::is_listening(port)
        });
    }

    /// What the control port answers to a line.
    #[track_caller]
    fn ctl(&self, command: &str) -> String {
        let reply = self.control_bytes(format!("{command}\n").as_bytes());
        reply.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// What it answers to anything.
    fn control_bytes(&self, bytes: &[u8]) -> std::io::Result<String> {
        let mut stream = self.control_stream()?;
        stream.write_all(bytes)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    fn control_stream(&self) -> std::io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.control.number()));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Commands that answer nothing.
    #[track_caller]
    fn set(&self, commands: &[&str]) {
        for command in commands {
            assert_eq!(self.ctl(command), "", "{command}");
        }
    }

    /// The words of one line of `servers`.
    #[track_caller]
    fn server(&self, number: usize) -> Vec<String> {
        let servers = self.ctl("servers");
        let line = servers.lines().find(|line| line.starts_with(&format!("{number} ")));
        let line = line.unwrap_or_else(|| panic!("no server {number} in\n{servers}"));
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// The number behind a word such as `conn` or `sx` in a line of `servers`.
    #[track_caller]
    fn server_number(&self, server: usize, word: &str) -> u64 {
        let words = self.server(server);
        let at = words.iter().position(|it| it == word).unwrap();
        words[at + 1].parse().unwrap()
    }

    /// The first line that a client with this address gets.
    #[track_caller]
    fn ask_from(&self, client: [u8; 4]) -> String {
        self.connect_from(client).line()
    }

    #[track_caller]
    fn connect_from(&self, client: [u8; 4]) -> Client {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()));
        Client::connect_from(IpAddr::from(client), to)
    }

    /// The first lines that several clients in a row get.
    #[track_caller]
    fn ask(&self, times: usize) -> String {
        support::ask_times(&self.port, times)
    }

    /// Fails unless the same process still serves and answers.
    #[track_caller]
    fn check_alive(&mut self) {
        assert!(!self.program.has_ended(), "it ended: {:?}", self.program.log.all());
        assert_eq!(self.ctl("pid").trim(), self.program.pid().to_string());
    }

    /// Processor time used in a second in which nobody asks for anything, in ticks of 10 ms.
    fn ticks_in_a_second(&self) -> u64 {
        let before = self.program.ticks();
        std::thread::sleep(Duration::from_secs(1)); // the measurement itself
        self.program.ticks() - before
    }

    /// Memory in use, in kB.
    fn memory(&self) -> u64 {
        self.proc_number("VmRSS:")
    }

    fn proc_number(&self, word: &str) -> u64 {
        let pid = self.program.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// As root, pen refuses a control port unless it is told a user.
fn as_oneself() -> &'static str {
    if is_root() { "-u root" } else { "" }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A backend that keeps its connections open and silent until it is dropped.
fn silent() -> Backend {
    let held = std::sync::Mutex::new(Vec::new());
    Backend::new(move |client| held.lock().unwrap().push(client))
}
