//! Which backends are probed, and what the probes have shown.
//!
//! One target is probed for all backends that are at the same address and are asked the same. A
//! backend with several addresses is up if one of them is. The [`Prober`] does the work.

use crate::prober::{Definition, News, Order, Prober, Target};
use balancing::{BackendState, Health, Pool};
use config::Config;
use probing::{SPREAD, Verdict};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{ProbeRow, ProbeVerdict};
use terms::{Address, BackendId, Encryption, Instant, Source};
use tls::Connectors;
use tokio::sync::Notify;
use tokio::time::timeout;

/// All probes of an instance.
#[derive(Default)]
pub(crate) struct Probes {
    /// Begun with the first target.
    prober: Option<Prober>,
    connectors: Arc<Connectors>,
    notify: Arc<Notify>,
    targets: HashMap<Arc<Target>, Probed>,
    by_id: HashMap<u64, Arc<Target>>,
    watched: HashMap<BackendId, Watched>,
    ids: u64,
    /// What was found out other than by a probe.
    findings: Vec<ProbeFinding>,
}

/// What is known about a target.
struct Probed {
    id: u64,
    verdict: Option<Verdict>,
    error: Option<(String, Instant)>,
    /// The backends that it belongs to.
    backends: Vec<BackendId>,
}

/// A backend that is probed.
struct Watched {
    pool: String,
    tier: usize,
    name: String,
    state: Arc<BackendState>,
    /// One for each of its addresses, in their order.
    targets: Vec<Arc<Target>>,
    verdict: Option<Verdict>,
    since: Instant,
}

/// What probes have changed.
pub(crate) struct ProbeFinding {
    /// `None` if it is about all backends.
    pub id: Option<BackendId>,
    pub change: ProbeChange,
    pub pool: String,
    /// The number of its tier.
    pub tier: usize,
    /// Empty if it concerns all of them.
    pub backend: String,
    pub error: Option<String>,
}

/// How a backend has changed.
pub(crate) enum ProbeChange {
    Down,
    Up,
    /// From a quarantine.
    Recovered,
    /// Not a backend: the prober could not begin.
    NoProber,
}

/// The longest time that a start waits for the first verdicts.
const FIRST_VERDICTS: Duration = Duration::from_secs(3);

impl Probes {
    /// None. Backends refer to `connectors`.
    pub fn new(connectors: Arc<Connectors>) -> Self {
        Self { connectors, ..Self::default() }
    }

    /// Notified when there is news to be [taken](Self::take_news).
    pub fn notify(&self) -> Arc<Notify> {
        Arc::clone(&self.notify)
    }

