//! What balancers announced, and which client a web server's line belongs to.
//!
//! Pure: the time is an argument. Two memories: ours, and the classic's with its faults.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use crate::lines::pen::Announcement;
use crate::lines::{Endpoint, escape};

/// The memory of announcements.
pub enum Announced {
    /// Finds by hash and forgets exactly after `capacity` announcements or `max_age`.
    Indexed(Indexed),
    /// Searches from the newest to the oldest, as the classic program did.
    Legacy(Legacy),
}

/// What became of an announcement.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is remembered.
    Remembered,
    /// Its server is no address, or a field is missing.
    Dropped,
    /// The classic program would have crashed on it.
    Crash,
}

/// Our memory.
pub struct Indexed {
    capacity: usize,
    max_age: Option<Duration>,
    ring: VecDeque<(u64, Key)>,
    newest: HashMap<Key, Latest>,
    count: u64,
}

/// A server, and a request as the balancer saw it.
pub type Key = (IpAddr, Box<[u8]>);

struct Latest {
    number: u64,
    at: Duration,
    client: Box<[u8]>,
}

/// The classic's memory.
pub struct Legacy {
    capacity: usize,
    ring: VecDeque<(IpAddr, Vec<u8>, Vec<u8>)>,
}

impl Announced {
    /// Remembers the last `capacity` announcements.
    pub fn new(capacity: usize, max_age: Option<Duration>) -> Self {
        Self::Indexed(Indexed {
            capacity,
            max_age,
            ring: VecDeque::new(),
            newest: HashMap::new(),
            count: 0,
        })
    }

    /// Remembers one less than asked for.
    pub fn legacy(capacity: usize) -> Self {
        Self::Legacy(Legacy { capacity: capacity.saturating_sub(1), ring: VecDeque::new() })
    }

    /// Takes a datagram that begins with `+`.
    pub fn note(&mut self, datagram: &[u8], now: Duration) -> Noted {
        let Some(found) = Announcement::parse(datagram) else { return Noted::Dropped };
        match self {
            Self::Indexed(memory) => memory.note(&found, now),
            Self::Legacy(memory) => memory.note(&found),
        }
    }

    /// The client of a web server's line: the latest that sent this request to this server.
    pub fn client(&self, server: IpAddr, line: &[u8], now: Duration) -> Option<&[u8]> {
        let request = request(line)?;
        match self {
            Self::Indexed(memory) => memory.client(&key(server, request)?, now),
            Self::Legacy(memory) => memory.client(server, request),
        }
    }
}

impl Indexed {
    fn note(&mut self, found: &Announcement<'_>, now: Duration) -> Noted {
        // Never looked up: whoever can reach the port could make us wait.
        let Some(Endpoint { ip, .. }) = Endpoint::parse(found.server) else {
            return Noted::Dropped;
        };
        let key: Key = (ip, found.request.into());
        self.count += 1;
        if self.ring.len() == self.capacity
            && let Some((number, oldest)) = self.ring.pop_front()
            && self.newest.get(&oldest).is_some_and(|latest| latest.number == number)
        {
            self.newest.remove(&oldest);
        }
        self.ring.push_back((self.count, key.clone()));
        let latest = Latest { number: self.count, at: now, client: found.client.into() };
        self.newest.insert(key, latest);
        Noted::Remembered
    }

    fn client(&self, key: &Key, now: Duration) -> Option<&[u8]> {
        let latest = self.newest.get(key)?;
        let fresh = self.max_age.is_none_or(|age| now.saturating_sub(latest.at) <= age);
        fresh.then_some(&*latest.client)
    }
}

impl Legacy {
    fn note(&mut self, found: &Announcement<'_>) -> Noted {
        let name = String::from_utf8_lossy(found.server);
        let known = name.parse::<std::net::Ipv4Addr>().map(IpAddr::V4).ok().or_else(|| {
            let mut all = (&*name, 0).to_socket_addrs().ok()?;
            all.find(|a| a.is_ipv4() && !name.contains(':')).map(|a| a.ip())
        });
        let Some(server) = known else { return Noted::Crash };
        let kept = &found.request[..found.request.len().min(99)];
        if self.ring.len() >= self.capacity {
            self.ring.pop_front();
        }
        if self.capacity > 0 {
            self.ring.push_back((server, kept.to_vec(), found.client.to_vec()));
        }
        Noted::Remembered
    }

    fn client(&self, server: IpAddr, request: &[u8]) -> Option<&[u8]> {
        let hit = |(ip, kept, _): &&(IpAddr, Vec<u8>, Vec<u8>)| {
            *ip == server && kept.starts_with(request)
        };
        self.ring.iter().rev().find(hit).map(|(_, _, client)| &**client)
    }
}

/// What a line is looked up by; `None` for an empty request, which belongs to nobody.
pub fn key(server: IpAddr, request: &[u8]) -> Option<Key> {
    let mut plain = Vec::with_capacity(request.len());
    escape::undo(request, &mut plain);
    (!plain.is_empty()).then(|| (server, plain.into()))
}

/// The request of a web server's line: what stands between the first two quotes that are not
/// escaped. `None` for lines that are none.
pub fn request(line: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'"', line)? + 1;
    let end = crate::lines::access::closing_quote(line, start)?;
    Some(&line[start..end])
}

