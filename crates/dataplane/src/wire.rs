//! A session's two sockets as the relay's [`Wire`].

use crate::event::{Event, REQUEST_BYTES_MAX};
use crate::listener::Observe;
use crate::pipes::Pipes;
use crate::session::Extras;
use balancing::{Backend, Tally};
use relay::{Fault, Forwarded, Received, Urgent, Wire};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use sys::Errno;
use sys::net;
use terms::Side;

/// Performs a link's steps by system calls.
pub(crate) struct SocketWire<'a> {
    pub sockets: [BorrowedFd<'a>; 2],
    /// Which of them are Unix sockets, where only `EAGAIN` says that nothing is left: a read also
    /// stops after bytes that descriptors or credentials were sent with (unix(7)).
    pub is_unix: [bool; 2],
    pub buffer: &'a mut [u8],
    /// Where the session's own pipes are.
    pub extras: &'a mut Option<Box<Extras>>,
    pub pipes: &'a mut Pipes,
    pub tally: &'a Tally,
    /// Writes to the backend so far: the second one asks for no delay.
    pub upstream_writes: &'a mut u8,
    /// Bytes of the buffer that the last read gave to be passed on.
    pub passing: usize,
    /// What rewrites the client's bytes, if anything.
    pub rewriting: Option<Rewriting<'a>>,
    /// Who wants to see what is read, if anybody.
    pub watch: Option<Watch<'a>>,
}

/// Gives a client's HTTP requests their headers.
pub(crate) struct Rewriting<'a> {
    pub forwarded: &'a mut Forwarded,
    pub output: &'a mut Vec<u8>,
    /// Whether `output`, and not the buffer, is passed on.
    pub is_passing: bool,
}

/// What of a session's data is told, and as whose.
pub(crate) struct Watch<'a> {
    pub observe: Observe,
    pub client: Option<SocketAddr>,
    pub backend: &'a Arc<Backend>,
    /// Whether an end was reported: the original tells only of the first.
    pub end_reported: &'a mut bool,
    pub events: &'a mut Vec<Event>,
}

/// The largest block reported: what the original balance reads at once.
const BLOCK_BYTES_MAX: usize = 32_768;

impl SocketWire<'_> {
    fn socket(&self, side: Side) -> BorrowedFd<'_> {
        self.sockets[side as usize]
    }

    fn count(&mut self, to: Side, bytes: usize) {
        match to {
            Side::Upstream => self.tally.count_sent(bytes),
            Side::Downstream => self.tally.count_received(bytes),
        }
    }

    /// The client's socket inherited no-delay from the listener; the backend's is asked for it
    /// only when a second write shows that the session has more than one message.
    fn before_write(&mut self, to: Side) {
        if to == Side::Upstream && *self.upstream_writes < 2 {
            *self.upstream_writes += 1;
            if *self.upstream_writes == 2 {
                net::set_no_delay(self.socket(to));
            }
        }
    }

    /// How much to ask the kernel for.
    fn read_size(&self, from: Side, size: usize) -> usize {
        let blocks = self.watch.as_ref().is_some_and(|watch| watch.observe.blocks);
        let size = if blocks { size.min(BLOCK_BYTES_MAX) } else { size };
        match &self.rewriting {
            Some(rewriting) if from == Side::Downstream => rewriting.forwarded.read_size(size),
            _ => size,
        }
    }

    /// Rewrites and tells of what was read.
    #[cold]
    fn inspect(&mut self, from: Side, result: Result<usize, Fault>) {
        let bytes = &self.buffer[..self.passing];
        if let Some(watch) = &mut self.watch {
            watch.tell_block(from, result.map(|_| bytes));
        }
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.is_passing = false;
            if from == Side::Downstream {
                rewriting.rewrite(bytes, result);
            }
        }
        if from == Side::Downstream
            && let Some(mut watch) = self.watch.take()
        {
            watch.tell_request(self.passing());
            self.watch = Some(watch);
        }
    }
}

impl Rewriting<'_> {
    fn rewrite(&mut self, bytes: &[u8], result: Result<usize, Fault>) {
        match result {
            Ok(1..) => {
                if !self.forwarded.passes(bytes) {
                    self.output.clear();
                    self.forwarded.rewrite(bytes, self.output);
                    self.is_passing = true;
                }
            }
            Ok(0) | Err(Fault::Lost) => self.let_go(),
            Err(_) => {}
        }
    }

    /// Passes on what was held back.
    fn let_go(&mut self) {
        self.output.clear();
        self.forwarded.finish(self.output);
        self.is_passing = true;
    }
}

