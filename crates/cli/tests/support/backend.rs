//! Backends: threads of the test that serve a port of their own.

use super::{Client, PATIENCE};
use fidelity::backend::{Backend as Fixed, Behaviour};
use socket2::{Domain, SockRef, Socket, Type};
use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A port on 127.0.0.1 and what answers there. Displays as its address.
pub struct Backend {
    address: SocketAddr,
    /// Bound, so that nobody else is given the port, and never listening.
    _reserved: Option<Socket>,
    listener: Mutex<Option<Arc<Socket>>>,
    serve: Arc<dyn Fn(Client) + Send + Sync>,
    seen: Arc<Seen>,
    _black_hole: Option<Fixed>,
}

/// What a backend has seen.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    open_most: AtomicUsize,
    streams: Mutex<HashMap<usize, TcpStream>>,
}

impl Backend {
    /// Runs `serve` for every connection.
    pub fn new(serve: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let backend = Self::bound(serve);
        backend.start();
        backend
    }

    /// Says its name, then sends everything back.
    pub fn named(name: &'static str) -> Self {
        Self::new(move |client| {
            if (&client.0).write_all(format!("{name}\n").as_bytes()).is_ok() {
                send_back(&client);
            }
        })
    }

    /// Sends everything back.
    pub fn echo() -> Self {
        Self::new(|client| send_back(&client))
    }

    /// Refuses connections.
    pub fn refusing() -> Self {
        Self::bound(|_| {})
    }

    /// As [`Self::named`], but refuses until it is started.
    pub fn named_but_down(name: &'static str) -> Self {
        let backend = Self::named(name);
        backend.stop();
        backend
    }

    /// Never answers a connect.
    pub fn black_hole() -> Self {
        let hole = Fixed::new(Behaviour::BlackHole, false, Instant::now() + PATIENCE).unwrap();
        let address = (Ipv4Addr::LOCALHOST, hole.port()).into();
        Self {
            address,
            _reserved: None,
            listener: Mutex::default(),
            serve: Arc::new(|_| {}),
            seen: Arc::default(),
            _black_hole: Some(hole),
        }
    }

    fn bound(serve: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let reserved = bind((Ipv4Addr::LOCALHOST, 0).into());
        let address = reserved.local_addr().unwrap().as_socket().unwrap();
        Self {
            address,
            _reserved: Some(reserved),
            listener: Mutex::default(),
            serve: Arc::new(serve),
            seen: Arc::default(),
            _black_hole: None,
        }
    }

    /// Listens.
    pub fn start(&self) {
        let listener = bind(self.address);
        listener.listen(1024).unwrap();
        let listener = Arc::new(listener);
        *self.listener.lock().unwrap() = Some(Arc::clone(&listener));
        let (serve, seen) = (Arc::clone(&self.serve), Arc::clone(&self.seen));
        thread::spawn(move || {
            // Ends with the first error, which is the shutdown in `stop`.
            while let Ok((socket, _)) = listener.accept() {
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&seen));
                let stream = TcpStream::from(socket);
                let number = seen.accepted.fetch_add(1, SeqCst);
                let open = seen.open.fetch_add(1, SeqCst) + 1;
                seen.open_most.fetch_max(open, SeqCst);
                seen.streams.lock().unwrap().insert(number, stream.try_clone().unwrap());
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn(move || {
                        serve(Client::wrap(stream));
                        seen.streams.lock().unwrap().remove(&number);
                        seen.open.fetch_sub(1, SeqCst);
                    })
                    .unwrap();
            }
        });
    }

    /// Refuses from now on, and resets the connections it has, as after a sudden death.
    pub fn stop(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            let _ = listener.shutdown(Shutdown::Both);
        }
        for (_, stream) in self.seen.streams.lock().unwrap().drain() {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            // Its thread reads an end, and closes it.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    /// How many there were at one time.
    pub fn open_most(&self) -> usize {
        self.seen.open_most.load(SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A socket bound to an address that others of ours may be bound to as well; only listening ones
/// get connections.
fn bind(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

/// Until the other side has finished or is gone.
fn send_back(client: &Client) {
    client.0.set_read_timeout(None).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = (&client.0).read(&mut buffer) {
        if (&client.0).write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
