//! Clients of a proxy that is being changed, and the servers behind it.
//!
//! A server sends its number as a line, and then everything back that it receives.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Check, Failure, pattern::Pattern};

/// Servers that run until the process ends; returns their ports.
///
/// # Errors
/// When they cannot listen.
pub fn start_servers(count: usize) -> Check<Vec<u16>> {
    (0..count).map(|number| start_server(move |stream| echo(stream, number))).collect()
}

/// A server that runs until the process ends, with a thread for each session; returns its port.
///
/// # Errors
/// When it cannot listen.
pub fn start_server(
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> Check<u16> {
    let broken = |error: io::Error| Failure::new("a server", error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(broken)?;
    let port = listener.local_addr().map_err(broken)?.port();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let serve = serve.clone();
            let serve = move || drop(serve(stream));
            drop(thread::Builder::new().stack_size(64 << 10).spawn(serve));
        }
    });
    Ok(port)
}

fn echo(mut stream: TcpStream, number: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(format!("{number}\n").as_bytes())?;
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// How a client's session failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It was not connected to a server.
    Refused,
    /// It ended before its client had finished.
    Cut,
    /// Other bytes came back than were sent.
    Wrong,
}

/// What happened to all clients.
#[derive(Debug, Default)]
pub struct Tally {
    /// Sessions begun.
    pub sessions: AtomicU64,
    /// How many were not connected to a server.
    pub refused: AtomicU64,
    /// How many ended before their client had finished.
    pub cut: AtomicU64,
    /// How many got other bytes back than they had sent.
    pub wrong: AtomicU64,
    /// Bytes that came back as they were sent.
    pub bytes: AtomicU64,
    /// The first failures, in words.
    pub failures: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts a failed session.
    pub fn note(&self, trouble: Trouble, what: &dyn std::fmt::Display) {
        let counter = match trouble {
            Trouble::Refused => &self.refused,
            Trouble::Cut => &self.cut,
            Trouble::Wrong => &self.wrong,
        };
        counter.fetch_add(1, Relaxed);
        self.fail(format!("{trouble:?}: {what}"));
    }

    /// Notes what else went wrong.
    pub fn fail(&self, what: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < SHOWN {
            failures.push(what);
        }
    }
}

/// A session's life, as its client has seen it.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// The client's address.
    pub client: SocketAddr,
    /// When it began.
    pub begun: Instant,
    /// How long it took.
    pub took: Duration,
    /// Bytes that the client has sent.
    pub sent: u64,
    /// Bytes that it has received.
    pub received: u64,
}

impl Life {
    /// A session that has just begun.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn begin(stream: &TcpStream) -> io::Result<Self> {
        let (client, begun) = (stream.local_addr()?, Instant::now());
        Ok(Self { client, begun, took: Duration::ZERO, sent: 0, received: 0 })
    }

    /// The same, when it ends now.
    pub fn end(self) -> Self {
        Self { took: self.begun.elapsed(), ..self }
    }
}

/// A session through the proxy.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
    pattern: Pattern,
    /// Its life so far.
    pub life: Life,
    /// The number of the server that answers.
    pub server: usize,
}

impl Client {
    /// Connects, and waits for the server's number.
    ///
    /// # Errors
    /// When no server answers.
    pub fn connect(port: u16, seed: u64) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut life = Life::begin(&stream)?;
        let mut reader = BufReader::with_capacity(256, stream);
        let mut line = String::new();
        life.received = reader.read_line(&mut line)? as u64;
        let server = line.trim_end().parse().map_err(|_| {
            io::Error::new(io::ErrorKind::UnexpectedEof, format!("{line:?} instead of a number"))
        })?;
        Ok(Self { reader, pattern: Pattern::new(seed), life, server })
    }

    /// Sends `count` bytes, and waits until they have come back.
    ///
    /// # Errors
    /// With the kind `InvalidData` when others come back.
    pub fn exchange(&mut self, count: usize) -> io::Result<()> {
        let bytes = self.pattern.take(count);
        self.reader.get_mut().write_all(&bytes)?;
        let mut back = vec![0; count];
        self.reader.read_exact(&mut back)?;
        self.life.sent += count as u64;
        self.life.received += count as u64;
        match back == bytes {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "wrong bytes")),
        }
    }

    /// Ends the session in order.
    ///
    /// # Errors
    /// When the other side does not.
    pub fn finish(mut self) -> io::Result<Life> {
        self.reader.get_mut().shutdown(Shutdown::Write)?;
        match self.reader.fill_buf()? {
            [] => Ok(self.life.end()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than sent")),
        }
    }
}

/// What a failed exchange says about the session.
pub fn trouble_of(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::InvalidData => Trouble::Wrong,
        _ => Trouble::Cut,
    }
}

