//! A session's two connections as the relay's [`Wire`](relay::Wire), in layers.
//!
//! ~~~text
//!   relay::pump --> [Inspected] ---------> Ends --------------> one Transport per side
//!                   rewrites HTTP heads,   reads into the       a plain socket,
//!                   reports what passes    worker's buffer,     or TLS on one
//!                   (where asked for)      pipes, counting
//! ~~~
//!
//! The layers are known when a session is pumped, and each combination is compiled, so that
//! sessions pay nothing for layers that they do not have.

mod ends;
mod inspected;
mod observe;
mod plain;
mod rewrite;
mod secured;

pub(crate) use ends::Ends;
pub(crate) use inspected::Inspected;
pub(crate) use observe::Watch;
pub(crate) use plain::Plain;
pub(crate) use rewrite::Rewriting;
pub(crate) use secured::{Either, Secured};

use relay::{Fault, Received, Urgent};
use sys::pipe::Pipe;

/// One side's connection. It moves bytes and knows nothing about sessions.
pub(crate) trait Transport {
    /// Whether bytes can go through pipes between two of these.
    const SPLICES: bool;
    /// Reads into `buffer`; zero bytes mean end of file. Data that a transport has received but not
    /// handed out causes no event, so [`Received::is_short`] is false for as long as there is more
    /// to read.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Fault>;
    /// Writes as many of the `bytes` as are taken.
    fn transmit(&mut self, bytes: &[u8]) -> Result<usize, Fault>;
    /// Moves up to `size` bytes into `pipe`. [`Fault::NoPipe`] if they must pass through memory.
    fn fill(&mut self, pipe: &Pipe, size: usize) -> Result<usize, Fault>;
    /// Moves up to `size` bytes out of `pipe`.
    fn drain(&mut self, pipe: &Pipe, size: usize) -> Result<usize, Fault>;
    /// Reads the urgent byte if it is next.
    fn receive_urgent(&mut self) -> Urgent;
    /// Writes an urgent byte.
    fn transmit_urgent(&mut self, byte: u8) -> Result<(), Fault>;
    /// Sends an end of file. [`Fault::WouldBlock`] if that must wait until the peer takes more
    /// data.
    fn finish(&mut self) -> Result<(), Fault>;
}
