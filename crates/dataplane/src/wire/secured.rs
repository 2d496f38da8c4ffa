//! A socket whose bytes are TLS records.

use super::{Plain, Transport};
use crate::secure::{Loss, Records, Secure};
use relay::{Fault, Opening, READ_BYTES_MAX, Received, Urgent, read_client_hello};
use sys::pipe::Pipe;
use terms::TlsFault;
use tls::{Failure, RECORDS_ROOM};

/// How much is received at once, at most.
const RECEIVED_AT_ONCE: usize = 256 << 10;
/// How much is encrypted before it is sent. More would leave the cache.
const SEALED_AT_ONCE: usize = 128 << 10;
/// The longest record, and some more.
const RECORD_BYTES: usize = 18 << 10;
/// Handshake messages that are incomplete, at most. The longest one has 64 kB.
const HELD_MAX: usize = 100 << 10;
const SCRATCH_BYTES: usize = HELD_MAX + RECEIVED_AT_ONCE + RECORDS_ROOM;
const _: () = assert!(SEALED_AT_ONCE + RECORDS_ROOM <= SCRATCH_BYTES);
const _: () = assert!(SEALED_AT_ONCE <= READ_BYTES_MAX);

/// One side's socket with its TLS.
pub(crate) struct Secured<'a> {
    pub socket: Plain<'a>,
    pub tls: &'a mut Secure,
    pub records: &'a Records,
    /// Whether the peer is known to have closed its side of the socket.
    pub is_hung_up: bool,
}

/// What a read of records has brought.
struct Fetched {
    /// All that is now at the beginning of the worker's memory.
    length: usize,
    /// Whether the socket had no more.
    is_all: bool,
}

impl<'a> Secured<'a> {
    /// Reads up to `size` bytes of records after those held.
    fn fetch(&mut self, scratch: &mut Vec<u8>, size: usize) -> Result<Fetched, Fault> {
        if scratch.is_empty() {
            scratch.resize(SCRATCH_BYTES, 0);
        }
        let held = self.tls.held.len();
        let size = size.clamp(RECORD_BYTES, RECEIVED_AT_ONCE);
        scratch[..held].copy_from_slice(&self.tls.held);
        let received = self.socket.receive(&mut scratch[held..held + size])?;
        if received.bytes == 0 {
            return Err(self.tls.lose(Loss::Truncated));
        }
        self.tls.has_received = true;
        Ok(Fetched { length: held + received.bytes, is_all: received.is_short })
    }

    /// Keeps what is left of the records, and answers the peer.
    fn keep(&mut self, rest: &[u8], answer: Vec<u8>) -> Result<(), Fault> {
        if rest.len() > HELD_MAX {
            return Err(self.tls.lose(Loss::Protocol(Failure::TooLong)));
        }
        self.tls.held = rest.to_vec();
        self.answer(answer)
    }

    fn answer(&mut self, answer: Vec<u8>) -> Result<(), Fault> {
        if answer.is_empty() {
            return Ok(());
        }
        if self.tls.unsent.is_empty() {
            self.tls.unsent = answer;
        } else {
            self.tls.unsent.extend_from_slice(&answer);
        }
        match self.flush() {
            Err(Fault::Lost) => Err(Fault::Lost),
            _ => Ok(()),
        }
    }

    /// Sends an alert, if there is one, before the connection is given up.
    fn refuse(&mut self, failure: Failure, alert: Vec<u8>) -> Fault {
        let _ = self.answer(alert);
        self.tls.lose(Loss::Protocol(failure))
    }

    /// Takes note of what the client asks for, as soon as its ClientHello is complete. `buffer` is
    /// for a copy, because reading may change it.
    fn note_hello(&mut self, records: &[u8], buffer: &mut [u8]) {
        if self.tls.has_greeted || !self.tls.channel.is_server() {
            return;
        }
        let Some(copy) = buffer.get_mut(..records.len()) else { return };
        copy.copy_from_slice(records);
        match read_client_hello(copy) {
            Opening::Incomplete(_) => return,
            Opening::Hello(hello) => self.tls.server_name = hello.server_name.map(Into::into),
            Opening::Other => {}
        }
        self.tls.has_greeted = true;
    }

