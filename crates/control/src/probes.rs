//! Which backends are probed, and what the probes have shown.
//!
//! One target is probed for all backends that are at the same address and are asked the same. A
//! backend with several addresses is up if one of them is. The [`Prober`] does the work.

use crate::agents::{Advised, Turn};
use crate::broker::{Begun, Broker};
use crate::prober::{Definition, News, Order, Prober, Question, Remark, Target};
use crate::shown::called;
use crate::why::Said;
use balancing::{BackendState, Health, Pool};
use config::Config;
use probing::{Advice, Probe, SPREAD, Verdict};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use telemetry::{AgentRow, ProbeRow, ProbeVerdict};
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
    /// Runs commands, until the prober has it.
    broker: Option<Broker>,
    /// The programs that it may run.
    programs: BTreeSet<PathBuf>,
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
    /// What it has said, if it is an agent.
    advice: Advice,
    /// The backends that it belongs to.
    backends: Vec<BackendId>,
}

/// A backend that is probed, or has an agent.
struct Watched {
    pool: String,
    tier: usize,
    name: Arc<str>,
    state: Arc<BackendState>,
    /// One for each of its addresses, in their order; none if it only has an agent.
    targets: Vec<Arc<Target>>,
    agent: Option<Advised>,
    /// What the probes have shown.
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
    /// An error, or what its agent has said.
    pub why: Option<String>,
}

impl ProbeFinding {
    /// One about no backend in particular.
    fn general(change: ProbeChange, why: Option<String>) -> Self {
        Self { id: None, change, pool: String::new(), tier: 0, backend: String::new(), why }
    }

    /// The name of the field of a log line that says why.
    pub fn field(&self) -> &'static str {
        match self.change {
            ProbeChange::Down
            | ProbeChange::NoProber
            | ProbeChange::NotRun
            | ProbeChange::BrokerAgain
            | ProbeChange::NoBroker => "error",
            ProbeChange::Up | ProbeChange::Recovered => "agent",
            ProbeChange::Declines | ProbeChange::Accepts => "agent",
        }
    }
}

/// How a backend has changed.
pub(crate) enum ProbeChange {
    Down,
    Up,
    /// From a quarantine.
    Recovered,
    /// Its agent wants no new sessions.
    Declines,
    /// It does again.
    Accepts,
    /// Not a backend: the prober could not begin.
    NoProber,
    /// Nor is this: a program cannot be run.
    NotRun,
    /// The process that runs commands was begun again.
    BrokerAgain,
    /// There is no such process.
    NoBroker,
}

/// The longest time that a start waits for the first verdicts.
const FIRST_VERDICTS: Duration = Duration::from_secs(3);

impl Probes {
    /// None. Backends refer to `connectors`.
    pub fn new(connectors: Arc<Connectors>) -> Self {
        Self { connectors, ..Self::default() }
    }

    /// Uses the process that runs commands.
    pub fn use_broker(&mut self, begun: Begun) {
        let Begun { programs, broker } = begun;
        match broker {
            Ok(broker) => self.broker = Some(broker),
            Err(why) if !programs.is_empty() => {
                self.findings.push(ProbeFinding::general(ProbeChange::NoBroker, Some(why)));
            }
            Err(_) => {}
        }
        self.programs = programs;
    }

