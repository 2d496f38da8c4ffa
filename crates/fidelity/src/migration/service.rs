//! A server behind pen that can stop and start again at the same port, and clients' sockets.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{Check, Failure, wait_until};

type Serve = dyn Fn(Stream) -> io::Result<()> + Send + Sync;

/// A port and what answers there, one thread per connection.
pub struct Service {
    port: u16,
    /// Bound, so that the port stays ours while nobody listens.
    _reserved: Socket,
    listener: Mutex<Option<Arc<Socket>>>,
    serve: Arc<Serve>,
    open: Arc<AtomicUsize>,
}

impl Service {
    /// Listens at a free port.
    pub fn start(serve: impl Fn(Stream) -> io::Result<()> + Send + Sync + 'static) -> Check<Self> {
        let broken = |error: io::Error| Failure::new("a server behind pen", error);
        let reserved = bind(0).map_err(broken)?;
        let address = reserved.local_addr().map_err(broken)?;
        let port = address.as_socket().map_or(0, |address| address.port());
        let service = Self {
            port,
            _reserved: reserved,
            listener: Mutex::default(),
            serve: Arc::new(serve),
            open: Arc::default(),
        };
        service.restart()?;
        Ok(service)
    }

    /// Listens again.
    pub fn restart(&self) -> Check {
        let broken = |error: io::Error| Failure::new("a server behind pen", error);
        let listener = Arc::new(bind(self.port).map_err(broken)?);
        listener.listen(1024).map_err(broken)?;
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&listener));
        let (serve, open) = (Arc::clone(&self.serve), Arc::clone(&self.open));
        thread::spawn(move || {
            // Ends with the first error, which is the shutdown in `stop`.
            while let Ok((socket, _)) = listener.accept() {
                let (serve, open) = (Arc::clone(&serve), Arc::clone(&open));
                open.fetch_add(1, SeqCst);
                let serving = thread::Builder::new().stack_size(128 << 10).spawn(move || {
                    // A client that does not like the answer says so itself.
                    let _ = Stream::new(socket.into()).and_then(|stream| serve(stream));
                    open.fetch_sub(1, SeqCst);
                });
                drop(serving);
            }
        });
        Ok(())
    }

    /// Refuses from now on. Sessions that are open go on.
    pub fn stop(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.take() {
            // Its thread empties the queue within microseconds; what comes just now is reset before
            // a byte, which a proxy may make good.
            let _ = listener.shutdown(Shutdown::Both);
        }
    }

    /// Waits until it has no session and has had none for a moment.
    pub fn wait_idle(&self) -> Check {
        let is_idle = || self.open.load(SeqCst) == 0;
        let stays_idle = || {
            let was_idle = is_idle();
            thread::sleep(Duration::from_millis(50));
            was_idle && is_idle()
        };
        if wait_until(Instant::now() + Duration::from_secs(10), stays_idle) {
            return Ok(());
        }
        Err(Failure::new("no session at a blacklisted server", self.open.load(SeqCst)))
    }

    /// Its port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bind(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

/// A connection, read by lines.
pub struct Stream {
    reader: BufReader<TcpStream>,
}

impl Stream {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Connects from an address of 127.0.0.0/8.
    pub fn connect(from: Ipv4Addr, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), PATIENCE)?;
        Self::new(socket.into())
    }

    /// A line without its end; an end of file is an error.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(whole) => Ok(whole.trim_end_matches('\r').to_owned()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("end at {line:?}"))),
        }
    }

    /// Exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        io::Read::read_exact(&mut self.reader, &mut bytes)?;
        Ok(bytes)
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// Waits for the other side's end, with nothing before it.
    pub fn end(&mut self) -> io::Result<()> {
        match self.reader.fill_buf()? {
            [] => Ok(()),
            more => Err(io::Error::other(format!("{} bytes too many", more.len()))),
        }
    }
}

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// An error unless both are the same.
pub fn same(what: &str, seen: &str, expected: &str) -> io::Result<()> {
    if seen == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} is {seen:?} instead of {expected:?}")))
}
