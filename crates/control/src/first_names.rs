//! The names of a start, which waits for none of them for long.
//!
//! All lookups begin at once, in a process of their own ([`Aside`]): the system's resolver cannot be
//! interrupted. Whatever has not been answered in time is looked up again while the instance serves,
//! as [`NameKeeper`](crate::names::NameKeeper) does with every name.

use crate::bind::StartError;
use config::{Bind, Config, Endpoint, Host, Pool};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use sys::aside::Aside;
use terms::Address;

/// How long a start waits for the names of backends.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it waits for the names of listening addresses, which it cannot do without.
const LISTENER_PATIENCE: Duration = Duration::from_secs(10);
/// How often it sees whether they are there.
const STEP: Duration = Duration::from_millis(50);
/// The maximum number of lookups at a time.
const AT_ONCE: usize = 64;

/// What names stood for when the instance was last running, by `host:port`.
pub(crate) type LastNames = BTreeMap<String, Vec<SocketAddr>>;

/// What is known about names at the start.
#[derive(Default)]
pub(crate) struct FirstNames {
    answers: HashMap<String, Answer>,
    last: LastNames,
}

/// What a name stands for.
#[derive(Debug)]
enum Found {
    /// These addresses, as the system says.
    Now(Vec<SocketAddr>),
    /// These addresses, when the instance was last running; the lookup has failed, or it takes long.
    Before(Vec<SocketAddr>),
    /// The lookup has failed.
    Failed(io::Error),
    /// The lookup takes long.
    NotYet,
}

impl FirstNames {
    /// Looks up all names in `config`, for half a second, and those of listening addresses for up to
    /// ten. `last` is used where that does not succeed.
    ///
    /// # Panics
    /// If this process has more than one thread.
    pub fn look_up(config: &Config, last: LastNames) -> Self {
        let mut names = Self { answers: HashMap::new(), last };
        let needed: Vec<_> = listening_names(binds(config)).collect();
        let all = backend_names(config).chain(needed.iter().cloned());
        let all: Vec<_> = all.map(|(host, _)| host).collect::<BTreeSet<_>>().into_iter().collect();
        if all.is_empty() {
            return names;
        }
        // Without room for another process there is no answer.
        let Ok(mut aside) = Aside::begin(|out| resolve_all(&all, out)) else { return names };
        let begin = Instant::now();
        let (mut deadline, mut found) = (begin + PATIENCE, Vec::new());
        loop {
            let is_over = aside.read_until(deadline, &mut found);
            names.answers = found.split(|byte| *byte == b'\n').filter_map(parse).collect();
            let misses = |(host, port): &(String, u16)| {
                !names.answers.contains_key(host) && !names.last.contains_key(&key(host, *port))
            };
            let is_late = deadline >= begin + LISTENER_PATIENCE;
            if is_over || is_late || !needed.iter().any(misses) {
                return names;
            }
            deadline += STEP;
        }
    }

    /// The addresses of a host to listen on.
    ///
    /// # Errors
    /// If the lookup has failed, or has not ended in time.
    pub fn listening(&self, host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self.find(host, port) {
            Found::Now(found) | Found::Before(found) => Ok(found),
            Found::Failed(error) => Err(error),
            Found::NotYet => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        }
    }

    /// What the names of listening addresses stand for.
    pub fn all_listening(&self, config: &Config) -> LastNames {
        let names = listening_names(binds(config)).filter_map(|(name, port)| {
            let key = key(&name, port);
            Some((key, self.listening(&Host::Name(name), port).ok()?))
        });
        names.collect()
    }

    /// The addresses of a backend; empty if they are not known yet.
    pub fn addresses(&self, endpoint: &Endpoint) -> Vec<Address> {
        match endpoint {
            Endpoint::Unix(path) => vec![Address::Unix(path.clone())],
            Endpoint::Discovered(_) => Vec::new(),
            Endpoint::Tcp { host, port } => match self.find(host, *port) {
                Found::Now(found) | Found::Before(found) => {
                    found.into_iter().map(Address::Ip).collect()
                }
                Found::Failed(_) | Found::NotYet => Vec::new(),
            },
        }
    }

    /// The backends that have their last known addresses, after the names of their pools.
    pub fn last_known(&self, config: &Config) -> Vec<(String, String, Vec<SocketAddr>)> {
        let pools = config.pools.iter();
        let all = pools.flat_map(|pool| {
            pool.all_backends().map(move |backend| (&pool.name, &backend.endpoint))
        });
        let found = all.filter_map(|(pool, endpoint)| {
            let Endpoint::Tcp { host, port } = endpoint else { return None };
            let Found::Before(found) = self.find(host, *port) else { return None };
            Some((pool.clone(), endpoint.to_string(), found))
        });
        found.collect()
    }

    /// Refuses a configuration with a single pool none of whose names can be resolved: it serves
    /// nobody, and whoever has just typed it is still watching.
    ///
    /// # Errors
    /// [`StartError::ResolveBackend`]
    pub fn refuse_unresolved(&self, config: &Config) -> Result<(), StartError> {
        let [pool] = &config.pools[..] else { return Ok(()) };
        let mut first = None;
        for backend in pool.all_backends() {
            let Endpoint::Tcp { host, port } = &backend.endpoint else { return Ok(()) };
            match self.find(host, *port) {
                Found::Failed(source) => {
                    first.get_or_insert((backend.endpoint.to_string(), source));
                }
                Found::Now(_) | Found::Before(_) | Found::NotYet => return Ok(()),
            }
        }
        first.map_or(Ok(()), |(host, source)| Err(StartError::ResolveBackend { host, source }))
    }

