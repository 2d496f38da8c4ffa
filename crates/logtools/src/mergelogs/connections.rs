//! Connections through the balancer, by the address that the server saw and by time.
//!
//! With a port in the access log the connection is known for certain. Without one all that is
//! left is "which connections to this server were open then", and that answers only when they
//! were all of one client: nothing is guessed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::requests::ServerId;
use crate::lines::{Connection, Endpoint, Millis};

/// What a search gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The client, and how far in time the connection is from the line (0: it was open).
    Client(Endpoint, Millis),
    /// Several clients had a connection to this server.
    Ambiguous,
    /// Nobody.
    Nobody,
}

/// The index.
#[derive(Default)]
pub struct Connections {
    slots: Vec<Option<(ServerId, Connection)>>,
    free: Vec<u32>,
    by_source: HashMap<Endpoint, Vec<u32>>,
    by_second: BTreeMap<(ServerId, i64), Vec<u32>>,
    /// Those that would fill too many seconds.
    long: HashMap<ServerId, Vec<u32>>,
    expiry: BinaryHeap<Reverse<(Millis, u32)>>,
}

impl Connections {
    /// Remembers a connection; `server` is [`NO_SERVER`] when its backend is not among the operands.
    pub fn add(&mut self, server: ServerId, connection: Connection) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[slot as usize] = Some((server, connection));
        self.expiry.push(Reverse((connection.end.unwrap_or(connection.start), slot)));
        if let Some(source) = connection.source.filter(|s| s.port.is_some()) {
            self.by_source.entry(source).or_default().push(slot);
        }
        if server == NO_SERVER {
            return;
        }
        match seconds(&connection) {
            Some(seconds) => {
                for second in seconds {
                    self.by_second.entry((server, second)).or_default().push(slot);
                }
            }
            None => self.long.entry(server).or_default().push(slot),
        }
    }

    /// The client whose connection came to the server from `source`, nearest to `instant`.
    pub fn by_source(&self, source: Endpoint, instant: Millis, window: Millis) -> Found {
        let near = self.by_source.get(&source).into_iter().flatten();
        let nearest = near
            .filter_map(|slot| self.slots[*slot as usize].as_ref())
            .map(|(_, connection)| (distance(connection, instant), connection))
            // A log of beginnings only: the connection may be long under way.
            .filter(|(far, c)| *far <= window || (c.end.is_none() && c.start <= instant))
            .min_by_key(|(far, _)| *far);
        nearest.map_or(Found::Nobody, |(far, c)| Found::Client(c.client, far))
    }

    /// The client of the connections to `server` that were open at `instant`, or else of those
    /// nearest to it within the window.
    pub fn by_time(&self, server: ServerId, instant: Millis, window: Millis) -> Found {
        let mut step = 0;
        loop {
            match self.at_distance(server, instant, window, step) {
                Found::Nobody => {}
                found => return found,
            }
            match self.next_distance(server, instant, step) {
                Some(next) if next <= window / 1000 + 1 => step = next,
                _ => return Found::Nobody,
            }
        }
    }

    /// The client of the connections that are this many seconds away, if they agree.
    fn at_distance(&self, server: ServerId, instant: Millis, window: Millis, step: i64) -> Found {
        let second = instant.div_euclid(1000);
        let seconds = [second - step, second + step];
        let places = if step == 0 { &seconds[..1] } else { &seconds[..] };
        let short = places.iter().filter_map(|s| self.by_second.get(&(server, *s))).flatten();
        let mut found = Found::Nobody;
        for connection in short.chain(self.long(server)).filter_map(|slot| self.connection(*slot)) {
            let far = distance(connection, instant);
            if far > window || far > step * 1000 {
                continue;
            }
            let ip = connection.client.ip;
            found = match found {
                Found::Client(client, _) if client.ip != ip => return Found::Ambiguous,
                Found::Client(client, nearest) => Found::Client(client, far.min(nearest)),
                _ => Found::Client(Endpoint { ip, port: None }, far),
            };
        }
        found
    }

    /// The next larger distance in seconds at which there is any connection.
    fn next_distance(&self, server: ServerId, instant: Millis, step: i64) -> Option<i64> {
        let second = instant.div_euclid(1000);
        let before = self.by_second.range((server, i64::MIN)..(server, second - step));
        let after = self.by_second.range((server, second + step + 1)..=(server, i64::MAX));
        let long = self.long(server).iter().filter_map(|slot| self.connection(*slot));
        before
            .map(|((_, at), _)| second - at)
            .next_back()
            .into_iter()
            .chain(after.map(|((_, at), _)| at - second).next())
            .chain(long.map(|c| distance(c, instant).div_euclid(1000) + 1).filter(|at| *at > step))
            .min()
    }

    fn long(&self, server: ServerId) -> &[u32] {
        self.long.get(&server).map_or(&[], Vec::as_slice)
    }

    fn connection(&self, slot: u32) -> Option<&Connection> {
        self.slots[slot as usize].as_ref().map(|(_, connection)| connection)
    }

    /// Forgets connections that ended before `horizon`.
    pub fn expire(&mut self, horizon: Millis) {
        while let Some(Reverse((end, slot))) = self.expiry.peek().copied() {
            if end >= horizon {
                break;
            }
            self.expiry.pop();
            let Some((server, connection)) = self.slots[slot as usize].take() else { continue };
            self.free.push(slot);
            if let Some(source) = connection.source {
                forget(&mut self.by_source, &source, slot);
            }
            for second in seconds(&connection).into_iter().flatten() {
                if let Some(slots) = self.by_second.get_mut(&(server, second)) {
                    slots.retain(|s| *s != slot);
                    if slots.is_empty() {
                        self.by_second.remove(&(server, second));
                    }
                }
            }
            forget(&mut self.long, &server, slot);
        }
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.expiry.is_empty()
    }
}

