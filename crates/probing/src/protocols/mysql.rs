//! MySQL and MariaDB: a login with an empty password, and a ping or a query.
//!
//! A login that is finished resets the server's count of broken connections, so that the host is
//! never blocked (`max_connect_errors`).
//! Source: MySQL internals, "Client/Server Protocol": connection phase, text protocol.

use super::{Read, Talk};
use crate::Role;
use crate::text::quoted;

pub(super) struct Mysql {
    user: String,
    role: Option<Role>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Greeting,
    LogsIn,
    /// With the method that the server prefers.
    LogsInAgain,
    Pinged,
    /// This many packets of the result have come.
    Queried(u8),
}

impl Mysql {
    pub fn new(user: &str, role: Option<Role>) -> Self {
        Self { user: user.to_owned(), role, state: State::Greeting }
    }

    /// What the server answers to a login: `None` for what it does not.
    fn greeted(&mut self, body: &[u8], sequence: u8, send: &mut Vec<u8>) -> Read {
        if body.first() != Some(&10) {
            return Read::answered(body);
        }
        let capabilities = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE | PLUGIN_AUTH;
        let mut login = capabilities.to_le_bytes().to_vec();
        login.extend_from_slice(&(1_u32 << 24).to_le_bytes()); // the longest packet
        login.push(UTF8);
        login.extend_from_slice(&[0; 23]);
        login.extend_from_slice(self.user.as_bytes());
        login.extend_from_slice(b"\0\0"); // and no password
        login.extend_from_slice(b"mysql_native_password\0");
        packet(sequence.wrapping_add(1), &login, send);
        self.state = State::LogsIn;
        Read::More
    }

    fn message(&mut self, body: &[u8], sequence: u8, send: &mut Vec<u8>) -> Read {
        if body.first() == Some(&0xff) {
            return refusal(body);
        }
        match (self.state, body.first()) {
            (State::Greeting, _) => self.greeted(body, sequence, send),
            // It would rather have another method; the password is empty in any.
            (State::LogsIn, Some(0xfe)) => {
                packet(sequence.wrapping_add(1), &[], send);
                self.state = State::LogsInAgain;
                Read::More
            }
            // More data of that method, which does not matter.
            (State::LogsIn | State::LogsInAgain, Some(1)) => Read::More,
            (State::LogsIn | State::LogsInAgain, Some(0)) => {
                (self.state, _) = match self.role {
                    None => (State::Pinged, packet(0, &[COM_PING], send)),
                    Some(_) => {
                        let query = [&[COM_QUERY][..], b"SELECT @@read_only"].concat();
                        (State::Queried(0), packet(0, &query, send))
                    }
                };
                Read::More
            }
            (State::Pinged, Some(0)) => {
                packet(0, &[COM_QUIT], send);
                Read::Passed
            }
            (State::Queried(packets), _) => self.queried(packets, body, send),
            _ => Read::answered(body),
        }
    }

    /// The number of columns, a column, an end, and then the row.
    fn queried(&mut self, packets: u8, body: &[u8], send: &mut Vec<u8>) -> Read {
        if packets < 3 {
            self.state = State::Queried(packets + 1);
            return Read::More;
        }
        packet(0, &[COM_QUIT], send);
        let Some((_, value)) = body.split_first() else { return Read::answered(body) };
        // A number, or a word in MariaDB 12.
        let is = if matches!(value, b"0" | b"OFF") { Role::Primary } else { Role::Replica };
        match self.role == Some(is) {
            true => Read::Passed,
            false => Read::Failed(format!("read_only is {}", quoted(value))),
        }
    }
}

impl Talk for Mysql {
    fn start(&mut self, _: &mut Vec<u8>) -> Read {
        Read::More
    }

    fn read(&mut self, received: &[u8], send: &mut Vec<u8>) -> Read {
        let Some(&[low, middle, high, sequence]) = received.first_chunk() else {
            return Read::More;
        };
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if length > LENGTH_MAX || length == 0 {
            return Read::answered(received); // not MySQL
        }
        let Some(body) = received.get(4..4 + length) else { return Read::More };
        match self.message(body, sequence, send) {
            Read::More => Read::Took(4 + length),
            other => other,
        }
    }
}

fn packet(sequence: u8, body: &[u8], send: &mut Vec<u8>) {
    let [low, middle, high, _] = (body.len() as u32).to_le_bytes();
    send.extend_from_slice(&[low, middle, high, sequence]);
    send.extend_from_slice(body);
}

/// An error: its number, and its text, which may begin with a state.
fn refusal(body: &[u8]) -> Read {
    let number = body.get(1..3).map_or(0, |it| u16::from_le_bytes([it[0], it[1]]));
    let text = body.get(3..).unwrap_or_default();
    let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    Read::Failed(format!("answered {number} {}", quoted(text)))
}

const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 1 << 9;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const UTF8: u8 = 33;
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
const COM_PING: u8 = 14;
const LENGTH_MAX: usize = 8192;
