//! The k-way merge: of the next line of every access log the earliest, in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::requests::ServerId;
use crate::input::{InputError, Lines};
use crate::lines::access::{Access, Layout};
use crate::lines::pattern::Pattern;
use crate::lines::{Millis, json};

/// How the lines of access logs look.
#[derive(Debug, Clone)]
pub enum Format {
    /// Each line by itself: JSON when it begins with `{`, else common or combined.
    Auto,
    /// Common, combined, or with a virtual host in front.
    Layout(Layout),
    /// JSON objects.
    Json,
    /// As a pattern says.
    Pattern(Pattern),
}

impl Format {
    fn parse(&self, line: &[u8]) -> Option<Access> {
        match self {
            Self::Auto if line.first() == Some(&b'{') => json::parse(line),
            Self::Auto => Access::parse(line, Layout::ClientFirst),
            Self::Layout(layout) => Access::parse(line, *layout),
            Self::Json => json::parse(line),
            Self::Pattern(pattern) => pattern.parse(line),
        }
    }
}

/// One access log, stopped at its current line.
pub struct Log {
    /// Whose log it is.
    pub server: ServerId,
    lines: Lines,
    /// What is taken off its stamps.
    skew: Millis,
    current: Option<Access>,
}

impl Log {
    /// A log of a server whose clock is fast by `skew`.
    pub fn new(server: ServerId, lines: Lines, skew: Millis) -> Self {
        Self { server, lines, skew, current: None }
    }

    /// The current line.
    pub fn line(&self) -> &[u8] {
        self.lines.line()
    }

    /// The fields of the current line.
    pub fn access(&self) -> &Access {
        self.current.as_ref().expect("a log is only shown at a line that was read")
    }
}

/// What happens to lines that are not in the output.
pub trait Reject {
    /// A line that has no such format.
    fn line(&mut self, line: &[u8]);
    /// A line or the rest of a file that cannot be read.
    fn input(&mut self, error: InputError);
}

/// All access logs.
pub struct Merge {
    logs: Vec<Log>,
    format: Format,
    /// The instants of the current lines; of equal ones the log named first comes first.
    heads: BinaryHeap<Reverse<(Millis, usize)>>,
    started: bool,
}

impl Merge {
    /// Nothing is read yet.
    pub fn new(logs: Vec<Log>, format: Format) -> Self {
        Self { logs, format, heads: BinaryHeap::new(), started: false }
    }

    /// The log whose current line is next. Ask again for the line after it.
    pub fn next(&mut self, reject: &mut dyn Reject) -> Option<&Log> {
        if self.started {
            // The line given last time is done with; its log moves on.
            if let Some(Reverse((_, index))) = self.heads.pop() {
                self.advance(index, reject);
            }
        } else {
            self.started = true;
            for index in 0..self.logs.len() {
                self.advance(index, reject);
            }
        }
        let Reverse((_, index)) = self.heads.peek()?;
        Some(&self.logs[*index])
    }

    fn advance(&mut self, index: usize, reject: &mut dyn Reject) {
        let log = &mut self.logs[index];
        loop {
            match log.lines.advance() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    reject.input(error);
                    continue;
                }
            }
            match self.format.parse(log.lines.line()) {
                Some(mut access) => {
                    access.instant -= log.skew;
                    self.heads.push(Reverse((access.instant, index)));
                    log.current = Some(access);
                    return;
                }
                None => reject.line(log.lines.line()),
            }
        }
    }
}