/// A server that no operand names.
pub const NO_SERVER: ServerId = ServerId::MAX;

/// A connection that fills more seconds than this is kept in a list of its own.
const LONG_SECONDS: i64 = 60;

fn seconds(connection: &Connection) -> Option<std::ops::RangeInclusive<i64>> {
    let first = connection.start.div_euclid(1000);
    let last = connection.end.unwrap_or(connection.start).div_euclid(1000);
    (last - first < LONG_SECONDS).then_some(first..=last)
}

/// How far a connection is from a line. Access logs have whole seconds, so that a line is
/// anywhere in its second.
fn distance(connection: &Connection, instant: Millis) -> Millis {
    let end = connection.end.unwrap_or(connection.start);
    let late = if instant % 1000 == 0 { instant + 999 } else { instant };
    (connection.start - late).max(instant - end).max(0)
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<u32>>, key: &K, slot: u32) {
    if let Some(slots) = map.get_mut(key) {
        slots.retain(|s| *s != slot);
        if slots.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(client: &str, source: &str, start: Millis, end: Option<Millis>) -> Connection {
        Connection {
            start,
            end,
            client: Endpoint::parse(client.as_bytes()).unwrap(),
            backend: None,
            source: Endpoint::parse(source.as_bytes()),
        }
    }

    fn index() -> Connections {
        let mut index = Connections::default();
        index.add(0, connection("192.0.2.1:1", "10.0.0.9:1001", 5_000, Some(8_000)));
        index.add(0, connection("192.0.2.1:2", "10.0.0.9:1002", 7_200, Some(7_300)));
        index.add(0, connection("192.0.2.3:3", "10.0.0.9:1003", 20_000, Some(200_000)));
        index.add(0, connection("192.0.2.4:4", "10.0.0.9:1004", 300_000, None));
        index.add(1, connection("192.0.2.5:5", "10.0.0.9:1001", 50_000, Some(51_000)));
        index
    }

    #[track_caller]
    fn check_source(source: &str, instant: Millis, client: Option<&str>) {
        let found = index().by_source(Endpoint::parse(source.as_bytes()).unwrap(), instant, 2_000);
        let text = match found {
            Found::Client(client, _) => Some(client.to_string()),
            _ => None,
        };
        assert_eq!(text.as_deref(), client);
    }

    #[test]
    fn a_port_tells_the_connection_for_certain() {
        check_source("10.0.0.9:1001", 6_000, Some("192.0.2.1:1"));
        check_source("10.0.0.9:1001", 50_000, Some("192.0.2.5:5"));
        check_source("10.0.0.9:1001", 30_000, None);
        check_source("10.0.0.9:1004", 900_000, Some("192.0.2.4:4"));
        check_source("10.0.0.9:1009", 6_000, None);
    }

    #[track_caller]
    fn check_time(server: ServerId, instant: Millis, expected: &str) {
        let shown = match index().by_time(server, instant, 2_000) {
            Found::Client(client, far) => format!("{client} at {far}"),
            Found::Ambiguous => "ambiguous".to_owned(),
            Found::Nobody => "nobody".to_owned(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_a_port_the_open_connections_answer_if_they_agree() {
        check_time(0, 7_000, "192.0.2.1 at 0");
        check_time(0, 10_000, "192.0.2.1 at 2000");
        check_time(0, 12_000, "nobody");
        check_time(0, 100_000, "192.0.2.3 at 0");
        check_time(1, 50_000, "192.0.2.5 at 0");
        let mut both = index();
        both.add(0, connection("192.0.2.9:9", "10.0.0.9:1009", 7_000, Some(7_100)));
        assert_eq!(both.by_time(0, 7_000, 2_000), Found::Ambiguous);
    }

    #[test]
    fn a_wide_window_costs_no_more_than_what_is_in_it() {
        let index = index();
        let year = 365 * 86_400_000;
        assert_eq!(
            index.by_time(1, year, 2 * year),
            Found::Client(Endpoint::parse(b"192.0.2.5").unwrap(), year - 51_000)
        );
    }

    #[test]
    fn what_ended_long_ago_is_forgotten() {
        let mut index = index();
        index.expire(150_000);
        assert_eq!(index.by_time(0, 7_000, 2_000), Found::Nobody);
        assert!(matches!(index.by_time(0, 160_000, 2_000), Found::Client(..)));
        index.expire(999_000);
        assert!(index.is_empty() && index.by_source.is_empty() && index.by_second.is_empty());
        assert!(index.long.is_empty());
    }
}
