//! Sessions in states that are easy to lose: half-closed, with bytes held back, with urgent bytes,
//! with half a request. Each kind has a server and a client.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
};
use socket2::SockRef;

use crate::{
    clients::{Life, PATIENCE, Tally, Trouble, trouble_of},
    pattern::Pattern,
};

/// What all sessions of a run share.
#[derive(Debug, Default)]
pub struct Load {
    /// What has happened.
    pub tally: Tally,
    /// Whether every session is to end.
    pub is_over: AtomicBool,
    /// The sessions that have ended as they should.
    pub lives: Mutex<Vec<Life>>,
}

impl Load {
    /// Whether every session is to end.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Notes how a session has ended.
    pub fn note(&self, what: &str, ended: io::Result<Life>) {
        match ended {
            Ok(life) => {
                self.tally.bytes.fetch_add(life.received, Relaxed);
                self.lives.lock().unwrap_or_else(PoisonError::into_inner).push(life);
            }
            Err(error) => {
                self.tally.note(trouble_of(&error), &format_args!("{what}: {error}"));
            }
        }
    }
}

/// A kind of session.
#[derive(Clone, Copy)]
pub struct Kind {
    /// In words, and as the name of its listener.
    pub name: &'static str,
    /// The backend's part. It ends in order only when the load is over.
    pub serve: fn(TcpStream, &Load) -> io::Result<()>,
    /// The client's part; returns after the end of the session.
    pub play: fn(&mut Session, &Load) -> io::Result<()>,
}

/// Every proxy can have these.
pub const SLOW: Kind = Kind { name: "slow", serve: gush, play: sip };

/// Those that most proxies fail without any upgrade.
pub const DELICATE: [Kind; 4] = [
    Kind { name: "client-closed", serve: answer_long, play: hear_long },
    Kind { name: "backend-closed", serve: hear_all, play: tell_long },
    Kind { name: "urgent", serve: answer_urgent, play: exchange_urgent },
    Kind { name: "requests", serve: answer_requests, play: send_halves },
];

/// A client's connection.
pub struct Session {
    stream: TcpStream,
    life: Life,
}

impl Kind {
    /// One session of this kind, from its beginning to the end of the load.
    pub fn run(self, port: u16, load: &Load) {
        load.tally.sessions.fetch_add(1, Relaxed);
        match Session::connect(port) {
            Ok(mut session) => {
                let played = (self.play)(&mut session, load);
                load.note(self.name, played.map(|()| session.life.end()));
            }
            Err(error) => load.tally.note(Trouble::Refused, &error),
        }
    }
}

impl Session {
    fn connect(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { life: Life::begin(&stream)?, stream })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.life.sent += bytes.len() as u64;
        Ok(())
    }

    /// The next bytes of `expected`; none at the end.
    fn receive(&mut self, buffer: &mut [u8], expected: &mut Pattern) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.life.received += count as u64;
        check(expected, &buffer[..count])?;
        Ok(count)
    }

    /// Everything up to the end, which must not come before the load is over.
    fn receive_rest(&mut self, expected: &mut Pattern, load: &Load) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        while self.receive(&mut buffer, expected)? > 0 {}
        in_time(load)
    }
}

fn check(expected: &mut Pattern, bytes: &[u8]) -> io::Result<()> {
    let wrong = |at| io::Error::new(io::ErrorKind::InvalidData, format!("byte {at} is wrong"));
    expected.check(bytes).map_err(wrong)
}

/// An end that comes before the load is over is a cut.
fn in_time(load: &Load) -> io::Result<()> {
    match load.is_over() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended early")),
    }
}

/// Every stream has the same bytes.
fn pattern() -> Pattern {
    Pattern::new(12)
}

/// Sends as fast as the client takes it.
fn gush(mut stream: TcpStream, load: &Load) -> io::Result<()> {
    SockRef::from(&stream).set_send_buffer_size(32 << 10)?;
    let mut pattern = pattern();
    while !load.is_over() {
        stream.write_all(&pattern.take(8 << 10))?;
    }
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// Reads a little now and then, so that every buffer on the way is full.
fn sip(session: &mut Session, load: &Load) -> io::Result<()> {
    SockRef::from(&session.stream).set_recv_buffer_size(16 << 10)?;
    let mut expected = pattern();
    while !load.is_over() {
        session.receive(&mut [0; 1000], &mut expected)?;
        thread::sleep(PAUSE);
    }
    // Now as fast as it can.
    SockRef::from(&session.stream).set_recv_buffer_size(1 << 20)?;
    session.receive_rest(&mut expected, load)
}

/// Answers a request that has ended, piece by piece.
fn answer_long(mut stream: TcpStream, load: &Load) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink())?;
    let mut pattern = pattern();
    while !load.is_over() {
        stream.write_all(&pattern.take(PIECE))?;
        thread::sleep(PAUSE);
    }
    stream.shutdown(Shutdown::Write)
}

