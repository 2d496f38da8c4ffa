//! Adds headers to a client's HTTP requests.

use relay::{Fault, Forwarded, Received};

/// The rewriting of a client's data on its way to the backend.
pub(crate) struct Rewriting<'a> {
    pub forwarded: &'a mut Forwarded,
    pub output: &'a mut Vec<u8>,
    /// Whether `output` is passed on instead of what was read.
    pub is_passing: bool,
}

impl Rewriting<'_> {
    /// The data to pass on instead of what was read, if it was changed.
    pub fn output(&self) -> Option<&[u8]> {
        self.is_passing.then_some(self.output.as_slice())
    }

    /// Takes in a read from the client, successful or not.
    pub fn rewrite(&mut self, bytes: &[u8], result: Result<Received, Fault>) {
        match result {
            Ok(Received { bytes: 0, .. }) | Err(Fault::Lost) => self.let_go(),
            Ok(_) => {
                if !self.forwarded.passes(bytes) {
                    self.output.clear();
                    self.forwarded.rewrite(bytes, self.output);
                    self.is_passing = true;
                }
            }
            Err(_) => {}
        }
    }

    /// Passes on what was held back.
    pub fn let_go(&mut self) {
        self.output.clear();
        self.forwarded.finish(self.output);
        self.is_passing = true;
    }
}
