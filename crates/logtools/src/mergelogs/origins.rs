//! The balancer's logs, read just far enough ahead of the access logs.
//!
//! Two indexes are kept between the two ends of the window: what clients sent (pen's log) and
//! which connections they had (our session log, PROXY headers).

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::connections::{Connections, Found, NO_SERVER};
use super::requests::{Client, Requests, ServerId};
use crate::input::{InputError, Lines};
use crate::lines::access::Access;
use crate::lines::{Endpoint, Millis, Origin, escape};

/// The servers that operands name.
#[derive(Debug, Default)]
pub struct Servers {
    names: Vec<Vec<u8>>,
    ids: HashMap<Vec<u8>, ServerId>,
    endpoints: Vec<Option<Endpoint>>,
}

impl Servers {
    /// The number of a server, the same whenever it is named.
    pub fn id(&mut self, name: &[u8]) -> ServerId {
        let name = canonical(name);
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let id = self.names.len() as ServerId;
        self.endpoints.push(Endpoint::parse(&name));
        self.ids.insert(name.clone(), id);
        self.names.push(name);
        id
    }

    /// A server's name as it was given.
    pub fn name(&self, id: ServerId) -> &[u8] {
        &self.names[usize::from(id)]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn find(&self, name: &[u8]) -> Option<ServerId> {
        // Balancers write addresses in one spelling, so the text as it is nearly always does.
        self.ids.get(name).copied()
    }

    fn find_backend(&self, backend: Endpoint) -> Option<ServerId> {
        let fits = |e: &Option<Endpoint>| {
            e.is_some_and(|e| e.ip == backend.ip && (e.port.is_none() || e.port == backend.port))
        };
        self.endpoints.iter().position(fits).map(|id| id as ServerId)
    }
}

/// An IPv6 address in the spelling that logs use; other names as they are.
fn canonical(name: &[u8]) -> Vec<u8> {
    match Endpoint::parse(name) {
        Some(Endpoint { ip: ip @ std::net::IpAddr::V6(_), port: None }) => {
            ip.to_string().into_bytes()
        }
        _ => name.to_vec(),
    }
}

/// What is taken off the balancer's stamps.
#[derive(Debug, Clone, Default)]
pub struct Correction {
    /// A plain correction (`--pen-offset`).
    pub plain: Millis,
    /// The classic's `-t`, from which the local zone's offset is taken, since the classic read
    /// access logs in the local zone and its users correct for that.
    pub classic: Option<Millis>,
    zone: Option<TimeZone>,
    /// The offset of the zone in the last hour that was asked for.
    cached: (i64, Millis),
}

impl Correction {
    /// The correction for these two options.
    pub fn new(plain: Millis, classic: Option<Millis>) -> Self {
        let zone = classic.map(|_| TimeZone::system());
        Self { plain, classic, zone, cached: (i64::MIN, 0) }
    }

    /// The instant, corrected.
    pub fn apply(&mut self, instant: Millis) -> Millis {
        let (Some(classic), Some(zone)) = (self.classic, &self.zone) else {
            return instant - self.plain;
        };
        let hour = instant.div_euclid(3_600_000);
        if self.cached.0 != hour {
            let offset = Timestamp::from_millisecond(instant)
                .map_or(0, |at| i64::from(zone.to_offset(at).seconds()) * 1000);
            self.cached = (hour, offset);
        }
        instant - self.plain - (classic - self.cached.1)
    }
}

/// How far in time an origin may be from a line.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// For requests.
    pub requests: Millis,
    /// For connections, beyond their beginning and end.
    pub connections: Millis,
    /// How long before its end a connection may have begun: how far a session log is read ahead.
    pub lookahead: Millis,
}

/// Who a line's client was.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A client, and how far in time the origin is from the line.
    Client(Client, Millis),
    /// Several clients come into question.
    Ambiguous,
    /// Nobody.
    Nobody,
}