fn hear_long(session: &mut Session, load: &Load) -> io::Result<()> {
    session.send(b"all I have to say")?;
    session.stream.shutdown(Shutdown::Write)?;
    session.receive_rest(&mut pattern(), load)
}

/// Has nothing more to say from the beginning, and hears all.
fn hear_all(mut stream: TcpStream, load: &Load) -> io::Result<()> {
    stream.write_all(&pattern().take(PIECE))?;
    stream.shutdown(Shutdown::Write)?;
    let (mut expected, mut buffer) = (pattern(), [0; 4096]);
    let heard = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break in_time(load),
            Ok(count) => match check(&mut expected, &buffer[..count]) {
                Ok(()) => {}
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error),
        }
    };
    heard.inspect_err(|error| load.tally.note(trouble_of(error), &format_args!("upwards: {error}")))
}

fn tell_long(session: &mut Session, load: &Load) -> io::Result<()> {
    let (mut expected, mut pattern) = (pattern(), pattern());
    while session.receive(&mut [0; PIECE], &mut expected)? > 0 {}
    while !load.is_over() {
        session.send(&pattern.take(PIECE))?;
        thread::sleep(PAUSE);
    }
    session.stream.shutdown(Shutdown::Write)
}

/// Sends back three bytes and an urgent one.
fn answer_urgent(mut stream: TcpStream, load: &Load) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; 3];
    loop {
        match stream.read_exact(&mut bytes) {
            Err(error) if load.is_over() && error.kind() == io::ErrorKind::UnexpectedEof => {
                return stream.shutdown(Shutdown::Write);
            }
            other => other?,
        }
        let urgent = urgent_byte(&stream)?;
        stream.write_all(&bytes)?;
        SockRef::from(&stream).send_out_of_band(&[urgent])?;
    }
}

fn exchange_urgent(session: &mut Session, load: &Load) -> io::Result<()> {
    let mut pattern = pattern();
    while !load.is_over() {
        let bytes = pattern.take(4);
        session.send(&bytes[..3])?;
        // Evenkeel's log does not count urgent bytes.
        SockRef::from(&session.stream).send_out_of_band(&bytes[3..])?;
        let mut back = [0; 4];
        session.stream.read_exact(&mut back[..3])?;
        back[3] = urgent_byte(&session.stream)?;
        session.life.received += 3;
        if back != *bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "wrong bytes"));
        }
        thread::sleep(PAUSE);
    }
    session.stream.shutdown(Shutdown::Write)?;
    session.receive_rest(&mut pattern, load)
}

/// The next urgent byte.
fn urgent_byte(stream: &TcpStream) -> io::Result<u8> {
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut byte = [0];
    match poll(&mut [PollFd::new(stream, PollFlags::PRI)], Some(&limit))? {
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, "no urgent byte came")),
        _ => match recv(stream, &mut byte, RecvFlags::OOB)? {
            (_, 1) => Ok(byte[0]),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        },
    }
}

/// Answers each request with the number of times that it names its client, the number of letters,
/// and the length of its head.
fn answer_requests(mut stream: TcpStream, load: &Load) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(head) = read_head(&mut stream, load)? {
        let names = head.matches("\r\nX-Forwarded-For: 127.0.0.1\r\n").count();
        let body = format!("{names} {} {:6}", head.matches('y').count(), head.len());
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")?;
    }
    stream.shutdown(Shutdown::Write)
}

/// A message's head; none at the end.
fn read_head(stream: &mut TcpStream, load: &Load) -> io::Result<Option<String>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte)? {
            0 if head.is_empty() => return in_time(load).map(|()| None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => head.push(byte[0]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// Requests whose heads take their time.
fn send_halves(session: &mut Session, load: &Load) -> io::Result<()> {
    // Evenkeel's log counts what the backend gets, with the fields that are added.
    let mut sent = 0;
    while !load.is_over() {
        session.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")?;
        for _ in 0..LETTERS {
            session.send(b"y")?;
            thread::sleep(PAUSE);
        }
        session.send(b"\r\n\r\n")?;
        let head = read_head(&mut session.stream, load)?.unwrap_or_default();
        let mut body = vec![0; format!("1 {LETTERS} ").len() + 6];
        session.stream.read_exact(&mut body)?;
        session.life.received += (head.len() + body.len()) as u64;
        let body = String::from_utf8_lossy(&body).into_owned();
        let length = body.strip_prefix(&format!("1 {LETTERS} ")).map(|it| it.trim().parse::<u64>());
        match length {
            Some(Ok(length)) => sent += length,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, body)),
        }
    }
    session.life.sent = sent;
    session.stream.shutdown(Shutdown::Write)?;
    session.receive_rest(&mut pattern(), load)
}

const PIECE: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);
/// How many pauses there are within the head of a request.
const LETTERS: usize = 8;
