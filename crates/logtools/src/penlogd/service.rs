//! Receives datagrams and writes the log: the loop of penlogd.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::announced::{self, Announced, Noted};
use super::{Settings, StartError};
use crate::lines::access::{Access, Layout};
use crate::mergelogs::emit::{Resolved, as_json};
use crate::output::{complain, is_closed_pipe};
use crate::syslog;

/// Opens the port on all addresses, or takes the sockets that systemd passes. IPv6 may be
/// missing from the machine when all addresses are meant.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<std::net::UdpSocket>, StartError> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for i in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_udp_socket(i) {
            sockets.push(socket);
        }
    }
    if !sockets.is_empty() {
        return Ok(sockets);
    }
    for address in addresses {
        match open(*address) {
            Ok(socket) => sockets.push(socket),
            Err(_) if address.is_ipv6() && !sockets.is_empty() => {}
            Err(source) => return Err(StartError::Bind { address: *address, source }),
        }
    }
    Ok(sockets)
}

fn open(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as the system grants: bursts must not be lost while the disk is slow.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The event loop and the signals it waits for: heard from the beginning, so that a program that
/// can be seen to listen can also be ended in order. Starts no threads.
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    hup: Signal,
    term: Signal,
    int: Signal,
}

impl Signals {
    /// From now on signals do not kill.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let hup = signal(SignalKind::hangup())?;
        let term = signal(SignalKind::terminate())?;
        let int = signal(SignalKind::interrupt())?;
        drop(entered);
        Ok(Self { runtime, hup, term, int })
    }
}

/// The running program.
pub struct Service<'a> {
    settings: &'a Settings,
    sockets: Vec<std::net::UdpSocket>,
    announced: Announced,
    held: VecDeque<Held>,
    log: Log,
    counts: Counts,
    started: Instant,
    /// When writing last failed, so that it is not said with every line.
    complained: Option<Instant>,
    text: Vec<u8>,
}

/// A line that waits for its announcement.
struct Held {
    until: Duration,
    server: IpAddr,
    line: Vec<u8>,
}

#[derive(Default)]
struct Counts {
    received: u64,
    announced: u64,
    matched: u64,
    unmatched: u64,
    dropped: u64,
}

impl<'a> Service<'a> {
    /// Opens the log.
    pub fn new(
        settings: &'a Settings,
        sockets: Vec<std::net::UdpSocket>,
    ) -> Result<Self, StartError> {
        let capacity = if settings.legacy { 4096 } else { LOG_BUFFER };
        let log = Log::open(settings.log.clone(), capacity).map_err(|source| {
            let name = settings.log.clone().unwrap_or_default().to_string_lossy().into_owned();
            StartError::Log { name, source }
        })?;
        let announced = if settings.legacy {
            Announced::legacy(settings.remember)
        } else {
            Announced::new(settings.remember, settings.max_age)
        };
        Ok(Self {
            settings,
            sockets,
            announced,
            held: VecDeque::new(),
            log,
            counts: Counts::default(),
            started: Instant::now(),
            complained: None,
            text: Vec::new(),
        })
    }

    /// Works until a signal ends it; `ready` is called once everything is set up.
    pub fn run(
        mut self,
        signals: Signals,
        ready: impl Fn() -> io::Result<()>,
    ) -> Result<(), StartError> {
        let Signals { runtime, mut hup, mut term, mut int } = signals;
        runtime.block_on(async {
            let sockets = std::mem::take(&mut self.sockets);
            let to_tokio = |socket: std::net::UdpSocket| {
                socket.set_nonblocking(true)?;
                UdpSocket::from_std(socket)
            };
            let sockets = sockets.into_iter().map(to_tokio).collect::<io::Result<Vec<_>>>()?;
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            let mut stats = tokio::time::interval(self.settings.stats.unwrap_or(FOREVER));
            stats.tick().await;
            ready()?;
            let mut buffer = vec![0; 65_536];
            loop {
                let wake = self.held.front().map(|held| held.until);
                let now = self.started.elapsed();
                tokio::select! {
                    () = readable(&sockets) => {
                        self.receive(&sockets, &mut buffer)?;
                    }
                    () = tokio::time::sleep(wake.unwrap_or(FOREVER).saturating_sub(now)), if wake.is_some() => {}
                    _ = tick.tick(), if !self.settings.legacy => {
                        let flushed = self.log.flush();
                        self.survive(flushed)?;
                    }
                    _ = stats.tick(), if self.settings.stats.is_some() => self.report(),
                    _ = hup.recv() => self.reopen()?,
                    _ = term.recv() => break,
                    _ = int.recv() => break,
                }
                self.release(false)?;
            }
            // What had arrived before the signal is still in the kernel.
            self.receive(&sockets, &mut buffer)?;
            self.release(true)?;
            self.log.flush()?;
            Ok(())
        })
    }