/// One of the balancer's logs, read so far.
struct Input {
    lines: Lines,
    /// Until when the last records may matter, the newest last.
    recent: VecDeque<Millis>,
    ended: bool,
}

impl Input {
    /// Whether nothing that follows can matter at `instant`. A clock that was wrong for a moment
    /// must not end the reading, so several records in a row have to say so.
    fn is_beyond(&self, instant: Millis) -> bool {
        self.ended
            || (self.recent.len() == BEYOND && self.recent.iter().rev().all(|at| *at > instant))
    }

    fn note(&mut self, at: Millis) {
        if self.recent.len() == BEYOND {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
    }
}

/// The balancer's logs and what is remembered of them.
pub struct Origins {
    inputs: Vec<Input>,
    correction: Correction,
    windows: Windows,
    requests: Requests,
    connections: Connections,
    newest: Millis,
    seen_connections: bool,
    scratch: Vec<u8>,
    /// Lines that could not be read, or were none of the known kinds.
    pub damaged: u64,
}

impl Origins {
    /// The logs are read side by side, each as far as needed: they may be of the same time, or
    /// one the rotated continuation of the other.
    pub fn new(inputs: Vec<Lines>, correction: Correction, windows: Windows) -> Self {
        let input = |lines| Input { lines, recent: VecDeque::new(), ended: false };
        Self {
            inputs: inputs.into_iter().map(input).collect(),
            correction,
            windows,
            requests: Requests::default(),
            connections: Connections::default(),
            newest: Millis::MIN,
            seen_connections: false,
            scratch: Vec::new(),
            damaged: 0,
        }
    }

    /// Reads on until nothing more can belong to a line of this instant, and forgets what is too
    /// old. `keep` says how many windows of entries stay for lines that come late.
    pub fn read_until(
        &mut self,
        instant: Millis,
        keep: i64,
        servers: &Servers,
        complain: &mut dyn FnMut(InputError),
    ) {
        if instant <= self.newest {
            return;
        }
        self.newest = instant;
        let mut inputs = std::mem::take(&mut self.inputs);
        for input in &mut inputs {
            while !input.is_beyond(instant) {
                match input.lines.advance() {
                    Ok(true) => {}
                    Ok(false) => {
                        input.ended = true;
                        continue;
                    }
                    Err(error) => {
                        self.damaged += 1;
                        complain(error);
                        continue;
                    }
                }
                match self.take(input.lines.line(), servers) {
                    Some(at) => input.note(at),
                    None => self.damaged += 1,
                }
            }
        }
        self.inputs = inputs;
        self.requests.expire(instant - keep * self.windows.requests);
        self.connections.expire(instant - 2 * self.windows.connections - self.windows.lookahead);
    }

    /// Remembers what a line says; gives until when such a record may matter.
    fn take(&mut self, line: &[u8], servers: &Servers) -> Option<Millis> {
        match Origin::parse(line)? {
            Origin::Request(entry) => {
                let at = self.correction.apply(entry.instant);
                if let Some(server) = servers.find(entry.server) {
                    self.requests.add(server, entry.data, at, entry.client);
                }
                Some(at - self.windows.requests)
            }
            Origin::Connection(mut connection) => {
                self.seen_connections = true;
                connection.start = self.correction.apply(connection.start);
                connection.end = connection.end.map(|end| self.correction.apply(end));
                let server = connection.backend.and_then(|b| servers.find_backend(b));
                self.connections.add(server.unwrap_or(NO_SERVER), connection);
                let ahead = if connection.end.is_some() { self.windows.lookahead } else { 0 };
                let at = connection.end.unwrap_or(connection.start);
                Some(at - self.windows.connections - ahead)
            }
        }
    }