    /// Says the first word of a handshake, which is the client's.
    pub fn begin(&mut self) -> Result<(), Fault> {
        let mut hello = Vec::new();
        match self.tls.channel.shake(&mut [], &mut hello) {
            Ok(_) => self.answer(hello),
            Err(failure) => Err(self.refuse(failure, hello)),
        }
    }

    /// Continues the handshake with what has been received. Returns whether it is complete.
    pub fn shake(&mut self, buffer: &mut [u8]) -> Result<bool, Fault> {
        let _ = self.flush(); // what cannot be sent yet does not keep us from receiving
        let records = self.records;
        let scratch = &mut *records.borrow_mut();
        let Fetched { length, .. } = self.fetch(scratch, RECEIVED_AT_ONCE)?;
        self.note_hello(&scratch[..length], buffer);
        let mut answer = Vec::new();
        match self.tls.channel.shake(&mut scratch[..length], &mut answer) {
            Ok(shaken) => {
                self.keep(&scratch[shaken.used..length], answer)?;
                Ok(shaken.is_done)
            }
            Err(failure) => {
                // Whoever does not speak TLS cannot read an alert.
                let speaks = failure.fault() != TlsFault::NotTls;
                Err(self.refuse(failure, if speaks { answer } else { Vec::new() }))
            }
        }
    }

    /// Sends the records that the socket did not take before. [`Fault::WouldBlock`] if some are
    /// left.
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.send_unsent(Plain::transmit)
    }

    fn send_unsent(
        &mut self,
        transmit: impl FnOnce(&mut Plain<'a>, &[u8]) -> Result<usize, Fault>,
    ) -> Result<(), Fault> {
        if self.tls.unsent.is_empty() {
            return Ok(());
        }
        match transmit(&mut self.socket, &self.tls.unsent) {
            Ok(sent) if sent == self.tls.unsent.len() => {
                self.tls.unsent = Vec::new();
                Ok(())
            }
            Ok(sent) => {
                self.tls.unsent.drain(..sent);
                Err(Fault::WouldBlock)
            }
            Err(Fault::Lost) => Err(self.tls.lose(Loss::Socket)),
            Err(fault) => Err(fault),
        }
    }

    /// Sends the close_notify, unless that was done. Returns whether nothing is left to be sent: the
    /// socket is to be closed then.
    pub fn close(&mut self) -> bool {
        self.send_last() != Err(Fault::WouldBlock)
    }

    fn send_last(&mut self) -> Result<(), Fault> {
        self.tls.close();
        self.send_unsent(Plain::transmit_last)
    }

    fn check(&self) -> Result<(), Fault> {
        if self.tls.is_lost() { Err(Fault::Lost) } else { Ok(()) }
    }
}

