//! Reloads the configuration file: reads it and looks names up, off the control thread, and then
//! has the owner of the instance apply it.

use crate::certificates;
use crate::desk::{Desk, Known, Reload, Request, Who};
use crate::discover::discover;
use crate::discoveries::Discovered;
use crate::first_names::listening_names;
use crate::found::Found;
use crate::lookup::look_up;
use crate::origin::{Loaded, Origin, ReadError};
use config::{Bind, CommandError, Config, Discovery, Endpoint, Host, Pool, Reply};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use terms::Address;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

/// How long names are looked up before a reload goes on without them.
const NAMES_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of lookups at a time.
const LOOKUPS_MAX: usize = 16;

impl Desk {
    /// Reloads the configuration file. Reloads take turns.
    pub async fn reload(&self, who: Who, confirm: Option<Duration>) -> Result<Reply, CommandError> {
        let Some(origin) = self.origin.clone() else { return Err(CommandError::NoFile) };
        let desk = self.clone();
        // Whoever asked may go away; a reload that has begun is finished nevertheless.
        let task = tokio::spawn(async move {
            let origin = origin.lock().await;
            desk.ask(Request::Reloading).await;
            let read = desk.read(&origin).await;
            let ask = |answer| Request::Reload(Box::new(Reload { who, confirm, read, answer }));
            desk.ask(ask).await
        });
        task.await.ok().flatten().unwrap_or(Err(CommandError::ShuttingDown))
    }

    async fn read(&self, origin: &Origin) -> Result<(Loaded, Found), ReadError> {
        let origin = origin.clone();
        let read = spawn_blocking(move || {
            let loaded = origin.read()?;
            let certificates = certificates::read_all(&loaded.config);
            Ok((loaded, certificates))
        });
        let (loaded, certificates) = match read.await {
            Ok(read) => read?,
            Err(_) => return Err(ReadError::Invalid { reports: Vec::new(), left_out: 1 }),
        };
        let found = self.find_new(&loaded.config).await;
        Ok((loaded, Found { certificates, ..found }))
    }

    /// Looks up the names that are not known yet, all of them at the same time, for two seconds.
    async fn find_new(&self, config: &Config) -> Found {
        let deadline = Instant::now() + NAMES_TIMEOUT;
        let Known { backends, binds, discovered } =
            self.ask(Request::Known).await.unwrap_or_default();
        let hosts = find_hosts(config, &binds, deadline);
        let (backends, discovered, hosts) = tokio::join!(
            self.find_backends(config, backends, deadline),
            self.find_discovered(config, &discovered, deadline),
            hosts
        );
        Found { backends, hosts, discovered, ..Found::default() }
    }

    /// The addresses of backends, beside those that are known already.
    async fn find_backends(
        &self,
        config: &Config,
        mut known: HashMap<String, Vec<Address>>,
        deadline: Instant,
    ) -> HashMap<String, Vec<Address>> {
        let wanted: HashSet<&Endpoint> = named_backends(config).collect();
        let mut lookups = JoinSet::new();
        let room = Arc::new(Semaphore::new(LOOKUPS_MAX));
        for endpoint in wanted {
            let name = endpoint.to_string();
            if !known.contains_key(&name) {
                let (endpoint, desk, room) = (endpoint.clone(), self.clone(), Arc::clone(&room));
                lookups.spawn(async move {
                    let _place = room.acquire().await;
                    (name, look_up(&endpoint, &desk).await.addresses)
                });
            }
        }
        while let Ok(Some(found)) = timeout_at(deadline, lookups.join_next()).await {
            known.extend(found);
        }
        known
    }

    /// What names stand for that stand for several backends, beside those that are known already.
    async fn find_discovered(
        &self,
        config: &Config,
        known: &HashSet<String>,
        deadline: Instant,
    ) -> Vec<(String, Discovered)> {
        let wanted: HashSet<&Discovery> = config.discoveries().collect();
        let (mut lookups, room) = (JoinSet::new(), Arc::new(Semaphore::new(LOOKUPS_MAX)));
        for discovery in wanted.into_iter().filter(|it| !known.contains(&it.to_string())) {
            let (discovery, desk, room) = (discovery.clone(), self.clone(), Arc::clone(&room));
            lookups.spawn(async move {
                let _place = room.acquire().await;
                (discovery.to_string(), discover(&discovery, &desk).await)
            });
        }
        let mut found = Vec::new();
        while let Ok(Some(Ok(it))) = timeout_at(deadline, lookups.join_next()).await {
            found.push(it);
        }
        found
    }
}

/// The addresses of listening hosts that are names, as the system's resolver has them. Those of the
/// `open` addresses are not needed.
async fn find_hosts(
    config: &Config,
    open: &HashSet<Bind>,
    deadline: Instant,
) -> HashMap<String, Result<Vec<IpAddr>, String>> {
    let mut lookups = JoinSet::new();
    let room = Arc::new(Semaphore::new(LOOKUPS_MAX));
    let late = || Err("no answer within two seconds".to_owned());
    let binds = config.listeners.iter().flat_map(|it| &it.binds).filter(|it| !open.contains(it));
    let wanted = listening_names(binds).map(|(name, _)| (name, late()));
    let mut found: HashMap<_, _> = wanted.collect();
    for name in found.keys().cloned() {
        let room = Arc::clone(&room);
        lookups.spawn(async move {
            let _place = room.acquire().await;
            let host = Host::Name(name.clone());
            let resolved = spawn_blocking(move || crate::bind::resolve(&host, 0)).await;
            let resolved = resolved.map_err(std::io::Error::other).flatten();
            let ips = |all: Vec<SocketAddr>| all.iter().map(SocketAddr::ip).collect();
            (name, resolved.map(ips).map_err(|error| error.to_string()))
        });
    }
    while let Ok(Some(Ok((name, answer)))) = timeout_at(deadline, lookups.join_next()).await {
        found.insert(name, answer);
    }
    found
}

/// The addresses of all backends whose host is a name, reject backends included.
pub(crate) fn named_backends(config: &Config) -> impl Iterator<Item = &Endpoint> {
    let backends = config.pools.iter().flat_map(Pool::all_backends);
    let endpoints = backends.map(|backend| &backend.endpoint);
    endpoints.filter(|it| matches!(it, Endpoint::Tcp { host: Host::Name(_), .. }))
}