    /// Who sent the line of this access log: by the balancer's port if the log has it, by the
    /// request, and last by the connections that were open.
    pub fn find(&mut self, server: ServerId, access: &Access, line: &[u8]) -> Answer {
        if let Some(answer) = self.by_port(access, line) {
            return answer;
        }
        let (instant, window) = (access.instant, self.windows.requests);
        let key = pen_key(&mut self.scratch, access.request(line));
        if !key.is_empty()
            && let Some(entry) = self.requests.nearest(server, key, instant, window)
        {
            return Answer::Client(entry.client.clone(), entry.instant - instant);
        }
        self.by_time(server, instant)
    }

    /// The same without the requests.
    pub fn find_connection(&self, server: ServerId, access: &Access, line: &[u8]) -> Answer {
        match self.by_port(access, line) {
            Some(answer) => answer,
            None => self.by_time(server, access.instant),
        }
    }

    fn by_port(&self, access: &Access, line: &[u8]) -> Option<Answer> {
        if !self.seen_connections {
            return None;
        }
        let mut source = Endpoint::parse(access.client(line))?;
        let port_apart = access.port.is_some();
        source.port = access.port.or(source.port);
        source.port?;
        let found = self.connections.by_source(source, access.instant, self.windows.connections);
        (found != Found::Nobody).then(|| answer(found, !port_apart))
    }

    fn by_time(&self, server: ServerId, instant: Millis) -> Answer {
        if !self.seen_connections {
            return Answer::Nobody;
        }
        answer(self.connections.by_time(server, instant, self.windows.connections), false)
    }

    /// The requests, for pairing them one to one.
    pub fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }
}

/// The request as pen's log would hold it, copied only where it differs.
pub fn pen_key<'a>(scratch: &'a mut Vec<u8>, request: &'a [u8]) -> &'a [u8] {
    let start = &request[..request.len().min(escape::PEN_DATA_MAX)];
    if start.is_ascii() && memchr::memchr3(b'\\', b'\r', b'\n', start).is_none() {
        return start;
    }
    scratch.clear();
    escape::as_in_pen_log(request, scratch);
    scratch
}

fn answer(found: Found, with_port: bool) -> Answer {
    match found {
        Found::Client(client, far) => {
            let shown = Endpoint { port: client.port.filter(|_| with_port), ..client };
            Answer::Client(Client::new(shown.to_string().as_bytes()), far)
        }
        Found::Ambiguous => Answer::Ambiguous,
        Found::Nobody => Answer::Nobody,
    }
}

/// How many records in a row must be beyond the window before reading stops.
const BEYOND: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(logs: &[String]) -> Origins {
        let lines = |log: &String| {
            Lines::new(std::io::Cursor::new(log.clone().into_bytes()), "log".to_owned())
        };
        let windows = Windows { requests: 10_000, connections: 2_000, lookahead: 5_000 };
        Origins::new(logs.iter().map(lines).collect(), Correction::default(), windows)
    }

    #[test]
    fn only_what_lies_within_the_window_is_held() {
        let log = (0..20_000).map(|i| format!("192.0.2.1 {i} 10.0.0.1 GET /{i}\n")).collect();
        let mut origins = origins(&[log]);
        let mut servers = Servers::default();
        servers.id(b"10.0.0.1");
        for second in 0..20_000 {
            origins.read_until(second * 1000, 2, &servers, &mut |_| {});
            assert!(origins.requests.len() <= 30 + BEYOND + 1, "{}", origins.requests.len());
        }
        assert_eq!(origins.damaged, 0);
    }

    #[test]
    fn logs_of_the_same_time_are_read_side_by_side() {
        let log = |name: &str| {
            (0..500).map(|i| format!("192.0.2.1 {i} 10.0.0.1 GET /{name}{i}\n")).collect()
        };
        let mut origins = origins(&[log("a"), log("b")]);
        let mut servers = Servers::default();
        let server = servers.id(b"10.0.0.1");
        origins.read_until(3_000, 2, &servers, &mut |_| {});
        for request in ["GET /a3", "GET /b3"] {
            let found = origins.requests.nearest(server, request.as_bytes(), 3_000, 0);
            assert!(found.is_some(), "{request}");
        }
    }
}
