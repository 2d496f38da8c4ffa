//! Asking name servers, and how often that may be done.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver, lookup::Lookup};

use super::names::hostname;

/// What became of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has a name, for so many seconds.
    Name(String, u64),
    /// It has none, for so many seconds.
    NoName(u64),
    /// Nobody answered.
    TimedOut,
    /// The answer was no answer.
    Failed,
}

/// How to ask.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Whom; empty: as in `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long for one address, with one repeat in it.
    pub timeout: Duration,
    /// Whether `/etc/hosts` is asked first.
    pub hosts: bool,
    /// Whether a name must lead back to the address.
    pub verify: bool,
    /// The number of lookups in flight.
    pub parallel: usize,
}

/// A resolver that can be shared by all lookups.
pub struct Resolving {
    resolver: TokioResolver,
    timeout: Duration,
    verify: bool,
}

impl Resolving {
    /// Must be called within a runtime.
    pub fn new(asking: &Asking) -> Result<Self, NetError> {
        let mut builder = if asking.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = asking.servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, vec![], servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set(builder.options_mut(), asking);
        let resolver = builder.build()?;
        Ok(Self { resolver, timeout: asking.timeout, verify: asking.verify })
    }

    /// The name servers that are asked.
    pub fn servers(asking: &Asking) -> Vec<IpAddr> {
        if !asking.servers.is_empty() {
            return asking.servers.iter().map(SocketAddr::ip).collect();
        }
        let system = hickory_resolver::system_conf::read_system_conf();
        system.map_or_else(
            |_| vec![],
            |(config, _)| config.name_servers().iter().map(|server| server.ip).collect(),
        )
    }

    /// Looks an address up.
    pub async fn name_of(&self, ip: IpAddr) -> Outcome {
        let asked = async {
            let lookup = match self.resolver.reverse_lookup(ip).await {
                Ok(lookup) => lookup,
                Err(error) => return failure(&error),
            };
            let seconds = seconds_left(&lookup);
            for name in names(&lookup) {
                if !self.verify || self.leads_back(&name, ip).await {
                    return Outcome::Name(name, seconds);
                }
            }
            Outcome::NoName(seconds)
        };
        tokio::time::timeout(self.timeout, asked).await.unwrap_or(Outcome::TimedOut)
    }

    async fn leads_back(&self, name: &str, ip: IpAddr) -> bool {
        match self.resolver.lookup_ip(format!("{name}.")).await {
            Ok(found) => found.iter().any(|address| address.to_canonical() == ip),
            Err(_) => false,
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn set(options: &mut ResolverOpts, asking: &Asking) {
    options.timeout = asking.timeout / 2;
    options.attempts = 1;
    options.use_hosts_file = if asking.hosts { ResolveHosts::Always } else { ResolveHosts::Never };
    options.max_active_requests = asking.parallel.max(32) * 2;
    options.num_concurrent_reqs = 1;
    // We keep what we found ourselves.
    options.cache_size = 0;
}

/// All host names among the answers, smallest first, so that results repeat.
fn names(lookup: &Lookup) -> Vec<String> {
    let pointers = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::PTR(pointer) => hostname(&pointer.0.to_ascii()),
        _ => None,
    });
    let mut names: Vec<String> = pointers.collect();
    names.sort();
    names
}

fn seconds_left(lookup: &Lookup) -> u64 {
    lookup.valid_until().saturating_duration_since(Instant::now()).as_secs()
}

fn failure(error: &NetError) -> Outcome {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if is_final(error) => {
            Outcome::NoName(none.negative_ttl.map_or(u64::MAX, u64::from))
        }
        NetError::Timeout => Outcome::TimedOut,
        NetError::Io(_) | NetError::NoConnections => Outcome::TimedOut,
        _ => Outcome::Failed,
    }
}

/// Whether the name server said that there is no name, and not that it could not tell.
fn is_final(error: &NetError) -> bool {
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError)
        }
        _ => false,
    }
}

/// A bucket of tokens: so many a second, and a small burst.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Duration,
}

impl Rate {
    /// Zero means no limit. Time is counted from the start of the program.
    pub fn new(per_second: u32) -> Self {
        let burst = f64::from(per_second / 10).max(1.0);
        Self { per_second: f64::from(per_second), burst, tokens: burst, filled: Duration::ZERO }
    }

    /// Takes a token, or says how long there will be none.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let gained = now.saturating_sub(self.filled).as_secs_f64() * self.per_second;
        self.filled = now;
        self.tokens = (self.tokens + gained).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_but_for_a_small_burst() {
        let mut rate = Rate::new(20);
        let mut now = Duration::ZERO;
        let mut taken = 0;
        while now < Duration::from_secs(10) {
            match rate.take(now) {
                Ok(()) => taken += 1,
                Err(wait) => now += wait + Duration::from_nanos(1),
            }
        }
        assert!((200..=203).contains(&taken), "{taken}");
        let mut free = Rate::new(0);
        assert!((0..10_000).all(|_| free.take(Duration::ZERO).is_ok()));
    }
}
