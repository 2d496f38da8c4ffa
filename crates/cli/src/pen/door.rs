//! The control port: one line in, one answer out, per connection.
//!
//! Nobody is waited for longer than [`PATIENCE`], and [`CLIENTS_MAX`] are kept at one time: for one
//! more, the one that has been there longest is closed. Its command is carried out all the same.

use super::desk::{Desk, Pause};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Where control clients come in, and those that have said nothing yet.
pub struct Door {
    listener: OwnedFd,
    is_unix: bool,
    waiting: Vec<OwnedFd>,
}

/// What the control port is asked while it is served.
pub enum DoorCall {
    /// To accept nobody, and to hand out copies of the socket and of the connections of clients that
    /// have said nothing. Those that have spoken get their answers meanwhile; if that takes too
    /// long, there is nothing.
    Close(oneshot::Sender<Option<(Vec<OwnedFd>, Pause)>>),
    /// To go on, also with these clients.
    Open,
}

/// The longest line looked at, as in the original.
const LINE_BYTES_MAX: usize = 4096;
/// Control clients at one time.
const CLIENTS_MAX: usize = 32;
/// How long a client may take to say something, or to take some of its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is written of an answer before a slow client's time starts anew.
const PIECE_BYTES: usize = 64 << 10;
/// How long to wait when no client can be accepted for want of descriptors.
const RETRY: Duration = Duration::from_millis(200);

impl Door {
    /// `-C [address:]port`.
    pub fn tcp(listener: std::net::TcpListener) -> Self {
        Self { listener: listener.into(), is_unix: false, waiting: Vec::new() }
    }

    /// `-C /path`.
    pub fn unix(listener: std::os::unix::net::UnixListener) -> Self {
        Self { listener: listener.into(), is_unix: true, waiting: Vec::new() }
    }

    /// The one of another process: its socket, and then its clients.
    pub fn inherited(is_unix: bool, sockets: Vec<OwnedFd>) -> Option<Self> {
        let mut sockets = sockets.into_iter();
        Some(Self { listener: sockets.next()?, is_unix, waiting: sockets.collect() })
    }

    /// Serves until the process ends.
    pub async fn serve(self, desk: &Desk, calls: mpsc::Receiver<DoorCall>) -> io::Result<()> {
        let Self { listener, is_unix, waiting } = self;
        let copy = listener.try_clone()?;
        match is_unix {
            true => {
                let listener = std::os::unix::net::UnixListener::from(listener);
                listener.set_nonblocking(true)?;
                serve(&UnixListener::from_std(listener)?, (copy, waiting), desk, calls).await
            }
            false => {
                let listener = std::net::TcpListener::from(listener);
                listener.set_nonblocking(true)?;
                serve(&TcpListener::from_std(listener)?, (copy, waiting), desk, calls).await
            }
        }
        Ok(())
    }
}

/// A kind of socket that control clients connect to.
trait Accepts {
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<IpAddr>)>;

    /// A client that another process has accepted.
    fn adopt(socket: OwnedFd) -> io::Result<Self::Stream>;
}

impl Accepts for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, client) = self.accept().await?;
        Ok((stream, Some(client.ip().to_canonical())))
    }

    fn adopt(socket: OwnedFd) -> io::Result<TcpStream> {
        TcpStream::from_std(socket.into())
    }
}

impl Accepts for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        Ok((self.accept().await?.0, None))
    }

    fn adopt(socket: OwnedFd) -> io::Result<UnixStream> {
        UnixStream::from_std(socket.into())
    }
}