/// Appends the line with another client, or as it was.
pub fn rewrite(line: &[u8], client: Option<&[u8]>, out: &mut Vec<u8>) {
    let rest = match (client, memchr::memchr(b' ', line)) {
        (Some(client), Some(at)) => {
            out.extend_from_slice(client);
            &line[at..]
        }
        _ => line,
    };
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn client(memory: &Announced, request: &str, now: u64) -> Option<String> {
        let line = format!("10.0.0.9 - - [x] \"{request}\" 200 5");
        let found = memory.client(SERVER, line.as_bytes(), at(now))?;
        Some(String::from_utf8_lossy(found).into_owned())
    }

    fn announce(memory: &mut Announced, client: &str, request: &str) -> Noted {
        memory.note(format!("+ {client} 10.0.0.1 {request}\n").as_bytes(), at(0))
    }

    #[test]
    fn the_latest_announcement_of_the_same_request_counts() {
        let mut memory = Announced::new(10, None);
        announce(&mut memory, "192.0.2.1", "GET /a");
        announce(&mut memory, "192.0.2.2", "GET /a");
        assert_eq!(client(&memory, "GET /a", 0).as_deref(), Some("192.0.2.2"));
        assert_eq!(client(&memory, "GET /a", 0).as_deref(), Some("192.0.2.2"));
        assert_eq!(client(&memory, "GET /", 0), None);
        assert_eq!(client(&memory, "", 0), None);
    }

    #[test]
    fn exactly_as_many_are_remembered_as_asked_for() {
        let mut memory = Announced::new(2, None);
        for i in 1..=3 {
            announce(&mut memory, "192.0.2.1", &format!("GET /{i}"));
        }
        let found: Vec<_> = (1..=3).map(|i| client(&memory, &format!("GET /{i}"), 0)).collect();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
        let mut one = Announced::new(1, None);
        announce(&mut one, "192.0.2.1", "GET /1");
        assert!(client(&one, "GET /1", 0).is_some());
        // The older of two equal announcements leaves, the newer one stays.
        let mut two = Announced::new(2, None);
        for name in ["GET /a", "GET /a", "GET /b"] {
            announce(&mut two, "192.0.2.1", name);
        }
        assert!(client(&two, "GET /a", 0).is_some());
    }

    #[test]
    fn announcements_grow_old() {
        let mut memory = Announced::new(2, Some(at(5)));
        announce(&mut memory, "192.0.2.1", "GET /");
        assert!(client(&memory, "GET /", 5).is_some());
        assert!(client(&memory, "GET /", 6).is_none());
    }

    #[test]
    fn long_and_escaped_requests_match() {
        let mut memory = Announced::new(9, None);
        let long = format!("GET /{}", "x".repeat(5000));
        announce(&mut memory, "192.0.2.1", &long);
        announce(&mut memory, "192.0.2.2", "GET /\"å\"");
        assert_eq!(client(&memory, &long, 0).as_deref(), Some("192.0.2.1"));
        assert_eq!(client(&memory, r#"GET /\"\xC3\xa5\""#, 0).as_deref(), Some("192.0.2.2"));
    }

    #[test]
    fn servers_that_are_no_ipv4_address_do_no_harm() {
        let mut memory = Announced::new(9, None);
        let mut note = |server: &str| memory.note(format!("+ a {server} GET /").as_bytes(), at(0));
        assert_eq!(note("::1"), Noted::Remembered);
        assert_eq!(note("/run/app.sock"), Noted::Dropped);
        assert_eq!(note("no-such-host.invalid"), Noted::Dropped);
        let line = b"x - - \"GET /\" 1";
        assert_eq!(memory.client("::1".parse().unwrap(), line, at(0)), Some(&b"a"[..]));
    }

    #[test]
    fn only_the_first_field_is_replaced() {
        #[track_caller]
        fn check(line: &str, client: Option<&str>, expected: &str) {
            let mut out = Vec::new();
            rewrite(line.as_bytes(), client.map(str::as_bytes), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        check("www - - \"x\"", Some("192.0.2.1"), "192.0.2.1 - - \"x\"");
        check("www - - \"x\"", None, "www - - \"x\"");
        check("\"x\"", Some("192.0.2.1"), "\"x\"");
    }

    #[test]
    fn the_classic_keeps_99_bytes_and_compares_beginnings() {
        let mut memory = Announced::legacy(3);
        announce(&mut memory, "192.0.2.1", &"x".repeat(100));
        announce(&mut memory, "192.0.2.2", "GET /abc");
        assert_eq!(client(&memory, &"x".repeat(100), 0), None);
        assert_eq!(client(&memory, "GET /a", 0).as_deref(), Some("192.0.2.2"));
        assert_eq!(client(&memory, "", 0).as_deref(), Some("192.0.2.2"));
        announce(&mut memory, "192.0.2.3", "GET /d");
        assert_eq!(client(&memory, &"x".repeat(99), 0), None, "one less than asked for");
        assert_eq!(memory.note(b"+ a ::1 GET /", at(0)), Noted::Crash);
    }
}