impl Transport for Secured<'_> {
    const SPLICES: bool = false;

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Fault> {
        self.check()?;
        let records = self.records;
        let scratch = &mut *records.borrow_mut();
        loop {
            let channel = &mut self.tls.channel;
            let mut answer = Vec::new();
            if channel.is_waiting() {
                let opened = channel.open(&mut [], buffer, &mut answer);
                let bytes = opened.map_or(0, |opened| opened.plain);
                return Ok(Received { bytes, is_short: false });
            }
            if channel.has_peer_closed() {
                return Ok(Received { bytes: 0, is_short: false });
            }
            let Fetched { length, is_all } = self.fetch(scratch, buffer.len())?;
            let opened = self.tls.channel.open(&mut scratch[..length], buffer, &mut answer);
            let opened =
                opened.map_err(|failure| self.refuse(failure, std::mem::take(&mut answer)))?;
            let channel = &self.tls.channel;
            // An end of file is still to be read, and says whether this was all.
            let is_short =
                is_all && !self.is_hung_up && !channel.is_waiting() && !channel.has_peer_closed();
            self.keep(&scratch[opened.used..length], answer)?;
            if opened.plain > 0 {
                return Ok(Received { bytes: opened.plain, is_short });
            }
            if is_short {
                return Err(Fault::WouldBlock);
            }
        }
    }

    fn transmit(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        self.check()?;
        self.flush()?;
        let records = self.records;
        let scratch = &mut *records.borrow_mut();
        if scratch.is_empty() {
            scratch.resize(SCRATCH_BYTES, 0);
        }
        let mut taken = 0;
        for plain in bytes.chunks(SEALED_AT_ONCE) {
            let length = match self.tls.channel.seal(plain, scratch, &mut self.tls.held) {
                Ok(length) => length,
                Err(failure) => return Err(self.refuse(failure, Vec::new())),
            };
            taken += plain.len();
            match self.socket.transmit(&scratch[..length]) {
                Ok(sent) if sent == length => {}
                Ok(sent) => {
                    self.tls.unsent = scratch[sent..length].to_vec();
                    break;
                }
                Err(Fault::Lost) => return Err(self.tls.lose(Loss::Socket)),
                // They are sealed, so they count as taken: nothing else may follow before them.
                Err(_) => {
                    self.tls.unsent = scratch[..length].to_vec();
                    break;
                }
            }
        }
        Ok(taken)
    }

    fn fill(&mut self, _: &Pipe, _: usize) -> Result<usize, Fault> {
        Err(Fault::NoPipe)
    }

    fn drain(&mut self, _: &Pipe, _: usize) -> Result<usize, Fault> {
        Err(Fault::NoPipe)
    }

    fn receive_urgent(&mut self) -> Urgent {
        Urgent::NotAtMark
    }

    /// Records have no urgent bytes: it goes in line, so that it is not lost.
    fn transmit_urgent(&mut self, byte: u8) -> Result<(), Fault> {
        self.transmit(&[byte]).map(drop)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.check()?;
        self.send_last()?;
        self.socket.finish()
    }
}

/// One side of a session of which at least one side is secured.
pub(crate) enum Either<'a> {
    Plain(Plain<'a>),
    Secured(Secured<'a>),
}

impl<'a> Either<'a> {
    pub fn new(
        socket: Plain<'a>,
        tls: Option<&'a mut Secure>,
        records: &'a Records,
        is_hung_up: bool,
    ) -> Self {
        match tls {
            Some(tls) => Self::Secured(Secured { socket, tls, records, is_hung_up }),
            None => Self::Plain(socket),
        }
    }

    /// Sends what was sealed before, as far as possible.
    pub fn flush(&mut self) {
        if let Self::Secured(it) = self {
            let _ = it.flush();
        }
    }
}

impl Transport for Either<'_> {
    const SPLICES: bool = false;

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Fault> {
        match self {
            Self::Plain(it) => it.receive(buffer),
            Self::Secured(it) => it.receive(buffer),
        }
    }

    fn transmit(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match self {
            Self::Plain(it) => it.transmit(bytes),
            Self::Secured(it) => it.transmit(bytes),
        }
    }

    fn fill(&mut self, _: &Pipe, _: usize) -> Result<usize, Fault> {
        Err(Fault::NoPipe)
    }

    fn drain(&mut self, _: &Pipe, _: usize) -> Result<usize, Fault> {
        Err(Fault::NoPipe)
    }

    fn receive_urgent(&mut self) -> Urgent {
        match self {
            Self::Plain(it) => it.receive_urgent(),
            Self::Secured(it) => it.receive_urgent(),
        }
    }

    fn transmit_urgent(&mut self, byte: u8) -> Result<(), Fault> {
        match self {
            Self::Plain(it) => it.transmit_urgent(byte),
            Self::Secured(it) => it.transmit_urgent(byte),
        }
    }

    fn finish(&mut self) -> Result<(), Fault> {
        match self {
            Self::Plain(it) => it.finish(),
            Self::Secured(it) => it.finish(),
        }
    }
}
