//! The control port: one line in, one answer out, per connection.
//!
//! Nobody is waited for longer than [`PATIENCE`], and [`CLIENTS_MAX`] are kept at one time: for one
//! more, the one that has been there longest is closed. Its command is carried out all the same.

use super::desk::Desk;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Where control clients come in.
pub enum Door {
    /// `-C [address:]port`.
    Tcp(std::net::TcpListener),
    /// `-C /path`.
    Unix(std::os::unix::net::UnixListener),
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
    /// Serves until the process ends.
    pub async fn serve(self, desk: &Desk) -> io::Result<()> {
        let mut clients = Clients::default();
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, client)) => {
                            let client = client.ip().to_canonical();
                            clients.admit(stream, Some(client), desk).await;
                        }
                        Err(_) => sleep(RETRY).await,
                    }
                }
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => clients.admit(stream, None, desk).await,
                        Err(_) => sleep(RETRY).await,
                    }
                }
            }
        }
    }
}

/// Who is there, oldest first. Dropping a sender closes its client.
#[derive(Default)]
struct Clients(VecDeque<oneshot::Sender<()>>);

impl Clients {
    async fn admit<S>(&mut self, stream: S, client: Option<IpAddr>, desk: &Desk)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !desk.admits(client).await {
            return;
        }
        self.0.retain(|client| !client.is_closed());
        if self.0.len() >= CLIENTS_MAX {
            self.0.pop_front();
        }
        let (keep, closed) = oneshot::channel();
        self.0.push_back(keep);
        let desk = desk.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, desk) => {}
                _ = closed => {}
            }
        });
    }
}

/// Reads one chunk, carries out its first line, and answers.
async fn converse<S>(mut stream: S, desk: Desk)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut chunk = vec![0; LINE_BYTES_MAX];
    let Ok(Ok(count @ 1..)) = timeout(PATIENCE, stream.read(&mut chunk)).await else { return };
    chunk.truncate(count);
    // A task of its own: a command is not left half done because its client goes away.
    let reply = tokio::spawn(async move { desk.carry_out(chunk).await });
    let Ok(reply) = reply.await else { return };
    for piece in reply.chunks(PIECE_BYTES) {
        match timeout(PATIENCE, stream.write_all(piece)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    // What is left unread would turn the close into a reset and could cost the client its answer.
    let _ = stream.shutdown().await;
    let _ = timeout(Duration::ZERO, stream.read(&mut [0; LINE_BYTES_MAX])).await;
}
