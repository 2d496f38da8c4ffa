//! Redis: an answer to PING, or the role that INFO reports.
//! Source: Redis serialization protocol specification; commands PING, INFO, QUIT.

use super::{Read, Talk, line};
use crate::Role;

pub(super) struct Redis {
    role: Option<Role>,
}

impl Redis {
    pub fn new(role: Option<Role>) -> Self {
        Self { role }
    }
}

impl Talk for Redis {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(match self.role {
            None => b"PING\r\n",
            Some(_) => b"INFO replication\r\n",
        });
        Read::More
    }

    fn read(&mut self, received: &[u8], send: &mut Vec<u8>) -> Read {
        let Some((first, length)) = line(received) else { return Read::More };
        let Some(role) = self.role else {
            send.extend_from_slice(QUIT);
            let is_good = SERVES.iter().any(|it| first.starts_with(it));
            return if is_good { Read::Passed } else { Read::answered(first) };
        };
        if !first.starts_with(b"$") {
            send.extend_from_slice(QUIT);
            return Read::answered(first);
        }
        let word: &[u8] = match role {
            Role::Primary => b"master",
            Role::Replica => b"slave",
        };
        let mut rest = &received[length..];
        while let Some((text, length)) = line(rest) {
            if let Some(is) = text.strip_prefix(b"role:") {
                send.extend_from_slice(QUIT);
                return if is == word { Read::Passed } else { Read::answered(text) };
            }
            rest = &rest[length..];
        }
        Read::More
    }
}

/// Answers to PING. A server that wants a password serves those who have it.
const SERVES: [&[u8]; 3] = [b"+PONG", b"-NOAUTH", b"-NOPERM"];
const QUIT: &[u8] = b"QUIT\r\n";