async fn serve<A: Accepts>(
    listener: &A,
    (copy, waiting): (OwnedFd, Vec<OwnedFd>),
    desk: &Desk,
    mut calls: mpsc::Receiver<DoorCall>,
) {
    let mut clients = Clients::new(desk);
    for stream in waiting.into_iter().filter_map(|it| A::adopt(it).ok()) {
        clients.begin(stream); // the other process has admitted it
    }
    let mut paused: Option<Vec<A::Stream>> = None;
    loop {
        tokio::select! {
            accepted = listener.accept(), if paused.is_none() => match accepted {
                Ok((stream, client)) => clients.admit(stream, client).await,
                Err(_) => sleep(RETRY).await,
            },
            Some(call) = calls.recv() => match call {
                DoorCall::Close(answer) => {
                    let (silent, pause) = clients.close().await;
                    let copies = std::iter::once(copy.try_clone())
                        .chain(silent.iter().map(|it| it.as_fd().try_clone_to_owned()));
                    let copies: Vec<_> = copies.filter_map(Result::ok).collect();
                    paused = Some(silent);
                    let _ = answer.send(pause.map(|pause| (copies, pause)));
                }
                DoorCall::Open => {
                    clients.closing.send_replace(false);
                    paused.take().into_iter().flatten().for_each(|it| clients.begin(it));
                }
            },
        }
    }
}

/// Who is there.
struct Clients<S> {
    desk: Desk,
    /// Oldest first.
    all: VecDeque<Conversation<S>>,
    /// Whether clients that have said nothing are to wait for another process.
    closing: watch::Sender<bool>,
}

/// A client that is served.
struct Conversation<S> {
    /// Dropping it closes the connection.
    _keep: oneshot::Sender<()>,
    /// Ends with the connection if the client has said nothing until the control port was closed.
    task: JoinHandle<Option<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Clients<S> {
    fn new(desk: &Desk) -> Self {
        Self { desk: desk.clone(), all: VecDeque::new(), closing: watch::Sender::new(false) }
    }

    async fn admit(&mut self, stream: S, client: Option<IpAddr>) {
        if self.desk.admits(client).await {
            self.begin(stream);
        }
    }

    fn begin(&mut self, stream: S) {
        self.all.retain(|it| !it.task.is_finished());
        if self.all.len() >= CLIENTS_MAX {
            self.all.pop_front();
        }
        let (_keep, closed) = oneshot::channel();
        let (desk, closing) = (self.desk.clone(), self.closing.subscribe());
        let task = tokio::spawn(async move {
            tokio::select! {
                silent = converse(stream, desk, closing) => silent,
                _ = closed => None,
            }
        });
        self.all.push_back(Conversation { _keep, task });
    }

    /// The clients that have said nothing. All others have got their answers then, and no command is
    /// carried out from now on; if that takes too long, there is no pause.
    async fn close(&mut self) -> (Vec<S>, Option<Pause>) {
        self.closing.send_replace(true);
        let mut silent = Vec::new();
        let mut busy = VecDeque::new();
        let deadline = Instant::now() + CLOSE_WITHIN;
        for mut it in std::mem::take(&mut self.all) {
            match timeout_at(deadline, &mut it.task).await {
                Ok(ended) => silent.extend(ended.ok().flatten()),
                Err(_) => busy.push_back(it),
            }
        }
        self.all = busy;
        let pause = match self.all.is_empty() {
            true => timeout_at(deadline, self.desk.pause()).await.ok(),
            false => None,
        };
        (silent, pause)
    }
}

/// How long answers may take that are under way when the control port is handed over.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Reads one chunk, carries out its first line, and answers. Returns the connection if nothing has
/// come before `closing`.
async fn converse<S>(mut stream: S, desk: Desk, mut closing: watch::Receiver<bool>) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut chunk = vec![0; LINE_BYTES_MAX];
    let count = tokio::select! {
        read = timeout(PATIENCE, stream.read(&mut chunk)) => match read {
            Ok(Ok(count @ 1..)) => count,
            _ => return None,
        },
        _ = closing.wait_for(|it| *it) => return Some(stream),
    };
    chunk.truncate(count);
    // A task of its own: a command is not left half done because its client goes away.
    let reply = tokio::spawn(async move { desk.carry_out(chunk).await });
    let reply = reply.await.ok()?;
    for piece in reply.chunks(PIECE_BYTES) {
        match timeout(PATIENCE, stream.write_all(piece)).await {
            Ok(Ok(())) => {}
            _ => return None,
        }
    }
    // What is left unread would turn the close into a reset and could cost the client its answer.
    let _ = stream.shutdown().await;
    let _ = timeout(Duration::ZERO, stream.read(&mut [0; LINE_BYTES_MAX])).await;
    None
}
