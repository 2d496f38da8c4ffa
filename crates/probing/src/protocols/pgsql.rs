//! PostgreSQL: the first message of a client, and whether the server begins to authenticate it.
//!
//! The server writes nothing into its log: a client that goes when it is asked for a password is
//! one that has none yet (psql does so before it asks its user), and one that has been let in ends
//! with an end of file.
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol": message flow, message formats.

use super::{Read, Talk};
use crate::Role;
use crate::text::quoted;

pub(super) struct Pgsql {
    startup: Vec<u8>,
    role: Option<Role>,
}

impl Pgsql {
    pub fn new(user: &str, database: Option<&str>, role: Option<Role>) -> Self {
        let mut body = 0x0003_0000_u32.to_be_bytes().to_vec(); // version 3.0
        let named = [("user", Some(user)), ("database", database)];
        let ours = [("application_name", Some("evenkeel-probe"))];
        for (key, value) in named.into_iter().chain(ours) {
            if let Some(value) = value {
                for text in [key, value] {
                    body.extend_from_slice(text.as_bytes());
                    body.push(0);
                }
            }
        }
        body.push(0);
        let mut startup = (body.len() as u32 + 4).to_be_bytes().to_vec();
        startup.append(&mut body);
        Self { startup, role }
    }

    fn message(&self, kind: u8, body: &[u8]) -> Read {
        match (kind, self.role) {
            // Authentication of any kind.
            (b'R', None) => Read::Passed,
            (b'R', Some(_)) if body.starts_with(&[0; 4]) => Read::More,
            (b'R', Some(_)) => {
                Read::Failed("wants a password before it says which role it has".to_owned())
            }
            (b'E', _) => refusal(body),
            (b'S', Some(role)) => match body.split(|it| *it == 0).collect::<Vec<_>>()[..] {
                [b"in_hot_standby", value, ..] => match (role, value) {
                    (Role::Primary, b"off") | (Role::Replica, b"on") => Read::Passed,
                    (Role::Primary, _) => Read::Failed("is a replica".to_owned()),
                    (Role::Replica, _) => Read::Failed("is a primary".to_owned()),
                },
                _ => Read::More,
            },
            // Ready for queries, and it has not said so: a server before version 14.
            (b'Z', Some(_)) => Read::Failed("does not say which role it has".to_owned()),
            (b'N' | b'K' | b'S', _) => Read::More,
            (kind, _) => Read::answered(&[kind]),
        }
    }
}

impl Talk for Pgsql {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        send.extend_from_slice(&self.startup);
        Read::More
    }

    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        let Some((kind, rest)) = received.split_first() else { return Read::More };
        if !b"RESNKZ".contains(kind) {
            return Read::answered(received); // not PostgreSQL
        }
        let Some(length) = rest.first_chunk().map(|it| u32::from_be_bytes(*it) as usize) else {
            return Read::More;
        };
        if !(4..=LENGTH_MAX).contains(&length) {
            return Read::answered(received);
        }
        let Some(body) = rest.get(4..length) else { return Read::More };
        match self.message(*kind, body) {
            Read::More => Read::Took(1 + length),
            other => other,
        }
    }
}

/// Whether an error says that the server takes no clients, or only that it does not take this one.
fn refusal(body: &[u8]) -> Read {
    let fields = || body.split(|it| *it == 0).filter_map(|it| it.split_first());
    let field = |wanted: u8| fields().find(|(it, _)| **it == wanted).map_or(&b""[..], |it| it.1);
    match field(b'C') {
        // Invalid authorization, no such database: others may be let in.
        code if code.starts_with(b"28") || code == b"3D000" => Read::Passed,
        code => Read::Failed(format!("answered {} {}", quoted(code), quoted(field(b'M')))),
    }
}

const LENGTH_MAX: usize = 8192;
