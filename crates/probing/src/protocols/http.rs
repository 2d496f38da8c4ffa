//! HTTP: a GET request, and the status of the answer. Source: RFC 9110, RFC 9112.

use super::{Read, Talk, line};
use crate::Statuses;

pub(super) struct Http {
    request: String,
    status: Statuses,
}

impl Http {
    pub fn new(path: &str, host: &str, status: &Statuses) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: evenkeel-probe\r\nAccept: */*\r\n\
             Connection: close\r\n\r\n"
        );
        Self { request, status: status.clone() }
    }
}

impl Talk for Http {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(self.request.as_bytes());
        Read::More
    }

    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        let begin = b"HTTP/1.";
        if !received.starts_with(&begin[..received.len().min(begin.len())]) {
            return Read::answered(received);
        }
        let Some((first, _)) = line(received) else { return Read::More };
        let status = first.get(9..12).filter(|_| first.get(8) == Some(&b' '));
        let status = status.and_then(|it| std::str::from_utf8(it).ok());
        match status.and_then(|it| it.parse().ok()) {
            Some(status) if self.status.contains(status) => Read::Passed,
            _ => Read::answered(first),
        }
    }
}
