//! What names stand for at the start that stand for several backends.
//!
//! As with other names ([`FirstNames`](crate::first_names::FirstNames)), a process of its own looks
//! them up, and the start does not wait for long.

use crate::bind::StartError;
use crate::discover::discover_with;
use crate::discoveries::{Discovered, Discoveries, with_names};
use crate::lookup::Dns;
use config::{Answers, Config, Discovery};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use sys::aside::Aside;
use tokio::task::JoinSet;

/// How long a start waits for names whose last answers are known.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it waits for others.
const LONG_PATIENCE: Duration = Duration::from_secs(2);

/// What was found at the start.
pub(crate) struct FirstAnswers {
    pub discoveries: Discoveries,
    /// The names whose last known backends are used, with the reason.
    pub last_known: Vec<(String, String)>,
    /// The first name that stands for nothing, with the reason, if all of them do.
    hopeless: Option<(String, String)>,
}

impl FirstAnswers {
    /// Looks up all names in `config`. `last` is used where that does not succeed.
    ///
    /// # Panics
    /// If this process has more than one thread.
    pub fn look_up(config: &Config, last: Answers) -> Self {
        let mut discoveries = Discoveries::new(last);
        discoveries.give(with_names(config));
        let names: Vec<_> = discoveries.names().cloned().collect();
        let found = find(&names, discoveries.answers());
        let (mut last_known, mut hopeless) = (Vec::new(), Vec::new());
        for name in names.iter().map(ToString::to_string) {
            let late = || "no answer in time".to_owned();
            let error = found.get(&name).map_or_else(|| Some(late()), |it| it.error.clone());
            let is_known =
                discoveries.answers().get(&name).is_some_and(|it| !it.records.is_empty());
            match error {
                Some(error) if is_known => last_known.push((name, error)),
                Some(error) if found.contains_key(&name) => hopeless.push((name, error)),
                _ => {}
            }
        }
        let is_hopeless = !names.is_empty() && hopeless.len() == names.len();
        let now = sys::clock::now();
        for (name, found) in found {
            discoveries.learn(&name, found, now);
        }
        let hopeless = hopeless.into_iter().next().filter(|_| is_hopeless);
        Self { discoveries, last_known, hopeless }
    }

    /// Refuses a configuration with a single pool that has no backends because no name in it can be
    /// resolved: whoever has just typed it is still watching.
    ///
    /// # Errors
    /// [`StartError::ResolveBackend`]
    pub fn refuse_unresolved(&self, expanded: &Config) -> Result<(), StartError> {
        match (&expanded.pools[..], &self.hopeless) {
            ([pool], Some((name, error))) if pool.backends().next().is_none() => {
                let (host, source) = (name.clone(), io::Error::other(error.clone()));
                Err(StartError::ResolveBackend { host, source })
            }
            _ => Ok(()),
        }
    }
}

/// The addresses of a name that stands for several backends, as a check of a configuration wants
/// them. Waits for up to ten seconds.
///
/// # Errors
/// Why there are none.
pub fn resolve(discovery: &Discovery) -> Result<Vec<SocketAddr>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let found = runtime.block_on(discover_with(discovery, Dns::default().resolver()));
    match found.error {
        Some(error) if found.records.is_empty() => Err(error),
        _ => Ok(found.records.into_iter().map(|it| it.address).collect()),
    }
}

fn find(names: &[Discovery], last: &Answers) -> BTreeMap<String, Discovered> {
    // Without room for another process there is no answer.
    let begun = (!names.is_empty()).then(|| Aside::begin(|out| discover_all(names, out)).ok());
    let Some(mut aside) = begun.flatten() else { return BTreeMap::new() };
    let is_known = |it: &Discovery| last.contains_key(&it.to_string());
    let patience = if names.iter().all(is_known) { PATIENCE } else { LONG_PATIENCE };
    let mut found = Vec::new();
    aside.read_until(Instant::now() + patience, &mut found);
    let lines = found.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Looks up names, and writes a line for each as soon as there is an answer.
fn discover_all(names: &[Discovery], mut out: File) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let resolver = Dns::default().resolver();
        let mut lookups = JoinSet::new();
        for discovery in names {
            let (discovery, resolver) = (discovery.clone(), resolver.clone());
            lookups.spawn(async move {
                let found = discover_with(&discovery, resolver).await;
                (discovery.to_string(), found)
            });
        }
        while let Some(Ok(found)) = lookups.join_next().await {
            let line = serde_json::to_string(&found).unwrap_or_default() + "\n";
            // Nobody reads it any more if this fails.
            let _ = out.write_all(line.as_bytes());
        }
    });
}
