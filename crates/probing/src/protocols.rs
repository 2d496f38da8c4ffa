//! The dialogues of the probes, a file for each family.

mod agent;
mod binary;
mod dns;
mod http;
mod lines;
mod mysql;
mod ntp;
mod pgsql;
mod redis;
#[cfg(test)]
mod tests;

pub(crate) use agent::Agent;

use crate::text::quoted;
use crate::{Advice, Probe};

/// One side of a dialogue.
pub(crate) trait Talk {
    /// The connection has been made.
    fn start(&mut self, send: &mut Vec<u8>) -> Read;
    /// These bytes have come, and have not been taken yet.
    fn read(&mut self, received: &[u8], send: &mut Vec<u8>) -> Read;
    /// The server has ended the connection after these bytes, which have not been taken.
    fn end(&mut self, _: &[u8]) -> Read {
        Read::More
    }
    /// What an agent advises.
    fn advice(&self) -> Option<&Advice> {
        None
    }
}

/// What comes of what has been received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// More is needed.
    More,
    /// So many bytes have been dealt with; there may be something in the others.
    Took(usize),
    Passed,
    Failed(String),
}

impl Read {
    /// The server has answered with something else than it should.
    fn answered(what: &[u8]) -> Self {
        Self::Failed(format!("answered {}", quoted(what)))
    }
}

pub(crate) fn of(probe: &Probe, host: &str, nonce: u64) -> Box<dyn Talk + Send> {
    match probe {
        Probe::Tcp => Box::new(Tcp),
        Probe::Http { path, host: named, status } => {
            Box::new(http::Http::new(path, named.as_deref().unwrap_or(host), status))
        }
        Probe::Expect { send, expect } => {
            Box::new(Expect { send: send.clone(), expect: expect.clone() })
        }
        Probe::Pgsql { user, database, role } => {
            Box::new(pgsql::Pgsql::new(user, database.as_deref(), *role))
        }
        Probe::Mysql { user, role } => Box::new(mysql::Mysql::new(user, *role)),
        Probe::Redis { role } => Box::new(redis::Redis::new(*role)),
        Probe::Smtp => Box::new(lines::Lines::smtp()),
        Probe::Imap => Box::new(lines::Lines::imap()),
        Probe::Pop3 => Box::new(lines::Lines::pop3()),
        Probe::Ftp => Box::new(lines::Lines::ftp()),
        Probe::Ssh => Box::new(lines::Lines::ssh()),
        Probe::Memcached => Box::new(lines::Lines::memcached()),
        Probe::Ldap => Box::new(binary::Ldap),
        Probe::Mqtt => Box::new(binary::Mqtt),
        Probe::Dns { name, is_udp: false } => Box::new(dns::OverTcp::new(name)),
        Probe::Dns { name, is_udp: true } => Box::new(dns::OverUdp::new(name, nonce)),
        Probe::Ntp => Box::new(ntp::Ntp::new(nonce)),
        Probe::Command(_) => Box::new(Command),
    }
}

/// A connection is all that is asked for.
struct Tcp;

impl Talk for Tcp {
    fn start(&mut self, _: &mut Vec<u8>) -> Read {
        Read::Passed
    }

    fn read(&mut self, _: &[u8], _: &mut Vec<u8>) -> Read {
        Read::Passed
    }
}

/// A command is run; there is nobody to talk to.
struct Command;

impl Talk for Command {
    fn start(&mut self, _: &mut Vec<u8>) -> Read {
        Read::Failed("a command is not asked over a connection".to_owned())
    }

    fn read(&mut self, _: &[u8], send: &mut Vec<u8>) -> Read {
        self.start(send)
    }
}

/// Bytes, and others that the answer must have in it.
struct Expect {
    send: Vec<u8>,
    expect: Vec<u8>,
}

impl Talk for Expect {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(&self.send);
        Read::More
    }

    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        let is_there = received.windows(self.expect.len()).any(|it| it == self.expect);
        if is_there { Read::Passed } else { Read::More }
    }
}

/// The first line, without its end, and its length with it.
fn line(received: &[u8]) -> Option<(&[u8], usize)> {
    let end = received.iter().position(|it| *it == b'\n')?;
    let line = &received[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}
