//! The backends of a case: what answers, or does not, at `{B1}` and `{B2}`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::peer::Peer;

/// What a backend does with the connections it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Accepts when the case asks for it, and leaves the rest to the case.
    Scripted,
    /// Sends everything back, and a FIN for a FIN.
    Echo,
    /// Speaks first ([`GREETING`]), then as `Echo`.
    Greeting,
    /// Has a port of its own on which nobody listens.
    Refuses,
    /// Listens with a full queue: the kernel drops every SYN.
    BlackHole,
    /// Accepts, and resets before a byte.
    Resets,
}

/// What [`Behaviour::Greeting`] says first.
pub const GREETING: &[u8] = b"220 ready\r\n";

/// A bound port and what serves it.
#[derive(Debug)]
pub struct Backend {
    port: u16,
    socket: Socket,
    _server: Option<Server>,
    /// Connections that fill the queue of a black hole.
    _held: Vec<TcpStream>,
}

impl Backend {
    /// Binds a free port and serves it; connections are given up at `deadline`. With `header_line`,
    /// each begins with a line that is passed over.
    ///
    /// # Errors
    /// When there is no socket, or a queue that should be full is not.
    pub fn new(behaviour: Behaviour, header_line: bool, deadline: Instant) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket().ok_or_else(not_ip)?;
        let mut held = Vec::new();
        match behaviour {
            Behaviour::Refuses => {}
            Behaviour::BlackHole => {
                socket.listen(0)?;
                held = fill_queue(address)?;
            }
            _ => socket.listen(1024)?,
        }
        let server = match session_of(behaviour) {
            Some(session) => {
                let header_line = header_line && behaviour != Behaviour::Resets;
                Some(Server::start(socket.try_clone()?, header_line, deadline, session))
            }
            None => None,
        };
        Ok(Self { port: address.port(), socket, _server: server, _held: held })
    }

    /// Where it is, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its listening socket, for the case that accepts itself.
    pub fn listener(&self) -> &Socket {
        &self.socket
    }
}

/// Threads that serve a listening socket until this value is dropped.
#[derive(Debug)]
pub struct Server {
    socket: Arc<Socket>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Runs `session` in a thread of its own for every connection; a session's waiting ends at
    /// `deadline`. With `header_line`, a connection's first line is passed over.
    pub fn start(socket: Socket, header_line: bool, deadline: Instant, session: fn(Peer)) -> Self {
        let socket = Arc::new(socket);
        let listener = Arc::clone(&socket);
        let thread = thread::spawn(move || {
            // Ends with the first error, which is the shutdown below.
            while let Ok((stream, _)) = listener.accept() {
                if let Ok(peer) = Peer::new("backend", stream.into(), deadline) {
                    thread::spawn(move || {
                        if !header_line || peer.skip_line().is_ok() {
                            session(peer);
                        }
                    });
                }
            }
        });
        Self { socket, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // On Linux this makes a waiting accept return.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; the case fails by what it then misses.
            let _ = thread.join();
        }
    }
}

fn session_of(behaviour: Behaviour) -> Option<fn(Peer)> {
    match behaviour {
        Behaviour::Echo => Some(|peer| echo(&peer)),
        Behaviour::Greeting => Some(|peer| {
            if peer.send(GREETING).is_ok() {
                echo(&peer);
            }
        }),
        Behaviour::Resets => Some(|peer| {
            // Fails only for a connection that is gone, as it should be.
            let _ = peer.abort();
        }),
        Behaviour::Scripted | Behaviour::Refuses | Behaviour::BlackHole => None,
    }
}

fn echo(peer: &Peer) {
    let mut buffer = vec![0; 65_536];
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) if peer.send(&buffer[..n]).is_ok() => {}
            // The case sees what is missing, and says so better than this thread could.
            Ok(_) | Err(_) => return,
        }
    }
    // Only half: what was sent may still be on its way to a slow reader.
    if peer.finish().is_ok() {
        // However the other side takes its leave is none of an echo's business.
        let _ = peer.read(&mut buffer);
    }
}

/// Connects until the kernel drops SYNs.
fn fill_queue(address: SocketAddr) -> io::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    while held.len() < 8 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            Ok(stream) => held.push(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(held),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the queue of a listener with a backlog of 0 does not fill"))
}

fn not_ip() -> io::Error {
    io::Error::other("a socket bound to 127.0.0.1 has no such address")
}

/// A client's connection to `port`, with its receive buffer set before the handshake, so that the
/// window never exceeds it.
///
/// # Errors
/// Those of the socket and of the connect.
pub fn connect(port: u16, receive_buffer: Option<usize>, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        SockRef::from(&socket).set_recv_buffer_size(bytes)?;
    }
    socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), limit)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::End;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn client_of(backend: &Backend) -> io::Result<Peer> {
        let stream = connect(backend.port(), None, Duration::from_millis(500))?;
        Peer::new("client", stream, soon()).map_err(|failure| io::Error::other(failure.to_string()))
    }

    #[test]
    fn each_behaviour_is_what_it_says() {
        let echo = Backend::new(Behaviour::Echo, false, soon()).unwrap();
        let client = client_of(&echo).unwrap();
        client.send(b"abc").unwrap();
        client.finish().unwrap();
        client.expect(b"abc").unwrap();
        client.expect_end(End::Eof).unwrap();

        let greeting = Backend::new(Behaviour::Greeting, true, soon()).unwrap();
        let client = client_of(&greeting).unwrap();
        client.send(b"a line to be passed over\n").unwrap();
        client.expect(GREETING).unwrap();

        let resets = Backend::new(Behaviour::Resets, true, soon()).unwrap();
        // The reset may be there before the connect has returned, which then says so.
        match client_of(&resets) {
            Ok(client) => client.expect_end(End::Reset).unwrap(),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }

        let refuses = Backend::new(Behaviour::Refuses, false, soon()).unwrap();
        let refused = client_of(&refuses).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let black_hole = Backend::new(Behaviour::BlackHole, false, soon()).unwrap();
        assert_eq!(client_of(&black_hole).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
