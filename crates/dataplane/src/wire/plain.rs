//! A TCP or Unix stream socket without any layer.

use super::Transport;
use relay::{Fault, Received, Urgent};
use std::os::fd::BorrowedFd;
use sys::Errno;
use sys::net;
use sys::pipe::Pipe;

/// A socket with nothing between it and the peer.
pub(crate) struct Plain<'a> {
    socket: BorrowedFd<'a>,
    /// On a Unix socket, only `EAGAIN` means that nothing is left: a read also stops after bytes
    /// that descriptors or credentials were sent with (unix(7)).
    is_unix: bool,
    /// The number of writes so far, if the second one is to turn off delay: a single message does
    /// not need that.
    writes: Option<&'a mut u8>,
}

impl<'a> Plain<'a> {
    /// A client's socket, which inherited no-delay from its listener.
    pub fn downstream(socket: BorrowedFd<'a>, is_unix: bool) -> Self {
        Self { socket, is_unix, writes: None }
    }

    /// A socket to a backend, written to `writes` times so far (counted to two).
    pub fn upstream(socket: BorrowedFd<'a>, is_unix: bool, writes: &'a mut u8) -> Self {
        Self { socket, is_unix, writes: Some(writes) }
    }

    /// Writes the last bytes: [`finish`](Transport::finish) or the socket's end follows at once.
    pub fn transmit_last(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        self.before_write();
        net::transmit_last(self.socket, bytes).map_err(fault)
    }

    #[inline]
    fn before_write(&mut self) {
        if let Some(writes) = &mut self.writes
            && **writes < 2
        {
            **writes += 1;
            if **writes == 2 {
                net::set_no_delay(self.socket);
            }
        }
    }
}

impl Transport for Plain<'_> {
    const SPLICES: bool = true;

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Fault> {
        let bytes = net::receive(self.socket, buffer).map_err(fault)?;
        Ok(Received { bytes, is_short: bytes < buffer.len() && !self.is_unix })
    }

    #[inline]
    fn transmit(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        self.before_write();
        net::transmit(self.socket, bytes).map_err(fault)
    }

    fn fill(&mut self, pipe: &Pipe, size: usize) -> Result<usize, Fault> {
        match pipe.fill(self.socket, size) {
            // Not a socket that can be spliced.
            Err(Errno::INVAL) => Err(Fault::NoPipe),
            result => result.map_err(fault),
        }
    }

    fn drain(&mut self, pipe: &Pipe, size: usize) -> Result<usize, Fault> {
        self.before_write();
        pipe.drain(self.socket, size).map_err(fault)
    }

    fn receive_urgent(&mut self) -> Urgent {
        let mut byte = [0];
        if net::is_at_mark(self.socket) && net::receive(self.socket, &mut byte) == Ok(1) {
            Urgent::Byte(byte[0])
        } else {
            Urgent::NotAtMark
        }
    }

    fn transmit_urgent(&mut self, byte: u8) -> Result<(), Fault> {
        match net::transmit_urgent(self.socket, byte) {
            // A Unix socket of a kernel without urgent bytes there: in line, rather than not at all.
            Err(Errno::OPNOTSUPP) => net::transmit(self.socket, &[byte]).map(drop).map_err(fault),
            result => result.map_err(fault),
        }
    }

    fn finish(&mut self) -> Result<(), Fault> {
        net::finish(self.socket);
        Ok(())
    }
}

fn fault(error: Errno) -> Fault {
    match error {
        Errno::AGAIN => Fault::WouldBlock,
        Errno::NOMEM | Errno::NOBUFS => Fault::NoMemory,
        _ => Fault::Lost,
    }
}
