//! An agent's line.
//! Source: HAProxy's configuration manual, section 5.2, `agent-check` and `agent-send`.

use super::{Read, Talk};
use crate::Advice;

pub(crate) struct Agent {
    question: Vec<u8>,
    advice: Advice,
}

impl Agent {
    pub fn new(question: &[u8], advice: Advice) -> Self {
        Self { question: question.to_vec(), advice }
    }

    fn judge(&mut self, line: &[u8]) -> Read {
        match self.advice.fold(line) {
            Ok(()) => Read::Passed,
            Err(why) => Read::Failed(why),
        }
    }
}

impl Talk for Agent {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.append(&mut self.question);
        Read::More
    }

    /// The line ends with its first CR or LF, or with the connection.
    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        match received.iter().position(|it| matches!(it, b'\r' | b'\n')) {
            Some(end) => self.judge(&received[..end]),
            None => Read::More,
        }
    }

    fn end(&mut self, received: &[u8]) -> Read {
        if received.is_empty() { Read::More } else { self.judge(received) }
    }

    fn advice(&self) -> Option<&Advice> {
        Some(&self.advice)
    }
}
