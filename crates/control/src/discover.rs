//! Lookups of names that stand for several backends.
//!
//! `/etc/hosts` and DNS are asked, the latter for each family of addresses by itself: many name
//! servers fail where they know addresses of the other family only. A name that does not exist is no
//! failure, but nothing is found then, which changes nothing.

use crate::desk::{Desk, Request};
use crate::discoveries::Discovered;
use crate::lookup::{LOOKUP_TIMEOUT, TTL_MAX, TTL_MIN, in_hosts_file};
use config::{Complete, Discovery, Record};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
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
    let Found { records, complete, ttl, error } = found.unwrap_or_else(|_| late());
    let none = || records.is_empty().then(|| "it has no addresses".to_owned());
    let error = error.or_else(none);
    let valid_for = ttl.filter(|_| error.is_none()).map_or(RETRY, within_bounds);
    Discovered { records, complete, error, valid_for }
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
    complete: Complete,
    /// The shortest TTL.
    ttl: Option<Duration>,
    /// Why a question had no answer.
    error: Option<String>,
}

impl<T> Found<T> {
    fn failed(error: String) -> Self {
        let complete = Complete { v4: false, v6: false };
        Self { records: Vec::new(), complete, ttl: None, error: Some(error) }
    }

    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.complete.v4 &= other.complete.v4;
        self.complete.v6 &= other.complete.v6;
        self.ttl = [self.ttl, other.ttl].into_iter().flatten().min();
        self.error = self.error.take().or(other.error);
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
        })
    }

    fn with(self, record: impl FnMut(IpAddr) -> Record) -> Found<Record> {
        let records = self.records.into_iter().map(record).collect();
        Found { records, complete: self.complete, ttl: self.ttl, error: self.error }
    }
}

/// The addresses of a host.
async fn addresses(name: &str, resolver: Option<&TokioResolver>) -> Found<IpAddr> {
    let listed = in_hosts_file(name).await;
    if !listed.is_empty() {
        let (complete, ttl) = (Complete::ALL, Some(HOSTS_TTL));
        return Found { records: listed, complete, ttl, error: None };
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
    let complete = Complete { v4: v4.error.is_none(), v6: v6.error.is_none() };
    let mut found = v4;
    found.add(v6);
    // One family is enough.
    let error = found.error.filter(|_| found.records.is_empty());
    Found { complete, error, ..found }
}

/// The addresses of all hosts in SRV records.
async fn services(name: &str, resolver: Option<TokioResolver>) -> Found<Record> {
    let service = |data: &RData| match data {
        RData::SRV(it) if !it.target.is_root() => Some(it.clone()),
        _ => None,
    };
    let services = ask(name, RecordType::SRV, resolver.as_ref(), service).await;
    let Found { records: services, complete, ttl, error } = services;
    let mut found = Found { records: Vec::new(), complete, ttl, error };
    let (mut lookups, room) = (JoinSet::new(), Arc::new(Semaphore::new(HOSTS_AT_ONCE)));
    for srv in services.into_iter().take(config::Answer::RECORDS_MAX) {
        let (resolver, room) = (resolver.clone(), Arc::clone(&room));
        lookups.spawn(async move {
            let _place = room.acquire().await;
            let target = srv.target.to_string();
            let mut found = addresses(&target, resolver.as_ref()).await;
            if found.records.is_empty() && found.error.is_none() {
                found = Found::failed(format!("{target} has no addresses"));
            }
            found.with(|ip| Record {
                address: SocketAddr::new(ip, srv.port),
                priority: srv.priority,
                weight: srv.weight,
                is_missing: false,
            })
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
    name: &str,
    kind: RecordType,
    resolver: Option<&TokioResolver>,
    pick: impl Fn(&RData) -> Option<T>,
) -> Found<T> {
    let Some(resolver) = resolver else {
        return Found::failed("no name server is configured".to_owned());
    };
    match resolver.lookup(name, kind).await {
        Ok(found) => Found {
            records: found.answers().iter().filter_map(|it| pick(&it.data)).collect(),
            complete: Complete::ALL,
            ttl: Some(found.valid_until().saturating_duration_since(Instant::now())),
            error: None,
        },
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            Found { records: Vec::new(), complete: Complete::ALL, ttl: None, error: None }
        }
        Err(error) => Found::failed(error.to_string()),
    }
}
