//! Both ends of a session. Data read from one end is in the worker's buffer or in a pipe, and data
//! written to an end is counted.

use super::Transport;
use crate::pipes::Pipes;
use crate::session::Extras;
use balancing::Tally;
use relay::{Fault, Received, Urgent, Wire};
use terms::Side;

/// Two connections between which data passes unseen.
pub(crate) struct Ends<'a, T> {
    /// By [`Side`].
    pub transports: [T; 2],
    pub buffer: &'a mut [u8],
    /// The bytes of the buffer that are to be passed on after the last read.
    pub passing: usize,
    /// The session's own pipes.
    pub extras: &'a mut Option<Box<Extras>>,
    pub pipes: &'a mut Pipes,
    pub tally: &'a Tally,
}

impl<T: Transport> Ends<'_, T> {
    #[inline]
    fn count(&self, to: Side, bytes: usize) {
        match to {
            Side::Upstream => self.tally.count_sent(bytes),
            Side::Downstream => self.tally.count_received(bytes),
        }
    }
}

impl<T: Transport> Wire for Ends<'_, T> {
    #[inline]
    fn read(&mut self, side: Side, size: usize) -> Result<Received, Fault> {
        let result = self.transports[side as usize].receive(&mut self.buffer[..size]);
        self.passing = result.map_or(0, |received| received.bytes);
        result
    }

    #[inline]
    fn passing(&self) -> &[u8] {
        &self.buffer[..self.passing]
    }

    #[inline]
    fn write_passing(&mut self, side: Side) -> Result<usize, Fault> {
        let taken = self.transports[side as usize].transmit(&self.buffer[..self.passing])?;
        self.count(side, taken);
        Ok(taken)
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Fault> {
        let taken = self.transports[side as usize].transmit(bytes)?;
        self.count(side, taken);
        Ok(taken)
    }

    fn splice_in(&mut self, side: Side, size: usize) -> Result<usize, Fault> {
        if !T::SPLICES {
            return Err(Fault::NoPipe);
        }
        let held = &mut self.extras.get_or_insert_default().pipes[side as usize];
        if held.is_none() {
            *held = self.pipes.take();
        }
        let Some(pipe) = held else { return Err(Fault::NoPipe) };
        self.transports[side as usize].fill(pipe, size)
    }

    fn splice_out(&mut self, from: Side, size: usize) -> Result<usize, Fault> {
        let held = self.extras.as_ref().and_then(|extras| extras.pipes[from as usize].as_ref());
        let Some(pipe) = held else { return Err(Fault::Lost) };
        let to = from.other();
        let taken = self.transports[to as usize].drain(pipe, size)?;
        self.count(to, taken);
        Ok(taken)
    }

    fn read_urgent(&mut self, side: Side) -> Urgent {
        self.passing = 0;
        self.transports[side as usize].receive_urgent()
    }

    fn write_urgent(&mut self, side: Side, byte: u8) -> Result<(), Fault> {
        self.transports[side as usize].transmit_urgent(byte)
    }

    fn finish(&mut self, side: Side) -> Result<(), Fault> {
        self.transports[side as usize].finish()
    }
}