    /// Probes the backends of these pools, which are those of the configuration, and no others.
    ///
    /// Targets that stay keep their verdicts. What is new is assumed to be as its backend is, so
    /// that another interval, for instance, forgets nothing.
    pub fn update<'a>(&mut self, config: &Config, pools: impl Iterator<Item = &'a Pool>) {
        let is_probed = |it: &config::Pool| it.checks.probe.is_some();
        if self.watched.is_empty() && !config.pools.iter().any(is_probed) {
            return;
        }
        let now = sys::clock::now();
        let mut before = std::mem::take(&mut self.watched);
        let mut orders = Vec::new();
        self.targets.values_mut().for_each(|it| it.backends.clear());
        for (pool, running) in config.pools.iter().zip(pools) {
            let Some(probe) = &pool.checks.probe else { continue };
            let source = source(config, pool);
            let mut definitions = HashMap::new();
            for (tier, _, backend) in running.backends() {
                let header = backend.send_proxy.or(running.send_proxy);
                // What answers at a port of its own is spoken to in plain text.
                let encryption = backend.encryption.clone().filter(|_| probe.port.is_none());
                let key = (header, encryption);
                let define = |(header, encryption): &(_, Option<Encryption>)| {
                    let (probe, rules) = (probe.probe.clone(), pool.checks.rules(probe));
                    let (header, encryption) = (*header, encryption.clone());
                    Arc::new(Definition { probe, rules, source, header, encryption })
                };
                let definition = definitions.entry(key).or_insert_with_key(define);
                let was = before.remove(&backend.id);
                if was.is_none() {
                    backend.state.doubt();
                }
                let verdict = verdict(backend.state.health());
                let targets = backend.addresses.iter().map(|address| {
                    let address = at_port(address, probe.port);
                    let target = Target { address, definition: Arc::clone(definition) };
                    self.target(target, verdict, backend.id, &mut orders)
                });
                let watched = Watched {
                    pool: pool.name.clone(),
                    tier,
                    name: backend.name.clone(),
                    state: Arc::clone(&backend.state),
                    targets: targets.collect(),
                    verdict: was.as_ref().map_or(verdict, |it| it.verdict),
                    since: was.as_ref().map_or(now, |it| it.since),
                };
                self.watched.insert(backend.id, watched);
            }
        }
        before.into_values().for_each(|gone| gone.state.forget_verdict());
        self.targets.retain(|_, it| {
            let stays = !it.backends.is_empty();
            if !stays {
                orders.push(Order::Remove(it.id));
                self.by_id.remove(&it.id);
            }
            stays
        });
        self.send(orders);
    }

    /// The target, which is new or known, of this backend.
    fn target(
        &mut self,
        target: Target,
        verdict: Option<Verdict>,
        backend: BackendId,
        orders: &mut Vec<Order>,
    ) -> Arc<Target> {
        if let Some(known) = self.targets.get_key_value(&target).map(|(it, _)| Arc::clone(it)) {
            if let Some(probed) = self.targets.get_mut(&known) {
                probed.backends.push(backend);
            }
            return known;
        }
        self.ids += 1;
        let (id, target) = (self.ids, Arc::new(target));
        orders.push(Order::Add { id, target: Arc::clone(&target), verdict });
        self.by_id.insert(id, Arc::clone(&target));
        let probed = Probed { id, verdict, error: None, backends: vec![backend] };
        self.targets.insert(Arc::clone(&target), probed);
        target
    }

    fn send(&mut self, orders: Vec<Order>) {
        if orders.is_empty() {
            return;
        }
        if self.prober.is_none() {
            match Prober::begin(Arc::clone(&self.notify), Arc::clone(&self.connectors)) {
                Ok(prober) => self.prober = Some(prober),
                Err(error) => {
                    let (change, error) = (ProbeChange::NoProber, Some(error.to_string()));
                    let (pool, backend) = (String::new(), String::new());
                    self.findings.push(ProbeFinding {
                        id: None,
                        change,
                        pool,
                        tier: 0,
                        backend,
                        error,
                    });
                    self.notify.notify_one();
                    return;
                }
            }
        }
        if let Some(prober) = &self.prober {
            prober.send(orders);
        }
    }

    /// Probes a backend now, because a connect to it has failed.
    pub fn hurry(&self, backend: BackendId) {
        let (Some(watched), Some(prober)) = (self.watched.get(&backend), &self.prober) else {
            return;
        };
        let ids = watched.targets.iter().filter_map(|it| self.targets.get(it));
        prober.send(ids.map(|it| Order::Hurry(it.id)).collect());
    }

    /// Gives the backends the health that their probes have shown, and returns what has changed.
    pub fn take_news(&mut self, now: Instant) -> Vec<ProbeFinding> {
        let mut findings = std::mem::take(&mut self.findings);
        let news = self.prober.as_ref().map(Prober::take_news).unwrap_or_default();
        let mut concerned = Vec::new();
        for (id, News { verdict, error, counts }) in news {
            let Some(probed) = self.by_id.get(&id).and_then(|it| self.targets.get_mut(it)) else {
                continue;
            };
            probed.verdict = verdict;
            if let Some(error) = error {
                probed.error = Some((error, now));
            }
            if counts {
                concerned.extend(&probed.backends);
            }
        }
        findings.extend(concerned.into_iter().filter_map(|it| self.judge(it, now)));
        findings
    }

    /// Gives a backend the health that the verdicts about its targets come to.
    fn judge(&mut self, backend: BackendId, now: Instant) -> Option<ProbeFinding> {
        let watched = self.watched.get_mut(&backend)?;
        let verdicts = watched.targets.iter().map(|it| self.targets.get(it)?.verdict);
        let verdicts: Vec<_> = verdicts.collect();
        let up = verdicts.iter().position(|it| *it == Some(Verdict::Up));
        let preferred = verdicts.get(watched.state.preferred()).copied().flatten();
        if let Some(up) = up
            && preferred == Some(Verdict::Down)
        {
            watched.state.set_preferred(up);
        }
        let all_down = verdicts.iter().all(|it| *it == Some(Verdict::Down));
        let verdict = match up {
            Some(_) => Verdict::Up,
            None if all_down && !verdicts.is_empty() => Verdict::Down,
            None => return None,
        };
        if watched.verdict != Some(verdict) {
            (watched.verdict, watched.since) = (Some(verdict), now);
        }
        let before = watched.state.health();
        if !watched.state.judge(verdict == Verdict::Up, now) {
            return None;
        }
        let change = match (verdict, before) {
            (Verdict::Down, _) => ProbeChange::Down,
            (Verdict::Up, Health::Quarantined { .. }) => ProbeChange::Recovered,
            // That it answers when it is first asked is no news.
            (Verdict::Up, Health::Unknown) => return None,
            (Verdict::Up, _) => ProbeChange::Up,
        };
        let is_down = matches!(change, ProbeChange::Down);
        let error = self.last_error(backend).filter(|_| is_down).map(|(error, _)| error.clone());
        let watched = self.watched.get(&backend)?;
        let (id, pool, tier) = (Some(backend), watched.pool.clone(), watched.tier);
        Some(ProbeFinding { id, change, pool, tier, backend: watched.name.clone(), error })
    }

    fn last_error(&self, backend: BackendId) -> Option<&(String, Instant)> {
        let targets = self.watched.get(&backend)?.targets.iter();
        let errors = targets.filter_map(|it| self.targets.get(it)?.error.as_ref());
        errors.max_by_key(|(_, when)| *when)
    }

    /// What the status says about the probes of a backend.
    pub fn row(&self, backend: BackendId, now: Instant) -> Option<ProbeRow> {
        let watched = self.watched.get(&backend)?;
        let error = self.last_error(backend);
        Some(ProbeRow {
            probe: watched.targets.first()?.definition.probe.to_string(),
            verdict: match watched.verdict {
                None => ProbeVerdict::Unknown,
                Some(Verdict::Up) => ProbeVerdict::Up,
                Some(Verdict::Down) => ProbeVerdict::Down,
            },
            since_seconds: now.since(watched.since).as_secs(),
            last_error: error.map(|(error, _)| error.clone()),
            last_error_seconds: error.map(|(_, when)| now.since(*when).as_secs()),
        })
    }

    /// Waits until it is known where the first sessions of each pool that is probed are to go, but
    /// not for long.
    pub async fn first_verdicts(&mut self, config: &Config) {
        let probes = config.pools.iter().filter_map(|it| it.checks.probe.as_ref());
        let Some(longest) = probes.map(|it| it.timeout).max() else { return };
        let wait = async {
            while !self.is_known() {
                self.notify.notified().await;
                let findings = self.take_news(sys::clock::now());
                self.findings.extend(findings);
            }
        };
        // Whatever is known by then must do.
        let _ = timeout((longest + SPREAD).min(FIRST_VERDICTS), wait).await;
        if !self.findings.is_empty() {
            self.notify.notify_one();
        }
    }

    /// Whether each pool has a backend that is up, and all those of earlier tiers have a verdict; or
    /// all of them have one.
    fn is_known(&self) -> bool {
        let mut tiers: BTreeMap<(&str, usize), (bool, bool)> = BTreeMap::new();
        for it in self.watched.values().filter(|it| !it.targets.is_empty()) {
            let (has_up, has_unknown) = tiers.entry((&it.pool, it.tier)).or_default();
            *has_up |= it.verdict == Some(Verdict::Up);
            *has_unknown |= it.verdict.is_none();
        }
        let mut settled = HashSet::new();
        tiers.into_iter().all(|((pool, _), (has_up, has_unknown))| {
            let is_settled = settled.contains(pool);
            if has_up {
                settled.insert(pool);
            }
            is_settled || has_up || !has_unknown
        })
    }
}

fn verdict(health: Health) -> Option<Verdict> {
    match health {
        Health::Unknown => None,
        Health::Down { .. } => Some(Verdict::Down),
        Health::Healthy { .. } | Health::Quarantined { .. } | Health::Ejected { .. } => {
            Some(Verdict::Up)
        }
    }
}

/// The address that sessions of the pool are sent from, if all its listeners have the same.
fn source(config: &Config, pool: &config::Pool) -> Option<std::net::IpAddr> {
    let listeners = config.listeners.iter().filter(|it| it.pool == pool.name);
    let sources: HashSet<_> = listeners
        .map(|it| match it.source {
            Source::Fixed(address) => Some(address),
            Source::System | Source::Client => None,
        })
        .collect();
    if sources.len() == 1 { sources.into_iter().next().flatten() } else { None }
}

fn at_port(address: &Address, port: Option<u16>) -> Address {
    match (address, port) {
        (Address::Ip(address), Some(port)) => {
            Address::Ip(std::net::SocketAddr::new(address.ip(), port))
        }
        (address, _) => address.clone(),
    }
}