    /// Whether a command with this program can be run: only those known at the start can.
    pub fn may_run(&self, program: &Path) -> bool {
        self.programs.contains(program)
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
        let is_probed = |it: &config::Pool| it.checks.probe.is_some() || it.checks.agent.is_some();
        if self.watched.is_empty() && !config.pools.iter().any(is_probed) {
            return;
        }
        let now = sys::clock::now();
        let mut before = std::mem::take(&mut self.watched);
        let mut orders = Vec::new();
        self.targets.values_mut().for_each(|it| it.backends.clear());
        let mut advised = Vec::new();
        for (pool, running) in config.pools.iter().zip(pools) {
            let source = source(config, pool);
            let mut definitions = HashMap::new();
            for ((_, _, given), (tier, _, backend)) in pool.backends().zip(running.backends()) {
                let was = before.remove(&backend.id);
                let called = called(given, backend);
                let limit = given.limits.sessions_max;
                let agent = pool.checks.agent.as_ref().and_then(|it| {
                    let target = Advised::target(it, source, called, backend.addresses.first())?;
                    let known = was.as_ref().and_then(|it| it.agent.as_ref());
                    let advice = known.map(|it| it.advice().clone()).unwrap_or_default();
                    let target = self.target(target, (None, advice), backend.id, &mut orders);
                    Some(Advised::new(target, Arc::clone(&backend.state), limit, known, now))
                });
                if was.as_ref().is_some_and(|it| it.agent.is_some()) || agent.is_some() {
                    advised.push(backend.id);
                }
                let (verdict, since) =
                    was.as_ref().map_or((None, now), |it| (it.verdict, it.since));
                let mut watched = Watched {
                    pool: pool.name.clone(),
                    tier,
                    name: Arc::clone(&backend.name),
                    state: Arc::clone(&backend.state),
                    targets: Vec::new(),
                    agent,
                    verdict,
                    since,
                };
                let is_new = was.is_none();
                if let Some(agent) = was.and_then(|it| it.agent)
                    && watched.agent.is_none()
                {
                    agent.forget(limit, now);
                }
                if let Some(probe) = &pool.checks.probe {
                    let header = backend.send_proxy.or(running.send_proxy);
                    // What answers at a port of its own is spoken to in plain text.
                    let encryption = backend.encryption.clone().filter(|_| probe.port.is_none());
                    // A command gets the backend's name, and makes its own connections.
                    let key = match probe.probe.command() {
                        Some(_) => (None, None, called),
                        None => (header, encryption, ""),
                    };
                    let define = |(header, encryption, called): &(_, Option<Encryption>, &str)| {
                        let question = question(&probe.probe, called, &pool.name);
                        let source = source.filter(|_| called.is_empty());
                        let (rules, header) = (pool.checks.rules(probe), *header);
                        let encryption = encryption.clone();
                        Arc::new(Definition { question, rules, source, header, encryption })
                    };
                    let definition = definitions.entry(key).or_insert_with_key(define);
                    if is_new {
                        backend.state.doubt();
                    }
                    // What its agent says is nothing that probes have shown.
                    let is_silenced = watched.agent.as_ref().is_some_and(Advised::is_down);
                    let known = match is_silenced {
                        true => watched.verdict,
                        false => verdict_of(backend.state.health()),
                    };
                    watched.verdict = if is_new { known } else { watched.verdict };
                    let targets = backend.addresses.iter().map(|address| {
                        let address = at_port(address, probe.port);
                        let target = Target { address, definition: Arc::clone(definition) };
                        self.target(target, (known, Advice::default()), backend.id, &mut orders)
                    });
                    watched.targets = targets.collect();
                } else if watched.agent.is_none() {
                    watched.state.forget_verdict();
                    continue;
                }
                self.watched.insert(backend.id, watched);
            }
        }
        for gone in before.into_values() {
            gone.state.forget_verdict();
            if let Some(agent) = gone.agent {
                let limit = agent.own_limit();
                agent.forget(limit, now);
            }
        }
        self.targets.retain(|_, it| {
            let stays = !it.backends.is_empty();
            if !stays {
                orders.push(Order::Remove(it.id));
                self.by_id.remove(&it.id);
            }
            stays
        });
        self.send(orders);
        let findings: Vec<_> = advised.into_iter().filter_map(|it| self.judge(it, now)).collect();
        self.tell(findings);
    }

    /// Keeps what has changed until somebody takes it.
    fn tell(&mut self, findings: Vec<ProbeFinding>) {
        if !findings.is_empty() {
            self.findings.extend(findings);
            self.notify.notify_one();
        }
    }

    /// The target, which is new or known, of this backend.
    fn target(
        &mut self,
        target: Target,
        (verdict, advice): (Option<Verdict>, Advice),
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
        let (known, its) = (advice.clone(), Arc::clone(&target));
        orders.push(Order::Add { id, target: its, verdict, advice: known });
        self.by_id.insert(id, Arc::clone(&target));
        let probed = Probed { id, verdict, error: None, advice, backends: vec![backend] };
        self.targets.insert(Arc::clone(&target), probed);
        target
    }

