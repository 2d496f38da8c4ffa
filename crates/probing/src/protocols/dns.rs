//! DNS: a question for the address of a name, or for the name servers of the root.
//! Source: RFC 1035, section 4; RFC 7766, section 8.

use super::{Read, Talk};

/// Over TCP, with lengths before messages.
pub(super) struct OverTcp {
    query: Vec<u8>,
}

/// A message in a datagram.
pub(super) struct OverUdp {
    query: Vec<u8>,
}

/// A single question needs no secret id on a connection of its own.
const ID: [u8; 2] = [0x45, 0x4b];
const HEADER_BYTES: usize = 12;

impl OverTcp {
    pub fn new(name: &str) -> Self {
        let mut message = query(name, ID);
        let mut query = (message.len() as u16).to_be_bytes().to_vec();
        query.append(&mut message);
        Self { query }
    }
}

impl OverUdp {
    pub fn new(name: &str, nonce: u64) -> Self {
        let [first, second, ..] = nonce.to_be_bytes();
        Self { query: query(name, [first, second]) }
    }
}

fn query(name: &str, id: [u8; 2]) -> Vec<u8> {
    let mut message = id.to_vec();
    // Recursion desired, one question.
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|it| !it.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label.as_bytes());
    }
    let kind = if name == "." { NS } else { A };
    message.extend_from_slice(&[0, 0, kind, 0, IN]);
    message
}

const A: u8 = 1;
const NS: u8 = 2;
const IN: u8 = 1;

/// The response bit.
const RESPONSE: u8 = 0x80;

/// What the header of an answer says.
fn judge(header: &[u8]) -> Read {
    match header[3] & 0x0f {
        0 => Read::Passed,
        code => {
            let names = ["no error", "form error", "server failure", "no such name"];
            let more = ["not implemented", "refused"];
            let name = names.iter().chain(&more).nth(usize::from(code));
            Read::Failed(format!("answered: {}", name.unwrap_or(&"an error")))
        }
    }
}

impl Talk for OverTcp {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(&self.query);
        Read::More
    }

    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        let Some(header) = received.get(2..2 + HEADER_BYTES) else { return Read::More };
        if header[..2] != ID || header[2] & RESPONSE == 0 {
            return Read::answered(received);
        }
        judge(header)
    }
}

impl Talk for OverUdp {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(&self.query);
        Read::More
    }

    /// Of an answer to another question nothing is made: it may be late, or forged. A truncated
    /// answer is one.
    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        let Some(header) = received.get(..HEADER_BYTES) else { return Read::More };
        let question = &self.query[HEADER_BYTES..];
        let is_answer = header[..2] == self.query[..2] && header[2] & RESPONSE != 0;
        // A server that cannot read the question need not repeat it.
        let repeats = received[HEADER_BYTES..].starts_with(question) || header[5] == 0;
        if is_answer && repeats { judge(header) } else { Read::More }
    }
}
