//! Clients and backends of UDP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A backend of UDP: answers each datagram with its name and what it got, or with what it got if it
/// has no name. Ends when it is stopped or dropped, and then its port is closed.
pub struct UdpBackend {
    address: SocketAddr,
    seen: Seen,
    thread: Option<thread::JoinHandle<()>>,
}

/// What a backend has got, and from where.
type Seen = Arc<Mutex<Vec<(SocketAddr, Vec<u8>)>>>;

/// How long a client waits for an answer before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tells a backend to stop.
const STOP: &[u8] = b"\0stop\0";

impl UdpBackend {
    /// Silent to datagrams that tell it to be: `silence NAME`.
    pub fn named(name: &'static str) -> Self {
        Self::new(Ipv4Addr::LOCALHOST.into(), Some(name))
    }

    /// Answers with what it got.
    pub fn echo(host: IpAddr) -> Self {
        Self::new(host, Some(""))
    }

    /// Takes what it gets, and never answers.
    pub fn silent() -> Self {
        Self::new(Ipv4Addr::LOCALHOST.into(), None)
    }

    fn new(host: IpAddr, name: Option<&'static str>) -> Self {
        let socket = bind(host);
        let address = socket.local_addr().unwrap();
        let seen = Seen::default();
        let notes = Arc::clone(&seen);
        let serve = move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let got = &buffer[..length];
                if got == STOP {
                    return;
                }
                notes.lock().unwrap().push((client, got.to_vec()));
                if let Some(name) = name
                    && got != format!("silence {name}").as_bytes()
                {
                    let answer = [name.as_bytes(), got].concat();
                    let _ = socket.send_to(&answer, client);
                }
            }
        };
        Self { address, seen, thread: Some(thread::spawn(serve)) }
    }

    /// The datagrams got so far.
    pub fn seen(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.seen.lock().unwrap().clone()
    }

    /// Closes its port.
    pub fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            bind(self.address.ip()).send_to(STOP, self.address).unwrap();
            thread.join().unwrap();
        }
    }
}

impl Drop for UdpBackend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Display for UdpBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// A client of UDP that takes answers from one address only.
pub struct UdpClient(UdpSocket);

impl UdpClient {
    pub fn to(address: impl Into<SocketAddr>) -> Self {
        let address = address.into();
        let any = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::from(any, address)
    }

    pub fn from(source: IpAddr, address: impl Into<SocketAddr>) -> Self {
        let socket = bind(source);
        socket.connect(address.into()).unwrap();
        Self(socket)
    }

    /// Its own address.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes.as_ref()).unwrap();
    }

    /// The next answer.
    pub fn answer(&self) -> Vec<u8> {
        self.answer_within(PATIENCE).expect("an answer")
    }

    /// The next answer, if it comes in time.
    pub fn answer_within(&self, time: Duration) -> io::Result<Vec<u8>> {
        self.0.set_read_timeout(Some(time))?;
        let mut buffer = vec![0; 1 << 16];
        let length = self.0.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// The answer to this, as text.
    pub fn ask(&self, text: &str) -> String {
        self.send(text);
        String::from_utf8(self.answer()).unwrap()
    }
}

/// A socket whose queue has room for bursts.
fn bind(host: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((host, 0)).unwrap();
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20);
    socket
}
