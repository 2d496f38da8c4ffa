//! Whether the backends of a configuration resolve and accept connections.

use super::bounded::each;
use config::file::{Code, Part, Places};
use config::{Backend, Bind, Config, Endpoint, Host, Listener};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use sys::errors::reason;

/// Connects once to each backend and adds a report for each that does not accept. Those of UDP alone
/// have nothing to accept: only their names are resolved.
pub fn check(config: &Config, places: &mut Places<'_>) {
    let mut all = Vec::new();
    for pool in &config.pools {
        let accepts = !is_for_udp(config, &pool.name);
        let asked = |place, backend: &Backend| Asked {
            pool: pool.name.clone(),
            place,
            endpoint: backend.endpoint.clone(),
            accepts,
        };
        let backends = pool.backends();
        all.extend(backends.map(|(tier, index, backend)| asked(Some((tier, index)), backend)));
        all.extend(pool.reject.as_ref().map(|backend| asked(None, backend)));
    }
    let mut unchecked = Vec::new();
    for (asked, result) in each(all, LIMIT, reach) {
        match result {
            Some(Ok(())) => {}
            Some(Err(Failure::Unresolved(reason))) => {
                let message = format!("{} cannot be resolved: {reason}", asked.endpoint);
                let help = "correct the name; the balancer looks it up again until it resolves";
                places.report(Code::Unresolved, asked.part(), &message, help);
            }
            Some(Err(Failure::Unreachable(reason))) => {
                let message = format!("{} does not accept connections: {reason}", asked.endpoint);
                places.report(Code::Unreachable, asked.part(), &message, "");
            }
            None => unchecked.push(asked),
        }
    }
    if let Some(first) = unchecked.first() {
        let more = match unchecked.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let seconds = LIMIT.as_secs();
        let message = format!("{}{more} did not answer within {seconds} s", first.endpoint);
        places.report(Code::Unchecked, first.part(), &message, "");
    }
}

#[derive(Clone)]
struct Asked {
    pool: String,
    /// Absent for a reject backend.
    place: Option<(usize, usize)>,
    endpoint: Endpoint,
    /// Whether it should accept connections.
    accepts: bool,
}

/// Whether all that clients send to a pool is datagrams.
fn is_for_udp(config: &Config, pool: &str) -> bool {
    let leads = |it: &&Listener| it.pool == pool || it.routes.iter().any(|it| it.pool == pool);
    let mut binds = config.listeners.iter().filter(leads).flat_map(|it| &it.binds).peekable();
    binds.peek().is_some() && binds.all(Bind::is_udp)
}

impl Asked {
    fn part(&self) -> Part<'_> {
        match self.place {
            Some((tier, index)) => Part::Backend(&self.pool, tier, index),
            None => Part::Pool(&self.pool, "reject"),
        }
    }
}

enum Failure {
    Unresolved(String),
    Unreachable(String),
}

fn reach(asked: &Asked) -> Result<(), Failure> {
    let accepts = asked.accepts;
    let (host, port) = match &asked.endpoint {
        Endpoint::Unix(path) => {
            return UnixStream::connect(path).map(drop).map_err(|error| unreachable(&error));
        }
        Endpoint::Tcp { host, port } => (host, *port),
        Endpoint::Discovered(discovery) => {
            let found = control::resolve(discovery).map_err(Failure::Unresolved)?;
            return connect(found.into_iter().take(ADDRESSES_MAX), accepts);
        }
    };
    let addresses: Vec<SocketAddr> = match host {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => match (name.as_str(), port).to_socket_addrs() {
            Ok(found) => found.take(ADDRESSES_MAX).collect(),
            Err(error) => return Err(Failure::Unresolved(reason(&error))),
        },
    };
    connect(addresses.into_iter(), accepts)
}

/// Connects to the first address that accepts, if one should.
fn connect(addresses: impl Iterator<Item = SocketAddr>, accepts: bool) -> Result<(), Failure> {
    let mut last = Failure::Unresolved("it has no addresses".to_owned());
    for address in addresses {
        if !accepts {
            return Ok(());
        }
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(_) => return Ok(()),
            Err(error) => last = unreachable(&error),
        }
    }
    Err(last)
}

fn unreachable(error: &io::Error) -> Failure {
    Failure::Unreachable(reason(error))
}

/// For all backends together.
const LIMIT: Duration = Duration::from_secs(30);
/// For one address.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Of one name.
const ADDRESSES_MAX: usize = 4;