    fn send(&mut self, orders: Vec<Order>) {
        if orders.is_empty() {
            return;
        }
        if self.prober.is_none() {
            let (notify, connectors) = (Arc::clone(&self.notify), Arc::clone(&self.connectors));
            match Prober::begin(notify, connectors, self.broker.take()) {
                Ok(prober) => self.prober = Some(prober),
                Err(error) => {
                    let why = Some(error.to_string());
                    self.findings.push(ProbeFinding::general(ProbeChange::NoProber, why));
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
        for (id, News { verdict, error, advice, counts }) in news {
            let Some(probed) = self.by_id.get(&id).and_then(|it| self.targets.get_mut(it)) else {
                continue;
            };
            (probed.verdict, probed.advice) = (verdict, advice);
            if let Some(error) = error {
                probed.error = Some((error, now));
            }
            if counts {
                concerned.extend(&probed.backends);
            }
        }
        let remarks = self.prober.as_ref().map(Prober::take_remarks).unwrap_or_default();
        findings.extend(remarks.into_iter().map(|remark| self.use_remark(remark, now)));
        for backend in concerned {
            findings.extend(self.heed(backend, now));
            findings.extend(self.judge(backend, now));
        }
        findings
    }

    /// What is to be said about commands.
    fn use_remark(&mut self, remark: Remark, now: Instant) -> ProbeFinding {
        let (change, why) = match remark {
            Remark::NotRun(why) => (ProbeChange::NotRun, why),
            Remark::BegunAgain => {
                let why = "the process that runs them ended unexpectedly, and was started again";
                (ProbeChange::BrokerAgain, why.to_owned())
            }
            Remark::Gone => {
                self.forget_commands(now);
                let why = "the process that runs them has ended; restart or upgrade the balancer";
                (ProbeChange::NoBroker, why.to_owned())
            }
        };
        ProbeFinding::general(change, Some(why))
    }

    /// There will be no more commands: what they have shown says less and less.
    fn forget_commands(&mut self, now: Instant) {
        let is_command = |it: &Target| matches!(it.definition.question, Question::Command { .. });
        for (_, probed) in self.targets.iter_mut().filter(|(target, _)| is_command(target)) {
            probed.verdict = None;
        }
        for watched in self.watched.values_mut() {
            if !watched.targets.iter().any(|it| is_command(it)) {
                continue;
            }
            (watched.verdict, watched.since) = (None, now);
            let is_silenced = watched.agent.as_ref().is_some_and(Advised::is_down);
            let health = watched.state.health();
            if matches!(health, Health::Healthy { .. } | Health::Down { .. }) && !is_silenced {
                watched.state.set_health(Health::Unknown);
            }
        }
    }

    /// Does what the agent of a backend advises about its sessions.
    fn heed(&mut self, backend: BackendId, now: Instant) -> Option<ProbeFinding> {
        let watched = self.watched.get_mut(&backend)?;
        let agent = watched.agent.as_mut()?;
        let turn = agent.advise(&self.targets.get(&agent.target)?.advice, now)?;
        let change = match turn {
            Turn::Closed => ProbeChange::Declines,
            Turn::Open => ProbeChange::Accepts,
        };
        let (why, pool) = (agent.says(), watched.pool.clone());
        let (tier, name) = (watched.tier, watched.name.to_string());
        Some(ProbeFinding { id: Some(backend), change, pool, tier, backend: name, why })
    }

    /// An operator has enabled a backend; returns whether its agent wanted something else.
    pub fn overrule(&mut self, backend: BackendId, now: Instant) -> bool {
        let agent = self.watched.get_mut(&backend).and_then(|it| it.agent.as_mut());
        let is_overruled = agent.is_some_and(|it| it.overrule(now));
        let finding = self.judge(backend, now).filter(|_| is_overruled);
        self.tell(finding.into_iter().collect());
        is_overruled
    }

    /// Whether any backend has an agent.
    pub fn has_agents(&self) -> bool {
        self.watched.values().any(|it| it.agent.is_some())
    }

    /// The limits of these backends are those that operators have set, whatever agents say.
    pub fn keep_limits(&mut self, of: &HashSet<BackendId>) {
        for (id, watched) in &mut self.watched {
            if let Some(agent) = &mut watched.agent {
                agent.keep_limit(of.contains(id));
            }
        }
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
        let shown = match up {
            Some(_) => Some(Verdict::Up),
            None => (all_down && !verdicts.is_empty()).then_some(Verdict::Down),
        };
        if shown.is_some() && watched.verdict != shown {
            (watched.verdict, watched.since) = (shown, now);
        }
        let before = watched.state.health();
        let verdict = match (&watched.agent, shown) {
            (Some(agent), _) if agent.is_down() => Verdict::Down,
            (_, Some(verdict)) => verdict,
            // Nobody but the agent has said that it is down.
            (Some(_), None) if verdicts.is_empty() && matches!(before, Health::Down { .. }) => {
                Verdict::Up
            }
            (_, None) => return None,
        };
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
        let watched = self.watched.get(&backend)?;
        let agent = watched.agent.as_ref();
        let why = match agent.filter(|it| it.is_down() || watched.targets.is_empty()) {
            Some(agent) => agent.says(),
            None => self.last_error(backend).filter(|_| is_down).map(|(error, _)| error.clone()),
        };
        let (id, pool, tier) = (Some(backend), watched.pool.clone(), watched.tier);
        Some(ProbeFinding { id, change, pool, tier, backend: watched.name.to_string(), why })
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
        let probe = match &watched.targets.first()?.definition.question {
            Question::Probe(probe) => probe.to_string(),
            Question::Command { command, .. } => command.to_string(),
            Question::Agent(_) => return None,
        };
        Some(ProbeRow {
            probe,
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

    /// What the status says about the agent of a backend.
    pub fn agent_row(&self, backend: BackendId, now: Instant) -> Option<AgentRow> {
        let agent = self.watched.get(&backend)?.agent.as_ref()?;
        let target = self.targets.get(&agent.target)?;
        let error = target.error.as_ref().filter(|_| target.verdict == Some(Verdict::Down));
        Some(agent.row(error.map(|(error, _)| error.clone()), now))
    }

    /// What the agent of a backend has said, for people.
    pub fn agent_says(&self, backend: BackendId) -> Option<Said> {
        let agent = self.watched.get(&backend)?.agent.as_ref()?;
        Some(Said { text: agent.says()?, is_down: agent.is_down() })
    }

    /// Waits until it is known where the first sessions of each pool that is probed are to go, but
    /// not for long.
    pub async fn first_verdicts(&mut self, config: &Config) {
        let checks = || config.pools.iter().map(|it| &it.checks);
        let probes = checks().filter_map(|it| Some(it.probe.as_ref()?.timeout));
        let agents = checks().filter_map(|it| Some(it.agent.as_ref()?.rules().timeout));
        let Some(longest) = probes.chain(agents).max() else { return };
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

    /// Whether each pool has a backend that is up, whose tier's agents have been heard, and all those
    /// of earlier tiers have a verdict; or all of them have one.
    fn is_known(&self) -> bool {
        let mut tiers: BTreeMap<(&str, usize), (bool, bool, bool)> = BTreeMap::new();
        let is_asked = |it: &&Watched| !it.targets.is_empty() || it.agent.is_some();
        for it in self.watched.values().filter(is_asked) {
            let agent = it.agent.as_ref().and_then(|agent| self.targets.get(&agent.target));
            let is_heard = agent.is_none_or(|it| it.verdict.is_some());
            let is_shown = it.targets.is_empty() || it.verdict.is_some();
            let is_down = matches!(it.state.health(), Health::Down { .. });
            let (has_up, has_unknown, has_unheard) = tiers.entry((&it.pool, it.tier)).or_default();
            *has_up |= is_heard && is_shown && !is_down && it.state.granted_percent() > 0;
            *has_unknown |= !is_heard || !is_shown;
            // Until its agent is heard, a backend would get all sessions.
            *has_unheard |= !is_heard;
        }
        let mut settled = HashSet::new();
        tiers.into_iter().all(|((pool, _), (has_up, has_unknown, has_unheard))| {
            let is_settled = settled.contains(pool);
            if has_up {
                settled.insert(pool);
            }
            is_settled || (has_up && !has_unheard) || !has_unknown
        })
    }
}

/// What is asked about the backend of this name.
fn question(probe: &Probe, called: &str, pool: &str) -> Question {
    match probe {
        Probe::Command(command) => Question::Command {
            command: command.clone(),
            backend: called.to_owned(),
            pool: pool.to_owned(),
        },
        probe => Question::Probe(probe.clone()),
    }
}

fn verdict_of(health: Health) -> Option<Verdict> {
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
