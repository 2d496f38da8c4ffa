//! The port of a backend that does not name one: that of the pool's listeners.

use super::super::excerpt::quoted;
use super::super::parts::{ListenerPart, Word};
use super::super::report::Fault;
use super::Code;
use crate::Bind;
use crate::operand::{OperandError, Problem};
use std::collections::BTreeMap;

/// What the listeners of a pool say about its port.
#[derive(Debug)]
pub(super) enum Port<'p> {
    /// Nothing: there are none, or only Unix sockets.
    None,
    /// All have this one; the first listener that has it.
    One(u16, &'p str),
    /// Two have different ones.
    Two([(u16, &'p str); 2]),
    /// Unclear, because something about the listeners was reported.
    Unknown,
}

impl Port<'_> {
    /// The port, if there is one.
    pub(super) fn known(&self) -> Option<u16> {
        match self {
            Self::One(port, _) => Some(*port),
            Self::None | Self::Two(_) | Self::Unknown => None,
        }
    }

    /// The report about a backend that is not understood, if it is to blame.
    pub(super) fn fault(&self, word: &Word, error: &OperandError) -> Option<Fault> {
        let Problem::NoPort(_) = error.problem else {
            let message = format!("the backend {}: {}", quoted(&word.text), error.problem);
            return Some(Fault::new(Code::Backend, &word.at, message));
        };
        let (port, reason) = match self {
            Self::Unknown => return None,
            Self::Two([(one, first), (two, second)]) => {
                let (first, second) = (quoted(first), quoted(second));
                let reason = format!("{first} listens on port {one}, and {second} on {two}");
                (*one, reason)
            }
            Self::None | Self::One(..) => (80, "no listener of the pool has one".to_owned()),
        };
        let message = format!("the backend {} has no port, and {reason}", quoted(&word.text));
        let cure = quoted(&with_port(&word.text, port));
        Some(Fault::new(Code::NoPort, &word.at, message).help(format!("write {cure}")))
    }
}

/// A backend with a port between its host and its numbers.
fn with_port(backend: &str, port: u16) -> String {
    let from = if backend.starts_with("dns:") { "dns:".len() } else { 0 };
    let colon = match backend.find(']') {
        Some(bracket) => bracket + 1,
        None => backend[from..].find(':').map_or(backend.len(), |it| from + it),
    };
    let (host, rest) = backend.split_at_checked(colon).unwrap_or((backend, ""));
    format!("{host}:{port}{}", rest.strip_prefix(':').unwrap_or(rest))
}

/// The ports of all pools.
pub(super) struct Ports<'p> {
    named: BTreeMap<&'p str, Port<'p>>,
    others: Port<'p>,
}

impl<'p> Ports<'p> {
    /// `is_certain` says whether each listener names a pool that exists.
    pub(super) fn new(
        listeners: &'p [ListenerPart],
        binds: &[Vec<Option<Bind>>],
        is_certain: bool,
    ) -> Self {
        let mut named: BTreeMap<&str, Port<'_>> = BTreeMap::new();
        for (listener, binds) in listeners.iter().zip(binds) {
            for pool in listener.pools().flatten() {
                let known = named.entry(&pool.text).or_insert(Port::None);
                if binds.is_empty() {
                    *known = Port::Unknown;
                }
                for bind in binds {
                    known.add(bind.as_ref(), &listener.name);
                }
            }
        }
        let others = if is_certain { Port::None } else { Port::Unknown };
        Self { named, others }
    }

    /// What the listeners of a pool say.
    pub(super) fn of(&self, pool: &str) -> &Port<'p> {
        self.named.get(pool).unwrap_or(&self.others)
    }
}

impl<'p> Port<'p> {
    /// Adds an address of a listener; `None` is one that was not understood.
    fn add(&mut self, bind: Option<&Bind>, listener: &'p str) {
        let port = match bind {
            None => {
                *self = Self::Unknown;
                return;
            }
            Some(bind) => match bind.port() {
                Some(port) => port,
                None => return,
            },
        };
        match *self {
            Self::None => *self = Self::One(port, listener),
            Self::One(one, first) if one != port => {
                *self = Self::Two([(one, first), (port, listener)]);
            }
            Self::One(..) | Self::Two(_) | Self::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stands_between_the_host_and_the_numbers() {
        let check = |backend: &str, expected: &str| assert_eq!(with_port(backend, 80), expected);
        check("app1", "app1:80");
        check("app1:", "app1:80");
        check("db1::50", "db1:80:50");
        check("[::1]", "[::1]:80");
        check("[::1]::5", "[::1]:80:5");
    }
}