    /// The addresses of a host.
    fn find(&self, host: &Host, port: u16) -> Found {
        let name = match host {
            Host::Address(address) => return Found::Now(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name,
        };
        let last = || self.last.get(&key(name, port)).filter(|last| !last.is_empty()).cloned();
        match self.answers.get(name) {
            Some(Ok(found)) if !found.is_empty() => {
                let with_port = |address: &SocketAddr| {
                    let mut address = *address;
                    address.set_port(port);
                    address
                };
                Found::Now(found.iter().map(with_port).collect())
            }
            failed => match (last(), failed) {
                (Some(last), _) => Found::Before(last),
                (None, Some(Err(error))) => Found::Failed(io::Error::other(error.clone())),
                (None, Some(Ok(_))) => Found::Failed(io::ErrorKind::NotFound.into()),
                (None, None) => Found::NotYet,
            },
        }
    }
}

/// The key of a name in [`LastNames`], which is also what a backend without a name is called.
fn key(host: &str, port: u16) -> String {
    Endpoint::Tcp { host: Host::Name(host.to_owned()), port }.to_string()
}

fn backend_names(config: &Config) -> impl Iterator<Item = (String, u16)> {
    config.pools.iter().flat_map(Pool::all_backends).filter_map(|backend| match &backend.endpoint {
        Endpoint::Tcp { host: Host::Name(name), port } => Some((name.clone(), *port)),
        _ => None,
    })
}

fn binds(config: &Config) -> impl Iterator<Item = &Bind> {
    config.listeners.iter().flat_map(|it| &it.binds)
}

/// The names of listening addresses, with their ports.
pub(crate) fn listening_names<'a>(
    binds: impl Iterator<Item = &'a Bind>,
) -> impl Iterator<Item = (String, u16)> {
    binds.filter_map(|bind| match bind {
        Bind::Tcp { host: Some(Host::Name(name)), port, .. }
        | Bind::Udp { host: Some(Host::Name(name)), port, .. } => Some((name.clone(), *port)),
        _ => None,
    })
}

/// Looks up hosts, many at a time, and writes a line for each as soon as there is an answer.
fn resolve_all(hosts: &[String], out: File) {
    let (left, out) = (Mutex::new(hosts.iter()), Mutex::new(out));
    let next = || left.lock().ok().and_then(|mut left| left.next());
    let work = || {
        while let Some(host) = next() {
            let line = line(host, &resolve(host));
            // Nobody reads it any more if this fails.
            let _ = out.lock().map(|mut out| out.write_all(line.as_bytes()));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..hosts.len().min(AT_ONCE) {
            // Without a thread this one does it all.
            let _ = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        }
        work();
    });
}

/// Enough for the system's resolver.
const STACK: usize = 512 << 10;

/// All addresses of a host, with port zero, as the system's own programs find them.
fn resolve(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut found: Vec<_> = found.collect();
    found.dedup();
    Ok(found)
}

type Answer = Result<Vec<SocketAddr>, String>;

fn line(host: &str, answer: &Answer) -> String {
    serde_json::to_string(&(host, answer)).unwrap_or_default() + "\n"
}

/// The inverse of [`line`]; `None` for half a line.
fn parse(line: &[u8]) -> Option<(String, Answer)> {
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> FirstNames {
        let last = |text: &str| (text.to_owned(), vec!["192.0.2.9:80".parse().unwrap()]);
        let address = "[fe80::1%2]:0".parse().unwrap();
        let lines = [
            line("here", &Ok(vec![address])),
            line("changed", &Ok(vec!["192.0.2.1:0".parse().unwrap()])),
            line("nosuch", &Err("no such name".to_owned())),
            line("empty", &Ok(Vec::new())),
            line("failed", &Err("try again".to_owned())),
        ];
        let text = lines.concat() + "[\"half\",{\"Ok\":[";
        let answers = text.as_bytes().split(|byte| *byte == b'\n').filter_map(parse).collect();
        let last = ["changed:80", "failed:80", "late:80"].map(last).into();
        FirstNames { answers, last }
    }

    #[track_caller]
    fn check(host: &str, expected: &str) {
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(host.to_owned()),
        };
        let found = match names().find(&host, 80) {
            Found::Now(found) => format!("now {found:?}"),
            Found::Before(found) => format!("before {found:?}"),
            Found::Failed(error) => format!("failed: {error}"),
            Found::NotYet => "not yet".to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_last_answer_stands_in_for_one_that_is_missing() {
        check("192.0.2.7", "now [192.0.2.7:80]");
        check("here", "now [[fe80::1%2]:80]");
        check("changed", "now [192.0.2.1:80]");
        check("failed", "before [192.0.2.9:80]");
        check("late", "before [192.0.2.9:80]");
        check("nosuch", "failed: no such name");
        check("empty", "failed: entity not found");
        check("half", "not yet");
    }
}
