//! A relay that is right in the plainest way: two threads per session, one per direction. With a
//! fault planted in it, the suite has to notice.

use std::{
    env,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fidelity::{procnet, wait_until};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;

/// What the relay does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A reset is passed on as the end of the file.
    ResetBecomesEof,
    /// An end of file is not passed on.
    HalfCloseDropped,
    /// One byte in a hundred thousand arrives changed.
    ByteChanged,
    /// Urgent bytes are left beside the stream.
    UrgentLost,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ResetBecomesEof => "reset-becomes-eof",
            Self::HalfCloseDropped => "half-close-dropped",
            Self::ByteChanged => "byte-changed",
            Self::UrgentLost => "urgent-lost",
        }
    }

    fn from_name(name: &str) -> Self {
        let faults =
            [Self::ResetBecomesEof, Self::HalfCloseDropped, Self::ByteChanged, Self::UrgentLost];
        faults.into_iter().find(|fault| fault.name() == name).unwrap_or(Self::None)
    }
}

/// Environment variables that make this test program a relay: `LISTENER:BACKEND:BACKEND`, and the
/// fault's name.
pub const PORTS: &str = "FIDELITY_TEST_RELAY";
pub const FAULT: &str = "FIDELITY_TEST_FAULT";

/// Serves for ever if the environment says so, and returns at once otherwise.
pub fn serve_if_asked() {
    let Ok(ports) = env::var(PORTS) else { return };
    let ports: Vec<u16> = ports.split(':').map(|port| port.parse().expect("a port")).collect();
    let fault = Fault::from_name(&env::var(FAULT).unwrap_or_default());
    let listener = TcpListener::bind(("127.0.0.1", ports[0])).expect("a free port");
    for (turn, client) in listener.incoming().enumerate() {
        let mut backends = [ports[1], ports[2]];
        backends.rotate_left(turn % 2);
        let client = client.expect("a client");
        thread::spawn(move || session(client, backends, fault));
    }
}

fn session(client: TcpStream, backends: [u16; 2], fault: Fault) {
    let connect = |port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let backend = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
        is_willing(&client, &backend).then_some(backend)
    };
    // When nobody answers, dropping the client is its end of file.
    let Some(backend) = backends.into_iter().find_map(connect) else { return };
    for stream in [&client, &backend] {
        stream.set_nodelay(true).expect("a TCP socket");
        SockRef::from(stream).set_out_of_band_inline(fault != Fault::UrgentLost).expect("a socket");
    }
    let (client, backend) = (Arc::new(client), Arc::new(backend));
    let (from, to) = (Arc::clone(&client), Arc::clone(&backend));
    let upstream = thread::spawn(move || one_direction(&from, &to, fault));
    one_direction(&backend, &client, fault);
    upstream.join().expect("no panic in a thread");
}

/// Waits for the first sign of either side; a backend whose first sign is a reset has seen nothing
/// of the client, which another one may serve.
fn is_willing(client: &TcpStream, backend: &TcpStream) -> bool {
    let mut waiting = [client, backend].map(|stream| PollFd::new(stream, PollFlags::IN));
    let _ = poll(&mut waiting, None);
    let is_client_first = waiting[0].revents().contains(PollFlags::IN);
    is_client_first || backend.peek(&mut [0]).is_ok()
}

/// Relays until `from` ends, then ends `to` in the same way.
fn one_direction(from: &TcpStream, to: &TcpStream, fault: Fault) {
    match copy(from, to, fault) {
        Ok(()) if fault == Fault::HalfCloseDropped => {}
        Ok(()) => drop(to.shutdown(Shutdown::Write)),
        Err(error) if is_reset(&error) && fault == Fault::ResetBecomesEof => {
            let _ = to.shutdown(Shutdown::Write);
        }
        Err(_) => {
            wait_until(Instant::now() + Duration::from_secs(5), || is_taken(to));
            let _ = SockRef::from(to).set_linger(Some(Duration::ZERO));
            // Ends the thread of the other direction; the reset goes out with the last reference.
            let _ = to.shutdown(Shutdown::Read);
            let _ = from.shutdown(Shutdown::Read);
        }
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, fault: Fault) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    let mut count = 0;
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        if fault == Fault::ByteChanged && count / 100_000 != (count + n) / 100_000 {
            // Not a flipped bit, which an echo would flip back.
            buffer[n / 2] = buffer[n / 2].wrapping_add(1);
        }
        count += n;
        to.write_all(&buffer[..n])?;
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn is_taken(stream: &TcpStream) -> bool {
    let v4 = |address: io::Result<SocketAddr>| match address {
        Ok(SocketAddr::V4(address)) => Some(address),
        _ => None,
    };
    let ends: Option<(SocketAddrV4, SocketAddrV4)> =
        v4(stream.local_addr()).zip(v4(stream.peer_addr()));
    ends.is_none_or(|(local, peer)| matches!(procnet::unacknowledged(local, peer), None | Some(0)))
}
