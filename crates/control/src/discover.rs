//! Lookups of names that stand for several backends.
//!
//! `/etc/hosts` and DNS are asked, the latter for each family of addresses by itself: many name
//! servers fail where they know addresses of the other family only. If a name does not exist, nothing
//! is known; if it exists without addresses of a family, it has none.

#[cfg(test)]
mod tests;

use crate::desk::{Desk, Request};
use crate::discoveries::Discovered;
use crate::lookup::{LOOKUP_TIMEOUT, TTL_MAX, TTL_MIN, in_hosts_file};
use config::{Discovery, Record, Unanswered};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{IntoName, Name, RData, RecordType};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long until the next attempt after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// How long hosts(5) is trusted.
const HOSTS_TTL: Duration = Duration::from_secs(30);
/// How many hosts of one name are looked up at a time.
const HOSTS_AT_ONCE: usize = 16;

/// Looks up a name, within ten seconds.
pub(crate) async fn discover(discovery: &Discovery, desk: &Desk) -> Discovered {
    let resolver = desk.ask(Request::Resolver).await.flatten();
    discover_with(discovery, resolver).await
}

/// As [`discover`], with this resolver.
pub(crate) async fn discover_with(
    discovery: &Discovery,
    resolver: Option<TokioResolver>,
) -> Discovered {
    let find = async {
        match discovery {
            Discovery::Dns { name, port } => addresses(name, resolver.as_ref()).await.at(*port),
            Discovery::Srv { name } => services(name, resolver).await,
        }
    };
    let found = timeout(LOOKUP_TIMEOUT, find).await;
    let late = || Found::failed(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs()));
    let Found { records, unanswered, ttl, error } = found.unwrap_or_else(|_| late());
    let none = || records.is_empty().then(|| "it has no addresses".to_owned());
    let error = error.or_else(none);
    let valid_for = ttl.filter(|_| error.is_none()).map_or(RETRY, within_bounds);
    Discovered { records, unanswered, error, valid_for }
}

/// A TTL between a second and an hour, a little more or less, so that many names, or many
/// instances, do not ask in step.
fn within_bounds(ttl: Duration) -> Duration {
    let percent = RandomState::new().hash_one(ttl) % 21 + 90;
    ttl.clamp(TTL_MIN, TTL_MAX) * u32::try_from(percent).unwrap_or(100) / 100
}

/// What some questions have found.
struct Found<T> {
    records: Vec<T>,
    /// Those that had no answer.
    unanswered: Vec<Unanswered>,
    /// The shortest TTL.
    ttl: Option<Duration>,
    /// Why a question had no answer.
    error: Option<String>,
}

/// The answer to a question.
struct Answered<T> {
    /// The name that it is about, which may be the one that was asked for in a search domain.
    name: Option<Name>,
    records: Vec<T>,
    ttl: Option<Duration>,
}

/// Why there is no answer.
enum NoAnswer {
    /// This name, the last of those that were tried, does not exist.
    NoName(Name),
    Failed(String),
}

impl<T> Found<T> {
    fn failed(error: String) -> Self {
        let unanswered = vec![Unanswered::ALL];
        Self { records: Vec::new(), unanswered, ttl: None, error: Some(error) }
    }

    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.unanswered.extend(other.unanswered);
        self.ttl = [self.ttl, other.ttl].into_iter().flatten().min();
        self.error = self.error.take().or(other.error);
    }

    fn with<U>(self, record: impl FnMut(T) -> U) -> Found<U> {
        let records = self.records.into_iter().map(record).collect();
        Found { records, unanswered: self.unanswered, ttl: self.ttl, error: self.error }
    }
}

impl<T> From<Result<Answered<T>, NoAnswer>> for Found<T> {
    fn from(answer: Result<Answered<T>, NoAnswer>) -> Self {
        match answer {
            Ok(Answered { records, ttl, .. }) => {
                Self { records, unanswered: Vec::new(), ttl, error: None }
            }
            Err(NoAnswer::NoName(_)) => Self::failed("the name does not exist".to_owned()),
            Err(NoAnswer::Failed(why)) => Self::failed(why),
        }
    }
}

impl Found<IpAddr> {
    /// As backends with this port.
    fn at(self, port: u16) -> Found<Record> {
        self.with(|ip| Record {
            address: SocketAddr::new(ip, port),
            priority: 0,
            weight: 0,
            is_missing: false,
            host: None,
        })
    }

