//! The layer around a wire whose data is inspected.

use super::{Rewriting, Watch};
use crate::tap::SessionTap;
use relay::{Fault, Received, Urgent, Wire};
use terms::Side;

/// A wire whose data is reported when it arrives, then rewritten, then reported when it is passed
/// on.
pub(crate) struct Inspected<'a, W> {
    pub inner: W,
    /// The rewriting of the client's data, if any.
    pub rewriting: Option<Rewriting<'a>>,
    /// The observer of the data, if any.
    pub watch: Option<Watch<'a>>,
    /// What an operator sees of it, if one watches.
    pub tap: Option<&'a mut SessionTap>,
}

impl<W: Wire> Inspected<'_, W> {
    fn read_size(&self, from: Side, size: usize) -> usize {
        let size = self.watch.as_ref().map_or(size, |watch| watch.read_size(size));
        match &self.rewriting {
            Some(rewriting) if from == Side::Downstream => rewriting.forwarded.read_size(size),
            _ => size,
        }
    }

    fn inspect(&mut self, from: Side, result: Result<Received, Fault>) {
        let bytes = self.inner.passing();
        if let Some(watch) = &mut self.watch {
            watch.tell_block(from, bytes, result);
        }
        if let Some(tap) = &mut self.tap {
            tap.tell(from, bytes, result);
        }
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.is_passing = false;
            if from == Side::Downstream {
                rewriting.rewrite(bytes, result);
            }
        }
        if from == Side::Downstream
            && let Some(watch) = &mut self.watch
        {
            let rewritten = self.rewriting.as_ref().and_then(Rewriting::output);
            watch.tell_request(rewritten.unwrap_or(bytes));
        }
    }
}

impl<W: Wire> Wire for Inspected<'_, W> {
    fn read(&mut self, side: Side, size: usize) -> Result<Received, Fault> {
        let result = self.inner.read(side, self.read_size(side, size));
        self.inspect(side, result);
        let mut received = result?;
        if side == Side::Downstream
            && let Some(rewriting) = &self.rewriting
        {
            // What is held back waits for the next read to say whether it is the end.
            received.is_short &= !rewriting.forwarded.holds_back();
        }
        Ok(received)
    }

    fn passing(&self) -> &[u8] {
        let rewritten = self.rewriting.as_ref().and_then(Rewriting::output);
        rewritten.unwrap_or_else(|| self.inner.passing())
    }

    fn write_passing(&mut self, side: Side) -> Result<usize, Fault> {
        match self.rewriting.as_ref().and_then(Rewriting::output) {
            Some(rewritten) => self.inner.write(side, rewritten),
            None => self.inner.write_passing(side),
        }
    }

    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Fault> {
        self.inner.write(side, bytes)
    }

    fn splice_in(&mut self, side: Side, size: usize) -> Result<usize, Fault> {
        let rewritten = self.rewriting.is_some() && side == Side::Downstream;
        if rewritten || self.watch.as_ref().is_some_and(|watch| watch.sees(side)) {
            return Err(Fault::NoPipe);
        }
        if self.tap.as_ref().is_some_and(|tap| !tap.is_done()) {
            return Err(Fault::NoPipe);
        }
        self.inner.splice_in(side, size)
    }

    fn splice_out(&mut self, from: Side, size: usize) -> Result<usize, Fault> {
        self.inner.splice_out(from, size)
    }

    fn read_urgent(&mut self, side: Side) -> Urgent {
        let urgent = self.inner.read_urgent(side);
        if let (Some(tap), Urgent::Byte(byte)) = (&mut self.tap, urgent) {
            tap.tell(side, &[byte], Ok(Received { bytes: 1, is_short: false }));
        }
        if let Some(rewriting) = &mut self.rewriting {
            rewriting.is_passing = false;
            // No request has an urgent byte in it.
            if side == Side::Downstream && matches!(urgent, Urgent::Byte(_)) {
                rewriting.let_go();
            }
        }
        urgent
    }

    fn write_urgent(&mut self, side: Side, byte: u8) -> Result<(), Fault> {
        self.inner.write_urgent(side, byte)
    }

    fn finish(&mut self, side: Side) -> Result<(), Fault> {
        self.inner.finish(side)
    }
}
