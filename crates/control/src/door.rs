//! Limits the connections to the admin socket, and to others: who may connect and do what, how many
//! connections there are at a time, and how long one may be idle.

use crate::roles::Roles;
use axum::serve::Listener;
use config::Role;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::{Instant, Sleep, sleep};

/// A Unix socket on which HTTP is served. Only those with a role may connect, whatever the file's
/// mode is.
pub(crate) struct Door {
    listener: UnixListener,
    guests: Guests,
    roles: Arc<Roles>,
    /// The role that nobody exceeds here.
    most: Role,
}

/// The connections to one socket.
pub(crate) struct Guests {
    limits: Limits,
    /// The open connections, the oldest first. Dropping one closes its connection.
    open: VecDeque<Sender<()>>,
}

/// The limits that keep clients from using up the process's file descriptors.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// The maximum number of connections. A further one replaces the oldest.
    pub connections: usize,
    /// How long a connection may be idle.
    pub idle: Duration,
}

impl Limits {
    /// Room for every operator, and time for the slowest command.
    pub const USUAL: Self = Self { connections: 64, idle: Duration::from_secs(30) };
}

impl Door {
    pub fn new(listener: UnixListener, limits: Limits, roles: Arc<Roles>, most: Role) -> Self {
        Self { listener, guests: Guests::new(limits), roles, most }
    }

    fn let_in(&mut self, stream: UnixStream) -> Option<Visitor<UnixStream, Peer>> {
        let peer = stream.peer_cred().ok()?;
        let mut groups = sys::net::peer_groups(stream.as_fd());
        groups.push(peer.gid());
        let role = self.roles.of(peer.uid(), &groups)?.min(self.most);
        let peer = Peer { uid: peer.uid(), pid: peer.pid(), role };
        Some(self.guests.let_in(stream, peer))
    }
}

impl Guests {
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: VecDeque::new() }
    }

    /// Lets in another one. `who` is what is known of it.
    pub fn let_in<S, W>(&mut self, stream: S, who: W) -> Visitor<S, W> {
        self.open.retain(|visitor| !visitor.is_closed());
        while self.open.len() >= self.limits.connections {
            self.open.pop_front();
        }
        let (stay, sent_away) = channel();
        self.open.push_back(stay);
        let idle = self.limits.idle;
        let deadline = Box::pin(sleep(idle));
        Visitor {
            stream,
            who,
            idle,
            deadline,
            sent_away,
            has_asked: false,
            has_answered: false,
            is_sending: false,
        }
    }
}

impl Listener for Door {
    type Io = Visitor<UnixStream, Peer>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(visitor) = self.let_in(stream) {
                        return (visitor, ());
                    }
                }
                Err(_) => sleep(ACCEPT_PAUSE).await, // most likely out of file descriptors
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection to the admin socket.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// The user.
    pub uid: u32,
    /// The process, if the system says.
    pub pid: Option<i32>,
    /// What it may do.
    pub role: Role,
}

/// A connection.
pub(crate) struct Visitor<S, W> {
    stream: S,
    /// What is known of the other end.
    pub who: W,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    sent_away: Receiver<()>,
    /// Whether something was received to which nothing has been answered yet.
    has_asked: bool,
    /// Whether something was sent since the last flush.
    has_answered: bool,
    /// Whether there are bytes that the other end has had no room for.
    is_sending: bool,
}

/// The connections for which [`Visitor::is_sending`] holds, at all doors of the process: an answer
/// is written before it is known who waits for it.
static SENDING: AtomicUsize = AtomicUsize::new(0);

/// Whether an answer has been written that the other end has yet to make room for.
pub(crate) fn is_sending() -> bool {
    SENDING.load(Relaxed) > 0
}

impl<S, W> Drop for Visitor<S, W> {
    fn drop(&mut self) {
        self.set_sending(false);
    }
}

impl<S, W> Visitor<S, W> {
    fn set_sending(&mut self, is_sending: bool) {
        match (std::mem::replace(&mut self.is_sending, is_sending), is_sending) {
            (false, true) => drop(SENDING.fetch_add(1, Relaxed)),
            (true, false) => drop(SENDING.fetch_sub(1, Relaxed)),
            _ => {}
        }
    }

    /// Passes on the stream's result, but limits the time of waiting.
    fn limit<T>(
        &mut self,
        context: &mut Context<'_>,
        said: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + self.idle);
            return said;
        }
        let is_late = self.deadline.as_mut().poll(context).is_ready();
        if is_late || Pin::new(&mut self.sent_away).poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin, W: Unpin> AsyncRead for Visitor<S, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let mut read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            match buffer.filled().len() > before {
                true => self.has_asked = true,
                // Many end what they send with their request. hyper would give up the answer.
                false if self.has_asked => read = Poll::Pending,
                false => {}
            }
        }
        self.limit(context, read)
    }
}

impl<S: AsyncWrite + Unpin, W: Unpin> AsyncWrite for Visitor<S, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.has_answered |= matches!(written, Poll::Ready(Ok(1..)));
        let written = self.limit(context, written);
        self.set_sending(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All that hyper has at present was written by now.
        if std::mem::take(&mut self.has_answered) && std::mem::take(&mut self.has_asked) {
            // There may be an end that was kept back.
            context.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Serves nothing at a socket in `dir`, within `limits`.
    fn serve(dir: &tempfile::TempDir, limits: Limits) -> tokio::runtime::Runtime {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let path = dir.path().join("admin");
        runtime.block_on(async {
            let listener = UnixListener::bind(path).unwrap();
            let door = Door::new(listener, limits, Arc::default(), Role::Admin);
            tokio::spawn(async { axum::serve(door, axum::Router::new()).await });
        });
        runtime
    }

    /// Waits until the other end closes the connection.
    fn wait_for_end(stream: &mut std::os::unix::net::UnixStream) {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_silent_connection_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { idle: Duration::from_millis(50), ..Limits::USUAL };
        let _runtime = serve(&dir, limits);
        let connect = || std::os::unix::net::UnixStream::connect(dir.path().join("admin"));
        wait_for_end(&mut connect().unwrap());
    }

    #[test]
    fn one_connection_too_many_takes_the_place_of_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let _runtime = serve(&dir, Limits { connections: 2, ..Limits::USUAL });
        let connect = || std::os::unix::net::UnixStream::connect(dir.path().join("admin"));
        let [mut oldest, second, third] = [(); 3].map(|()| connect().unwrap());
        wait_for_end(&mut oldest);
        for mut stream in [second, third] {
            stream.set_nonblocking(true).unwrap();
            let open = stream.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(open, Err(io::ErrorKind::WouldBlock));
        }
    }
}
