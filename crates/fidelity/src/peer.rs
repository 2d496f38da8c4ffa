//! One end of a session in a case's hands: a client's socket, or a backend's.
//!
//! Every call is bounded by the case's deadline and fails in the words of the report.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    deadline::{remaining, wait_until},
    pattern::{OddSizes, Pattern},
    procnet,
    report::{Check, Failure},
};

/// How a stream of bytes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The other side finished it: a FIN.
    Eof,
    /// The other side broke it: a RST.
    Reset,
    /// It did not end before the deadline.
    Silence,
    /// It ended in a way nobody asked for.
    Other(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset => Self::Reset,
            // A socket's time-out is reported as "would block".
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silence,
            _ => Self::Other(error.to_string()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("end of file"),
            Self::Reset => f.write_str("a reset"),
            Self::Silence => f.write_str("nothing before the deadline"),
            Self::Other(error) => f.write_str(error),
        }
    }
}

/// A reader that rests after every so many bytes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many bytes it reads in one go.
    pub bytes: usize,
    /// How long it rests then.
    pub pause: Duration,
}

/// A connected socket, with the name that reports give it.
#[derive(Debug)]
pub struct Peer {
    who: &'static str,
    stream: TcpStream,
    deadline: Instant,
    pace: Option<Pace>,
}

impl Peer {
    /// Wraps `stream`; nothing on it may last longer than until `deadline`.
    ///
    /// # Errors
    /// When the socket cannot be set to send small pieces at once.
    pub fn new(who: &'static str, stream: TcpStream, deadline: Instant) -> Check<Self> {
        let failed = |error| Failure::new(format!("{who} to set TCP_NODELAY"), error);
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Self { who, stream, deadline, pace: None })
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// When everything must be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reads up to the end of the first line.
    ///
    /// # Errors
    /// When there is none before the deadline.
    pub fn skip_line(&self) -> Check {
        let mut byte = [0];
        while byte != *b"\n" {
            let end = match self.read(&mut byte) {
                Ok(0) => End::Eof,
                Ok(_) => continue,
                Err(end) => end,
            };
            return Err(Failure::new(format!("a line at the {}", self.who), end));
        }
        Ok(())
    }