    fn receive(&mut self, sockets: &[UdpSocket], buffer: &mut [u8]) -> io::Result<()> {
        for socket in sockets {
            for _ in 0..BATCH {
                // An error here belongs to something sent before, and we send nothing.
                let Ok((length, from)) = socket.try_recv_from(buffer) else { break };
                self.datagram(&buffer[..length], from.ip().to_canonical())?;
            }
        }
        Ok(())
    }

    fn datagram(&mut self, datagram: &[u8], from: IpAddr) -> io::Result<()> {
        self.counts.received += 1;
        let allow = &self.settings.allow;
        if !allow.is_empty() && !allow.iter().any(|net| net.contains(&from)) {
            self.drop(1, || format!("datagram from {from}, which is not allowed"));
            return Ok(());
        }
        let now = self.started.elapsed();
        if datagram.first() == Some(&b'+') {
            match self.announced.note(datagram, now) {
                Noted::Remembered => self.counts.announced += 1,
                Noted::Dropped => self.drop(1, || format!("announcement from {from} not usable")),
                Noted::Crash => crash(),
            }
            return self.release(false);
        }
        if self.settings.legacy {
            return self.legacy_line(&datagram[..datagram.len().min(1024)], from, now);
        }
        for line in datagram.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            if announced::request(line).is_none() {
                self.drop(1, || format!("line from {from} without a request"));
                continue;
            }
            let until = now + self.settings.wait;
            let known = self.announced.client(from, line, now).is_some();
            if (known || self.settings.wait.is_zero()) && self.held.is_empty() {
                self.write(from, line, now)?;
            } else {
                self.held.push_back(Held { until, server: from, line: line.to_vec() });
            }
        }
        Ok(())
    }

    /// Writes held lines in their order: up to the first that still waits.
    fn release(&mut self, all: bool) -> io::Result<()> {
        let now = self.started.elapsed();
        while let Some(held) = self.held.front() {
            let due = all || held.until <= now || self.held.len() > HELD_MAX;
            if !due && self.announced.client(held.server, &held.line, now).is_none() {
                break;
            }
            if let Some(held) = self.held.pop_front() {
                self.write(held.server, &held.line, now)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, server: IpAddr, line: &[u8], now: Duration) -> io::Result<()> {
        let client = self.announced.client(server, line, now);
        if client.is_some() {
            self.counts.matched += 1;
        } else {
            self.counts.unmatched += 1;
        }
        self.text.clear();
        match Access::parse(line, Layout::ClientFirst).filter(|_| self.settings.json) {
            Some(access) => {
                let server = server.to_string();
                let server = server.as_bytes();
                as_json(&Resolved { line, access: &access, server, client }, &mut self.text);
            }
            None if self.settings.json => {
                let line = String::from_utf8_lossy(line);
                let client = client.map(String::from_utf8_lossy);
                let object = serde_json::json!({
                    "server": server, "client": client, "matched": client.is_some(), "line": line,
                });
                self.text.extend_from_slice(object.to_string().as_bytes());
            }
            None => announced::rewrite(line, client, &mut self.text),
        }
        self.text.push(b'\n');
        let written = self.log.write(&self.text, self.settings.line_buffered);
        self.survive(written)
    }

    /// A full disk costs lines, not the program; without a reader there is nothing to go on for.
    fn survive(&mut self, written: io::Result<()>) -> io::Result<()> {
        let Err(error) = written else { return Ok(()) };
        if is_closed_pipe(&error) {
            return Err(error);
        }
        self.counts.dropped += 1;
        if self.complained.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            self.say(3, &format!("cannot write the log: {error}; lines are lost"));
        }
        Ok(())
    }

    /// One datagram is one line, whatever it holds.
    fn legacy_line(&mut self, datagram: &[u8], from: IpAddr, now: Duration) -> io::Result<()> {
        let quotes = datagram.iter().filter(|b| **b == b'"').count();
        if quotes < 2 {
            self.drop(2, || "no quotes".to_owned());
            return Ok(());
        }
        self.text.clear();
        let client = self.announced.client(from, datagram, now);
        announced::rewrite(datagram, client, &mut self.text);
        self.log.write(&self.text, self.settings.line_buffered && self.settings.log.is_some())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let Err(error) = self.log.reopen() else { return Ok(()) };
        let name = self.settings.log.clone().unwrap_or_default();
        let message = format!("Can't open {}: {error}", name.to_string_lossy());
        if self.settings.legacy {
            return Err(io::Error::other(message));
        }
        self.say(3, &format!("{message}; the old file is kept"));
        Ok(())
    }

    fn drop(&mut self, level: usize, what: impl Fn() -> String) {
        self.counts.dropped += 1;
        if self.settings.debug >= level {
            self.say(7, &format!("dropped: {}", what()));
        }
    }

    fn report(&self) {
        let Counts { received, announced, matched, unmatched, dropped } = self.counts;
        let lost = kernel_losses(&self.settings.listen);
        self.say(6, &format!(
            "{received} datagrams received: {announced} announcements, {matched} lines matched, \
             {unmatched} unmatched, {dropped} dropped; {lost} lost by the kernel"
        ));
    }

    fn say(&self, severity: u8, message: &str) {
        if self.settings.foreground {
            complain(&format!("penlogd: {message}"));
        } else {
            syslog::send("penlogd", severity, message);
        }
    }
}

