//! Clients, one socket each.

use super::{PATIENCE, Port};
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// In order.
    Eof,
    /// By a reset.
    Reset,
    /// Not within the patience of a test.
    Silence,
}

/// A connected socket.
#[derive(Debug)]
pub struct Client(pub TcpStream);

impl Client {
    /// Connects to a port on 127.0.0.1.
    #[track_caller]
    pub fn connect(port: &Port) -> Self {
        Self::try_to(([127, 0, 0, 1], port.number()).into()).expect("the listener accepts")
    }

    /// Connects from an address of one's own.
    #[track_caller]
    pub fn connect_from(source: IpAddr, to: SocketAddr) -> Self {
        Self::try_from(SocketAddr::new(source, 0), to).expect("the listener accepts")
    }

    /// Connects from an address of one's own, with a port of one's own unless that is 0.
    pub fn try_from(source: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = socket(to);
        socket.set_reuse_address(true).unwrap(); // another connection may have had the port
        socket.bind(&source.into()).unwrap();
        connect(socket, to)
    }

    pub fn try_to(address: SocketAddr) -> io::Result<Self> {
        connect(socket(address), address)
    }

    pub fn wrap(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        (&self.0).write_all(bytes.as_ref()).unwrap();
    }

    /// Ends its direction.
    #[track_caller]
    pub fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection.
    pub fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// A line without its newline; or `eof`, `reset`, `silence`.
    pub fn line(&self) -> String {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            match self.read(&mut byte) {
                Ok(0) => line.extend_from_slice(b"eof"),
                Ok(_) if byte == *b"\n" => {}
                Ok(_) => {
                    line.push(byte[0]);
                    continue;
                }
                Err(End::Silence) => line.extend_from_slice(b"silence"),
                Err(_) => line.extend_from_slice(b"reset"),
            }
            return String::from_utf8_lossy(&line).into_owned();
        }
    }

    /// The first byte that comes, as text.
    #[track_caller]
    pub fn first_byte(&self) -> String {
        let mut byte = [0];
        (&self.0).read_exact(&mut byte).unwrap();
        String::from_utf8_lossy(&byte).into_owned()
    }

    /// Exactly `bytes` must come next.
    #[track_caller]
    pub fn expect(&self, bytes: impl AsRef<[u8]>) {
        let mut seen = vec![0; bytes.as_ref().len()];
        (&self.0).read_exact(&mut seen).unwrap();
        assert!(
            seen == bytes.as_ref(),
            "{:?}",
            String::from_utf8_lossy(&seen[..seen.len().min(80)])
        );
    }

    /// As the system's call, which a signal, or a stop of the whole machine, may interrupt.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, End> {
        loop {
            match (&self.0).read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(end_of),
            }
        }
    }

    /// Everything that comes, and how it ends.
    pub fn rest(&self) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return (all, End::Eof),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(end) => return (all, end),
            }
        }
    }

    /// Nothing must come but the end.
    #[track_caller]
    pub fn end(&self) -> End {
        let (bytes, end) = self.rest();
        assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
        end
    }

    /// Whether nothing is there to be read within `time`.
    pub fn is_silent_for(&self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).unwrap();
        let seen = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        seen.map_err(end_of) == Err(End::Silence)
    }
}

/// A socket with which `to` can be reached.
fn socket(to: SocketAddr) -> Socket {
    Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap()
}

/// Connects in one system call, which is as good as sure to return before a reset arrives. Where it
/// is one call to begin and another to wait, as in [`TcpStream::connect_timeout`], a connection that
/// was accepted and reset soon after would often look like one that was never accepted.
fn connect(socket: Socket, to: SocketAddr) -> io::Result<Client> {
    socket.set_write_timeout(Some(PATIENCE)).unwrap(); // holds for this call, too
    socket.connect(&to.into())?;
    Ok(Client::wrap(socket.into()))
}

#[track_caller]
fn end_of(error: io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Silence,
        _ => panic!("{error}"),
    }
}

/// The first line that a client of this port gets, or `eof`, `reset`, `refused`.
#[track_caller]
pub fn ask(port: &Port) -> String {
    match Client::try_to(([127, 0, 0, 1], port.number()).into()) {
        Ok(client) => client.line(),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
        // It may come before the connect is known to have succeeded.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// The first line that a client with this address gets, or `eof` or `reset`.
#[track_caller]
pub fn ask_from(port: &Port, client: [u8; 4]) -> String {
    match Client::try_from((client, 0).into(), ([127, 0, 0, 1], port.number()).into()) {
        Ok(client) => client.line(),
        // It may come before the connect is known to have succeeded.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// A client with this address.
#[track_caller]
pub fn connect_from(port: &Port, client: [u8; 4]) -> Client {
    Client::connect_from(client.into(), ([127, 0, 0, 1], port.number()).into())
}

/// What several clients in a row get.
#[track_caller]
pub fn ask_times(port: &Port, times: usize) -> String {
    (0..times).map(|_| ask(port)).collect::<Vec<_>>().join(" ")
}

/// What so many clients at once get, each keeping its connection until all have an answer.
pub fn ask_often(port: &Port, times: usize) -> (BTreeMap<String, usize>, Vec<Client>) {
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let clients: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..PARALLEL)
            .map(|thread| {
                scope.spawn(move || {
                    let mine = (0..times).filter(|client| client % PARALLEL == thread);
                    mine.map(|_| Client::try_to(address)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (clients, failed): (Vec<_>, Vec<_>) = clients.into_iter().partition(Result::is_ok);
    let failed = failed.into_iter().filter_map(Result::err).map(|error| match error.kind() {
        ErrorKind::ConnectionReset => "reset".to_owned(),
        _ => error.to_string(),
    });
    let clients: Vec<_> = clients.into_iter().flatten().collect();
    let answers = count(clients.iter().map(Client::line).chain(failed));
    (answers, clients)
}

const PARALLEL: usize = 8;

/// How often each answer came.
pub fn count(answers: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}