    /// Makes it read slowly, or as fast as it can.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When they are not accepted before the deadline.
    pub fn send(&self, bytes: &[u8]) -> Check {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(end) => {
                    let expected = format!("the {} to send {} bytes", self.who, bytes.len());
                    return Err(Failure::new(expected, format!("{end} after {sent}")));
                }
            }
        }
        Ok(())
    }

    /// Sends the first `len` bytes of the pattern `seed` in large pieces.
    ///
    /// # Errors
    /// When they are not accepted before the deadline.
    pub fn send_pattern(&self, seed: u64, len: usize) -> Check {
        self.send_pieces(seed, len, || BUFFER)
    }

    /// Sends the first `len` bytes of the pattern `seed` in pieces of odd sizes.
    ///
    /// # Errors
    /// When they are not accepted before the deadline.
    pub fn send_odd_pieces(&self, seed: u64, len: usize) -> Check {
        let mut sizes = OddSizes::new(seed);
        self.send_pieces(seed, len, || sizes.next_size())
    }

    fn send_pieces(&self, seed: u64, len: usize, mut next_size: impl FnMut() -> usize) -> Check {
        let mut pattern = Pattern::new(seed);
        let mut sent = 0;
        while sent < len {
            let piece = pattern.take(next_size().min(len - sent));
            self.send(&piece).map_err(|failure| Failure {
                expected: format!("the {} to send {len} bytes", self.who),
                seen: format!("{} more after {sent}", failure.seen),
            })?;
            sent += piece.len();
        }
        Ok(())
    }

    /// Ends its own direction: a FIN after everything sent so far.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn finish(&self) -> Check {
        let failed = |error| Failure::new(format!("the {} to half-close", self.who), error);
        self.stream.shutdown(Shutdown::Write).map_err(failed)
    }

    /// Breaks the connection with a reset, after everything sent has left this kernel.
    ///
    /// # Errors
    /// When what was sent is not acknowledged before the deadline.
    pub fn reset(self) -> Check {
        self.wait_acknowledged()?;
        self.abort()
    }

    /// Breaks the connection with a reset at once; bytes not yet acknowledged are lost.
    ///
    /// # Errors
    /// When the socket does not take the option.
    pub fn abort(self) -> Check {
        let failed = |error| Failure::new(format!("the {} to reset", self.who), error);
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).map_err(failed)
    }

    /// Waits until the kernel at the other end has taken everything that was sent.
    ///
    /// # Errors
    /// When it has not by the deadline.
    pub fn wait_acknowledged(&self) -> Check {
        let expected = || format!("everything the {} sent to be taken", self.who);
        let failed = |error: io::Error| Failure::new(expected(), error);
        let local = v4(self.stream.local_addr().map_err(failed)?);
        let peer = v4(self.stream.peer_addr().map_err(failed)?);
        let is_taken = || matches!(procnet::unacknowledged(local, peer), Some(0) | None);
        if wait_until(self.deadline, is_taken) {
            return Ok(());
        }
        Err(Failure::new(expected(), "some of it left at the deadline"))
    }

    /// Writes what fits, within the deadline.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, End> {
        self.write_within(bytes, remaining(self.deadline))
    }

    /// Writes what fits, within `limit`.
    pub fn write_within(&self, bytes: &[u8], limit: Duration) -> Result<usize, End> {
        self.stream.set_write_timeout(Some(limit))?;
        Ok((&self.stream).write(bytes)?)
    }

    /// Reads what is there, or waits for something; no bytes is the end of the file.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, End> {
        self.stream.set_read_timeout(Some(remaining(self.deadline)))?;
        Ok((&self.stream).read(buffer)?)
    }

    /// Reads exactly `bytes`, and leaves what follows.
    ///
    /// # Errors
    /// When anything else comes.
    pub fn expect(&self, bytes: &[u8]) -> Check {
        let mut received = vec![0; bytes.len()];
        let (count, end) = self.read_full(&mut received);
        received.truncate(count);
        if received == bytes {
            return Ok(());
        }
        let end = end.map(|end| format!(", then {end}")).unwrap_or_default();
        let expected = format!("{} at the {}", shown(bytes), self.who);
        Err(Failure::new(expected, shown(&received) + &end))
    }

    /// Reads exactly the first `len` bytes of the pattern `seed`, and leaves what follows.
    ///
    /// # Errors
    /// When anything else comes.
    pub fn expect_pattern(&self, seed: u64, len: usize) -> Check {
        let expected = || format!("{len} bytes at the {}", self.who);
        match self.read_pattern(seed, len).map_err(|seen| Failure::new(expected(), seen))? {
            (_, None) => Ok(()),
            (count, Some(end)) => Err(Failure::new(expected(), format!("{count}, then {end}"))),
        }
    }

    /// Reads the first `len` bytes of the pattern `seed`, after which the stream must end
    /// with `end`.
    ///
    /// # Errors
    /// When anything else comes, less, more, or another end.
    pub fn expect_all(&self, seed: u64, len: usize, end: End) -> Check {
        let expected = || format!("{len} bytes, then {end} at the {}", self.who);
        // One byte more than there must be, so that more is noticed.
        let seen = match self.read_pattern(seed, len + 1) {
            Ok((count, Some(seen))) if count == len && seen == end => return Ok(()),
            Ok((count, Some(seen))) => format!("{count}, then {seen}"),
            Ok((_, None)) => format!("more than {len}"),
            Err(wrong) => wrong,
        };
        Err(Failure::new(expected(), seen))
    }

    /// The stream must end with `end`, without another byte.
    ///
    /// # Errors
    /// When it does not.
    pub fn expect_end(&self, end: End) -> Check {
        let mut byte = [0];
        let seen = match self.read(&mut byte) {
            Ok(0) => End::Eof,
            Ok(_) => End::Other("another byte".to_owned()),
            Err(end) => end,
        };
        if seen == end {
            return Ok(());
        }
        Err(Failure::new(format!("{end} at the {}", self.who), seen))
    }

    /// Reads until `buffer` is full, or the stream ends.
    pub fn read_full(&self, buffer: &mut [u8]) -> (usize, Option<End>) {
        let mut count = 0;
        while count < buffer.len() {
            match self.read(&mut buffer[count..]) {
                Ok(0) => return (count, Some(End::Eof)),
                Ok(n) => count += n,
                Err(end) => return (count, Some(end)),
            }
        }
        (count, None)
    }

    /// Reads up to `limit` bytes of a pattern: how many came, and the end if it came first.
    fn read_pattern(&self, seed: u64, limit: usize) -> Result<(usize, Option<End>), String> {
        let mut pattern = Pattern::new(seed);
        let mut buffer = vec![0; self.pace.map_or(BUFFER, |pace| pace.bytes)];
        let mut count = 0;
        while count < limit {
            let want = buffer.len().min(limit - count);
            let (n, end) = self.read_full(&mut buffer[..want]);
            pattern.check(&buffer[..n]).map_err(|at| {
                // The case is lost, so its other threads need not wait for their deadlines.
                let _ = self.stream.shutdown(Shutdown::Both);
                format!("a wrong byte at offset {at}")
            })?;
            count += n;
            if end.is_some() {
                return Ok((count, end));
            }
            thread::sleep(self.pace.map_or(Duration::ZERO, |pace| pace.pause));
        }
        Ok((count, None))
    }
}

/// Runs `send` in a second thread beside `receive`.
///
/// # Errors
/// Those of the two, that of `receive` first: it is the one that knows what is wrong.
pub fn at_once(send: impl FnOnce() -> Check + Send, receive: impl FnOnce() -> Check) -> Check {
    thread::scope(|scope| {
        let sending = scope.spawn(send);
        let received = receive();
        let sent = sending.join().unwrap_or_else(|_| Err(Failure::new("no panic", "a panic")));
        received.and(sent)
    })
}

/// Bytes as a reader can take them in.
fn shown(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing".to_owned(),
        short if short.len() <= 32 => format!("\"{}\"", short.escape_ascii()),
        long => format!("{} bytes", long.len()),
    }
}

/// The sockets of this suite are all IPv4: that is what it binds and connects to.
fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => SocketAddrV4::new([0, 0, 0, 0].into(), address.port()),
    }
}

/// How much is written and read in one go where a case does not say otherwise.
const BUFFER: usize = 65_536;
