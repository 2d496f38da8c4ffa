//! Reloads the configuration file: reads it and looks names up, off the control thread, and then
//! has the owner of the instance apply it.

use crate::desk::{Desk, Reload, Request, Who};
use crate::first_names::listening_names;
use crate::found::Found;
use crate::lookup::look_up;
use crate::origin::{Loaded, Origin, ReadError};
use config::{CommandError, Config, Endpoint, Host, Pool, Reply};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
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
        let read = spawn_blocking(move || origin.read()).await;
        let loaded = match read {
            Ok(loaded) => loaded?,
            Err(_) => return Err(ReadError::Invalid { reports: Vec::new(), left_out: 1 }),
        };
        let found = self.find_new(&loaded.config).await;
        Ok((loaded, found))
    }

    /// Looks up the names that are not known yet, for two seconds.
    async fn find_new(&self, config: &Config) -> Found {
        let deadline = Instant::now() + NAMES_TIMEOUT;
        let mut backends = self.ask(Request::Known).await.unwrap_or_default();
        let wanted: HashSet<&Endpoint> = named_backends(config).collect();
        let mut lookups = JoinSet::new();
        let room = Arc::new(Semaphore::new(LOOKUPS_MAX));
        for endpoint in wanted {
            let name = endpoint.to_string();
            if !backends.contains_key(&name) {
                let (endpoint, desk, room) = (endpoint.clone(), self.clone(), Arc::clone(&room));
                lookups.spawn(async move {
                    let _place = room.acquire().await;
                    (name, look_up(&endpoint, &desk).await.addresses)
                });
            }
        }
        while let Ok(Some(found)) = timeout_at(deadline, lookups.join_next()).await {
            backends.extend(found);
        }
        Found { backends, hosts: find_hosts(config, deadline).await }
    }
}

/// The addresses of listening hosts that are names.
async fn find_hosts(config: &Config, deadline: Instant) -> HashMap<String, Vec<IpAddr>> {
    let mut found = HashMap::new();
    for (name, _) in listening_names(config) {
        let host = Host::Name(name.clone());
        let lookup = spawn_blocking(move || crate::bind::resolve(&host, 0));
        if let Ok(Ok(Ok(addresses))) = timeout_at(deadline, lookup).await {
            found.insert(name, addresses.iter().map(|it| it.ip()).collect());
        }
    }
    found
}

/// The addresses of all backends whose host is a name, reject backends included.
pub(crate) fn named_backends(config: &Config) -> impl Iterator<Item = &Endpoint> {
    let backends = config.pools.iter().flat_map(Pool::all_backends);
    let endpoints = backends.map(|backend| &backend.endpoint);
    endpoints.filter(|it| matches!(it, Endpoint::Tcp { host: Host::Name(_), .. }))
}