    /// As backends of a host in an SRV record. What is not known about it says nothing about others.
    fn of_host(mut self, host: &str, srv: &SRV) -> Found<Record> {
        if self.records.is_empty() && self.error.is_none() {
            self = Self::failed("it has no addresses".to_owned());
        }
        self.error = self.error.map(|error| format!("{host}: {error}"));
        for unanswered in &mut self.unanswered {
            unanswered.host = Some(host.to_owned());
        }
        self.with(|ip| Record {
            address: SocketAddr::new(ip, srv.port),
            priority: srv.priority,
            weight: srv.weight,
            is_missing: false,
            host: Some(host.to_owned()),
        })
    }
}

/// The addresses of a host.
async fn addresses(name: &str, resolver: Option<&TokioResolver>) -> Found<IpAddr> {
    let listed = in_hosts_file(name).await;
    if !listed.is_empty() {
        let (unanswered, ttl) = (Vec::new(), Some(HOSTS_TTL));
        return Found { records: listed, unanswered, ttl, error: None };
    }
    let address = |data: &RData| match data {
        RData::A(it) => Some(IpAddr::V4(it.0)),
        RData::AAAA(it) => Some(IpAddr::V6(it.0)),
        _ => None,
    };
    let (v4, v6) = tokio::join!(
        ask(name, RecordType::A, resolver, address),
        ask(name, RecordType::AAAA, resolver, address)
    );
    let v4 = match better_name(&v4, &v6) {
        Some(name) => ask(name, RecordType::A, resolver, address).await,
        None => v4,
    };
    let v6 = match better_name(&v6, &v4) {
        Some(name) => ask(name, RecordType::AAAA, resolver, address).await,
        None => v6,
    };
    let unanswered = vec![Unanswered { host: None, v4: v4.is_err(), v6: v6.is_err() }];
    let mut found = Found::from(v4);
    found.add(Found::from(v6));
    // One family is enough.
    let error = found.error.filter(|_| found.records.is_empty());
    Found { unanswered, error, ..found }
}

/// The name to ask for again if a name does not exist for one family of addresses, but with search
/// domains another one does for the other family.
fn better_name<T>(
    one: &Result<Answered<T>, NoAnswer>,
    other: &Result<Answered<T>, NoAnswer>,
) -> Option<Name> {
    match (one, other) {
        (Err(NoAnswer::NoName(not)), Ok(Answered { name: Some(is), .. })) if not != is => {
            Some(is.clone())
        }
        _ => None,
    }
}

/// The addresses of all hosts in SRV records.
async fn services(name: &str, resolver: Option<TokioResolver>) -> Found<Record> {
    let service = |data: &RData| match data {
        RData::SRV(it) if !it.target.is_root() => Some(it.clone()),
        _ => None,
    };
    let services = ask(name, RecordType::SRV, resolver.as_ref(), service).await;
    let Found { records: services, unanswered, ttl, error } = Found::from(services);
    let mut found = Found { records: Vec::new(), unanswered, ttl, error };
    let (mut lookups, room) = (JoinSet::new(), Arc::new(Semaphore::new(HOSTS_AT_ONCE)));
    for srv in services.into_iter().take(config::Answer::RECORDS_MAX) {
        let (resolver, room) = (resolver.clone(), Arc::clone(&room));
        lookups.spawn(async move {
            let _place = room.acquire().await;
            // Name servers may write it in another way each time.
            let host = srv.target.to_string().to_ascii_lowercase();
            addresses(&host, resolver.as_ref()).await.of_host(&host, &srv)
        });
    }
    while let Some(host) = lookups.join_next().await {
        found.add(host.unwrap_or_else(|error| Found::failed(error.to_string())));
    }
    found.records.retain(|record| record.address.port() != 0);
    found
}

/// The data of all records of a kind.
async fn ask<T>(
    name: impl IntoName,
    kind: RecordType,
    resolver: Option<&TokioResolver>,
    pick: impl Fn(&RData) -> Option<T>,
) -> Result<Answered<T>, NoAnswer> {
    let Some(resolver) = resolver else {
        return Err(NoAnswer::Failed("no name server is configured".to_owned()));
    };
    match resolver.lookup(name, kind).await {
        Ok(found) => Ok(Answered {
            name: found.message().queries.first().map(|it| it.name.clone()),
            records: found.answers().iter().filter_map(|it| pick(&it.data)).collect(),
            ttl: Some(found.valid_until().saturating_duration_since(Instant::now())),
        }),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NXDomain => Err(NoAnswer::NoName(none.query.name)),
            ResponseCode::NoError => Ok(Answered { name: None, records: Vec::new(), ttl: None }),
            _ => Err(NoAnswer::Failed(NetError::from(none).to_string())),
        },
        Err(error) => Err(NoAnswer::Failed(error.to_string())),
    }
}
