//! A server that returns each datagram, and clients that compare.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::sockopt;

use crate::{
    Check,
    pattern::Pattern,
    servers::place::{Place, Servers, check, tried},
};

/// A thread that answers each datagram with what `answer` sends.
#[derive(Debug)]
pub struct Responder {
    is_over: Arc<AtomicBool>,
    clients: Arc<Mutex<HashSet<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Starts one at a port of `host`.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(
        host: IpAddr,
        port: u16,
        answer: impl Fn(&UdpSocket, SocketAddr, &[u8]) + Send + 'static,
    ) -> Check<Self> {
        let socket = tried("a port for a server", open(SocketAddr::new(host, port)))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = Arc::<Mutex<HashSet<SocketAddr>>>::default();
        let (over, known) = (Arc::clone(&is_over), Arc::clone(&clients));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !over.load(Relaxed) {
                if let Ok((len, client)) = socket.recv_from(&mut buffer) {
                    known.lock().unwrap_or_else(PoisonError::into_inner).insert(client);
                    answer(&socket, client, &buffer[..len]);
                }
            }
        });
        Ok(Self { is_over, clients, thread: Some(thread) })
    }

    /// How many addresses have sent something.
    pub fn client_count(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A socket with room for bursts that gives up waiting now and then.
pub fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    // As far as the system allows.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, QUEUE_BYTES));
    Ok(socket)
}

/// A client's socket, connected to the proxy.
///
/// # Errors
/// When the system has none.
pub fn connect(place: &Place, port: u16) -> Check<UdpSocket> {
    let open = || -> io::Result<UdpSocket> {
        let socket = open(SocketAddr::new(place.host(), 0))?;
        socket.connect((place.host(), port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(socket)
    };
    tried("a socket for a client", open())
}

const QUEUE_BYTES: usize = 4 << 20;

/// One server per port.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let answer = |socket: &UdpSocket, client, bytes: &[u8]| {
            drop(socket.send_to(bytes, client));
        };
        servers.push(Box::new(Responder::start(place.host(), port, answer)?));
    }
    Ok(servers)
}

/// All kinds of sizes, to the largest that there is.
pub fn exercise_sizes(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    let mut received = vec![0; 1 << 16];
    for seed in 0..20 {
        let client = connect(place, port)?;
        for len in [1, 0, 512, 1_472, 1_473, 9_000, 65_507] {
            let sent = Pattern::new(seed + 1).take(len);
            tried("a datagram to be sent", client.send(&sent))?;
            let count = tried("a datagram to come back", client.recv(&mut received))?;
            check(received[..count] == sent, &format!("the same {len} bytes"), count)?;
        }
    }
    Ok(())
}