impl Watch<'_> {
    /// Whether what comes from this side must pass through memory.
    fn sees(&self, from: Side) -> bool {
        self.observe.blocks || from == Side::Downstream
    }

    /// Tells of a read, successful or not.
    fn tell_block(&mut self, from: Side, result: Result<&[u8], Fault>) {
        if !self.observe.blocks {
            return;
        }
        let bytes = match result {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(Fault::Lost) => None,
            Err(_) => return,
        };
        let is_end = bytes.as_ref().is_none_or(Vec::is_empty);
        if is_end && std::mem::replace(self.end_reported, true) {
            return;
        }
        let backend = Arc::clone(self.backend);
        self.events.push(Event::Block { from, client: self.client, backend, bytes });
    }

    /// Tells of a client's data that is passed on.
    fn tell_request(&mut self, bytes: &[u8]) {
        if self.observe.requests && !bytes.is_empty() {
            self.events.push(Event::Request {
                client: self.client,
                backend: Arc::clone(self.backend),
                bytes: bytes[..bytes.len().min(REQUEST_BYTES_MAX)].into(),
                whole_bytes: bytes.len(),
            });
        }
    }
}

impl Wire for SocketWire<'_> {
    #[inline]
    fn read(&mut self, side: Side, size: usize) -> Result<Received, Fault> {
        let is_plain = self.watch.is_none() && self.rewriting.is_none();
        let size = if is_plain { size } else { self.read_size(side, size) };
        let socket = self.sockets[side as usize];
        let result = net::receive(socket, &mut self.buffer[..size]).map_err(fault);
        self.passing = result.unwrap_or(0);
        if !is_plain {
            self.inspect(side, result);
        }
        let bytes = result?;
        // Whatever is held back waits for the next read to tell whether it is the end.
        let waits = self.rewriting.as_ref().is_some_and(|it| it.forwarded.holds_back());
        let may_go_on = self.is_unix[side as usize] || waits && side == Side::Downstream;
        Ok(Received { bytes, is_short: bytes < size && !may_go_on })
    }

    #[inline]
    fn passing(&self) -> &[u8] {
        match &self.rewriting {
            Some(rewriting) if rewriting.is_passing => rewriting.output,
            _ => &self.buffer[..self.passing],
        }
    }

    #[inline]
    fn write_passing(&mut self, side: Side) -> Result<usize, Fault> {
        self.before_write(side);
        let taken = net::transmit(self.socket(side), self.passing()).map_err(fault)?;
        self.count(side, taken);
        Ok(taken)
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Fault> {
        self.before_write(side);
        let taken = net::transmit(self.socket(side), bytes).map_err(fault)?;
        self.count(side, taken);
        Ok(taken)
    }

    fn splice_in(&mut self, side: Side, size: usize) -> Result<usize, Fault> {
        let rewritten = self.rewriting.is_some() && side == Side::Downstream;
        if rewritten || self.watch.as_ref().is_some_and(|watch| watch.sees(side)) {
            return Err(Fault::NoPipe);
        }
        let held = &mut self.extras.get_or_insert_default().pipes[side as usize];
        if held.is_none() {
            *held = self.pipes.take();
        }
        let Some(pipe) = held else { return Err(Fault::NoPipe) };
        match pipe.fill(self.sockets[side as usize], size) {
            // Not a socket that can be spliced.
            Err(Errno::INVAL) => Err(Fault::NoPipe),
            result => result.map_err(fault),
        }
    }

    fn splice_out(&mut self, from: Side, size: usize) -> Result<usize, Fault> {
        let to = from.other();
        self.before_write(to);
        let held = self.extras.as_ref().and_then(|extras| extras.pipes[from as usize].as_ref());
        let Some(pipe) = held else { return Err(Fault::Lost) };
        let taken = pipe.drain(self.socket(to), size).map_err(fault)?;
        self.count(to, taken);
        Ok(taken)
    }

    fn read_urgent(&mut self, side: Side) -> Urgent {
        self.passing = 0;
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.is_passing = false;
        }
        let socket = self.sockets[side as usize];
        if !net::is_at_mark(socket) {
            return Urgent::NotAtMark;
        }
        match net::receive(socket, &mut self.buffer[..1]) {
            Ok(1) => {
                // No request has an urgent byte in it.
                if side == Side::Downstream
                    && let Some(rewriting) = &mut self.rewriting
                {
                    rewriting.let_go();
                }
                Urgent::Byte(self.buffer[0])
            }
            _ => Urgent::NotAtMark,
        }
    }

    fn write_urgent(&mut self, side: Side, byte: u8) -> Result<(), Fault> {
        match net::transmit_urgent(self.socket(side), byte) {
            // A Unix socket that knows no urgent bytes: in line, rather than not at all.
            Err(Errno::OPNOTSUPP) => {
                net::transmit(self.socket(side), &[byte]).map(drop).map_err(fault)
            }
            result => result.map_err(fault),
        }
    }

    fn finish(&mut self, side: Side) -> Result<(), Fault> {
        net::finish(self.socket(side));
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
