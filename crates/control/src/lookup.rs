//! Lookups of names.
//!
//! The first lookup, at the start, uses the system's resolver, as other programs do. Later lookups
//! query DNS, because the system does not report TTLs. Names that only the system knows (NIS, mDNS)
//! are looked up there again, at a fixed interval.

use crate::desk::{Desk, Request};
use config::{Endpoint, Host};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};
use terms::Address;
use tokio::time::timeout;

/// How long an answer of the system, or a failure, is valid.
const UNKNOWN_TTL: Duration = Duration::from_secs(30);
/// The bounds for the TTL of an answer.
pub(crate) const TTL_MIN: Duration = Duration::from_secs(1);
pub(crate) const TTL_MAX: Duration = Duration::from_secs(3600);
/// How long a lookup may take.
pub(crate) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The resolver for DNS. Created when the first name needs it, and again when the system's settings change.
#[derive(Default)]
pub(crate) struct Dns {
    resolver: Option<TokioResolver>,
    /// When the settings were last changed; `None` if there are none, or if they have not been read
    /// yet.
    changed: Option<SystemTime>,
}

/// The result of a lookup, and how long it is valid.
pub(crate) struct Answer {
    /// Empty if nothing was found; the known addresses are then kept.
    pub addresses: Vec<Address>,
    pub valid_for: Duration,
}

/// Looks up an endpoint, within ten seconds.
pub(crate) async fn look_up(endpoint: &Endpoint, desk: &Desk) -> Answer {
    match endpoint {
        Endpoint::Unix(path) => {
            Answer { addresses: vec![Address::Unix(path.clone())], valid_for: TTL_MAX }
        }
        Endpoint::Tcp { host: Host::Address(address), port } => {
            let address = Address::Ip(SocketAddr::new(*address, *port));
            Answer { addresses: vec![address], valid_for: TTL_MAX }
        }
        // In what runs there are none: see `discover`.
        Endpoint::Discovered(_) => Answer { addresses: Vec::new(), valid_for: TTL_MAX },
        Endpoint::Tcp { host: Host::Name(name), port } => {
            let found = timeout(LOOKUP_TIMEOUT, look_up_name(name, *port, desk)).await;
            found.unwrap_or(Answer { addresses: Vec::new(), valid_for: UNKNOWN_TTL })
        }
    }
}

async fn look_up_name(name: &str, port: u16, desk: &Desk) -> Answer {
    let with_port = |ip| Address::Ip(SocketAddr::new(ip, port));
    let found = in_hosts_file(name).await;
    if !found.is_empty() {
        let addresses = found.into_iter().map(with_port).collect();
        return Answer { addresses, valid_for: UNKNOWN_TTL };
    }
    if let Some(resolver) = desk.ask(Request::Resolver).await.flatten()
        && let Ok(found) = resolver.lookup_ip(name).await
    {
        let until = found.valid_until();
        let valid_for = until.saturating_duration_since(std::time::Instant::now());
        let addresses = found.iter().map(with_port).collect();
        return Answer { addresses, valid_for: valid_for.clamp(TTL_MIN, TTL_MAX) };
    }
    let found = tokio::net::lookup_host((name, port)).await;
    let mut addresses: Vec<_> =
        found.map(|found| found.map(Address::Ip).collect()).unwrap_or_default();
    addresses.dedup();
    Answer { addresses, valid_for: UNKNOWN_TTL }
}

impl Dns {
    /// `None` without usable settings; then only the system's resolver is left.
    pub fn resolver(&mut self) -> Option<TokioResolver> {
        let changed = std::fs::metadata(RESOLV_CONF).and_then(|it| it.modified()).ok();
        // Under another root directory the settings may be out of reach; the old ones stay.
        if changed.is_some() && changed != self.changed {
            self.changed = changed;
            let mut builder = TokioResolver::builder_tokio().ok()?;
            // It would read the file once and for all.
            builder.options_mut().use_hosts_file = ResolveHosts::Never;
            // A name is asked for when its TTL is over; nobody asks earlier without a reason.
            builder.options_mut().cache_size = 0;
            self.resolver = builder.build().ok().or(self.resolver.take());
        }
        self.resolver.clone()
    }
}

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The addresses that `/etc/hosts` gives a name. The file may be large: it is read and searched
/// elsewhere.
pub(crate) async fn in_hosts_file(name: &str) -> Vec<IpAddr> {
    let name = name.to_owned();
    let search = move || {
        let hosts = std::fs::read(HOSTS).unwrap_or_default();
        in_hosts(&String::from_utf8_lossy(&hosts), &name)
    };
    tokio::task::spawn_blocking(search).await.unwrap_or_default()
}

/// The addresses that hosts(5) gives a name, in the order of its lines.
fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut found = Vec::new();
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 app\n10.0.0.1\tapp App.test # 10.0.0.8 db\n\
                     ::2 app.test\nnot-an-address db\n10.0.0.3 db db\n10.0.0.3 db";
        let found: Vec<_> = in_hosts(hosts, name).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn hosts_are_read_as_hosts_5_says() {
        check("localhost", &["127.0.0.1"]);
        check("app", &["10.0.0.1"]);
        check("app.TEST.", &["10.0.0.1", "::2"]);
        check("db", &["10.0.0.3"]);
        check("10.0.0.1", &[]);
        check("nobody", &[]);
    }
}