/// The log file or standard output.
struct Log {
    name: Option<OsString>,
    capacity: usize,
    writer: BufWriter<File>,
}

impl Log {
    fn open(name: Option<OsString>, capacity: usize) -> io::Result<Self> {
        let writer = BufWriter::with_capacity(capacity, Self::file(name.as_ref())?);
        Ok(Self { name, capacity, writer })
    }

    fn file(name: Option<&OsString>) -> io::Result<File> {
        match name {
            Some(name) => OpenOptions::new().append(true).create(true).open(name),
            None => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        }
    }

    fn write(&mut self, text: &[u8], at_once: bool) -> io::Result<()> {
        self.writer.write_all(text)?;
        if at_once { self.writer.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Standard output stays as it is.
    fn reopen(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        if self.name.is_some() {
            let file = Self::file(self.name.as_ref())?;
            self.writer = BufWriter::with_capacity(self.capacity, file);
        }
        Ok(())
    }
}

/// Until one of the sockets has something.
async fn readable(sockets: &[UdpSocket]) {
    let result = match sockets {
        [one] => one.readable().await,
        [one, two, ..] => tokio::select! {
            result = one.readable() => result,
            result = two.readable() => result,
        },
        [] => std::future::pending().await,
    };
    // What is wrong with a socket shows when it is read.
    let _ = result;
}

/// Datagrams that found the socket's buffer full, from the last column of `/proc/net/udp`.
fn kernel_losses(addresses: &[SocketAddr]) -> u64 {
    let Some(port) = addresses.first().map(|a| format!(":{:04X}", a.port())) else { return 0 };
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(std::fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    let ours = lines
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)));
    ours.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

/// Ends the way the classic program did. The first signal only removes the handler that looks
/// for stack overflows.
fn crash() {
    use rustix::process::{Signal, getpid, kill_process};
    for _ in 0..2 {
        let _ = kill_process(getpid(), Signal::SEGV);
    }
}

const RECEIVE_BUFFER: usize = 8 << 20;
const LOG_BUFFER: usize = 64 * 1024;
const BATCH: usize = 256;
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
const HELD_MAX: usize = 100_000;
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
