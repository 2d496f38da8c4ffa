//! A worker's pipes: created when bulk data needs them, kept for reuse, never held by idle
//! sessions.

use relay::READ_BYTES_MAX;
use sys::pipe::Pipe;

/// The pipes that are not in use, and the maximum number of pipes.
#[derive(Debug)]
pub struct Pipes {
    idle: Vec<Pipe>,
    made: usize,
    most: usize,
}

impl Pipes {
    /// No pipes yet, and never more than `most`: beyond that, streams are copied.
    pub fn new(most: usize) -> Self {
        Self { idle: Vec::new(), made: 0, most }
    }

    /// An empty pipe, if there may be one more.
    pub fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if self.made >= self.most {
            return None;
        }
        let pipe = Pipe::new(READ_BYTES_MAX).ok()?;
        self.made += 1;
        Some(pipe)
    }

    /// Takes back an empty pipe.
    pub fn give_back(&mut self, pipe: Pipe) {
        self.idle.push(pipe);
    }

    /// Takes back a pipe that still has bytes in it: it cannot serve another session.
    pub fn discard(&mut self, pipe: Pipe) {
        drop(pipe);
        self.made -= 1;
    }

    /// Closes unused pipes, because file descriptors are short.
    pub fn shrink(&mut self) {
        self.made -= self.idle.len();
        self.idle.clear();
    }
}