/// New sessions at a rate per second, each with one exchange, until `is_over`.
pub fn keep_coming(port: u16, rate: u32, tally: &Tally, is_over: &AtomicBool) {
    let pause = Duration::from_secs(1) / rate;
    let mut due = Instant::now();
    let mut seed = 0;
    while !is_over.load(Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;
        seed += 1;
        tally.sessions.fetch_add(1, Relaxed);
        match Client::connect(port, seed) {
            Err(error) => tally.note(Trouble::Refused, &error),
            Ok(mut client) => match client.exchange(64).and_then(|()| client.finish()) {
                Ok(_) => drop(tally.bytes.fetch_add(64, Relaxed)),
                Err(error) => tally.note(trouble_of(&error), &error),
            },
        }
    }
}

/// A stream that sends 3 MB a second and compares what comes back, until `is_over`.
pub fn stream(port: u16, seed: u64, tally: &Tally, is_over: &AtomicBool) -> Option<Life> {
    tally.sessions.fetch_add(1, Relaxed);
    let note = |trouble, what: &dyn std::fmt::Display| {
        tally.note(trouble, what);
        None
    };
    let client = match Client::connect(port, seed) {
        Ok(client) => client,
        Err(error) => return note(Trouble::Refused, &error),
    };
    let Client { mut reader, mut pattern, mut life, .. } = client;
    let line = life.received;
    let mut expected = pattern.clone();
    let writer = reader.get_ref().try_clone();
    thread::scope(|scope| {
        scope.spawn(|| {
            let Ok(mut writer) = writer else { return };
            while !is_over.load(Relaxed) {
                if writer.write_all(&pattern.take(32 << 10)).is_err() {
                    return; // the reader sees it, too
                }
                thread::sleep(Duration::from_millis(10));
            }
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut buffer = vec![0; 32 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) if is_over.load(Relaxed) => {
                    life.sent = life.received - line;
                    return Some(life.end());
                }
                Ok(0) => return note(Trouble::Cut, &"a stream ended"),
                Ok(count) => match expected.check(&buffer[..count]) {
                    Ok(()) => {
                        life.received += count as u64;
                        tally.bytes.fetch_add(count as u64, Relaxed);
                    }
                    Err(at) => {
                        return note(Trouble::Wrong, &format_args!("byte {at} of a stream"));
                    }
                },
                Err(error) => return note(Trouble::Cut, &error),
            }
        }
    })
}

/// Sends 64 bytes back and forth about a thousand times a second, until `is_over`. Returns how long
/// each exchange took: those while `is_reloading`, and the others.
pub fn ping(
    port: u16,
    tally: &Tally,
    is_reloading: &AtomicBool,
    is_over: &AtomicBool,
) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    tally.sessions.fetch_add(1, Relaxed);
    let mut client = match Client::connect(port, 0) {
        Ok(client) => client,
        Err(error) => {
            tally.note(Trouble::Refused, &error);
            return times;
        }
    };
    while !is_over.load(Relaxed) {
        thread::sleep(Duration::from_millis(1));
        let was_reloading = is_reloading.load(Relaxed);
        let begin = Instant::now();
        if let Err(error) = client.exchange(64) {
            tally.note(trouble_of(&error), &error);
            break;
        }
        if was_reloading == is_reloading.load(Relaxed) {
            times[usize::from(!was_reloading)].push(begin.elapsed());
        }
    }
    times
}

/// One session after the other, which three servers must get in turn, until `is_over`.
pub fn take_turns(port: u16, tally: &Tally, is_over: &AtomicBool) {
    let mut last = None;
    while !is_over.load(Relaxed) {
        thread::sleep(Duration::from_millis(20));
        tally.sessions.fetch_add(1, Relaxed);
        match Client::connect(port, 1) {
            Err(error) => tally.note(Trouble::Refused, &error),
            Ok(client) => {
                let expected = last.map_or(client.server, |last| (last + 1) % 3);
                if client.server != expected {
                    tally.fail(format!("turn of server {expected} given to {}", client.server));
                }
                last = Some(client.server);
            }
        }
    }
}

/// Keeps two servers full, each with `limit` sessions, until `is_over`: no further client may be
/// served, and a place that becomes free may be taken.
pub fn fill(port: u16, limit: u32, tally: &Tally, is_over: &AtomicBool) {
    let mut held: Vec<Client> = Vec::new();
    while !is_over.load(Relaxed) {
        if held.len() < 2 * limit as usize {
            let deadline = Instant::now() + PATIENCE;
            match crate::wait_for(deadline, || Client::connect(port, held.len() as u64).ok()) {
                Some(client) => held.push(client),
                None => return tally.note(Trouble::Refused, &"a free place was not given"),
            }
            continue;
        }
        for server in 0..2 {
            let count = held.iter().filter(|client| client.server == server).count();
            if count != limit as usize {
                tally.fail(format!("server {server} has {count} sessions, its limit is {limit}"));
            }
        }
        if Client::connect(port, 0).is_ok() {
            tally.fail(format!("a client was served beyond {} sessions", 2 * limit));
        }
        let mut first = held.remove(0);
        tally.sessions.fetch_add(1, Relaxed);
        if let Err(error) = first.exchange(64).and_then(|()| first.finish()) {
            tally.note(trouble_of(&error), &error);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// How long a client waits.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How many failures are kept in words.
const SHOWN: usize = 12;
