//! What the kernel is to do in the present state of an instance.

use super::around::{Around, Way};
use super::kept::{Kept, SILENCE};
use super::sessions::{Known, Owner};
use crate::instance::Instance;
use balancing::{AccessList, Arrivals, Backend, Pool, Slots, Stance, Tier};
use config::engine::{approximations, needs_user};
use config::{Bind, Engine, Host, Segment};
use forwarding::{
    Choice, Direct, Door, Family, Mark, Memory, Name, Pit, Protocol, Rules, Ruleset, Sender,
    Service, TableName, Target,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, BackendId, Instant, ListenerId, Source};

/// The marks that backends have, for as long as this process lives.
pub(super) struct Marks {
    /// Of this instance.
    table: TableName,
    by_backend: BTreeMap<(String, SocketAddr), Mark>,
    taken: HashSet<Mark>,
    /// The backend that each of them was last used for.
    owners: HashMap<Mark, BackendId>,
    /// Where address translation has sent, or still sends, sessions with each of them.
    targets: BTreeMap<Mark, Target>,
    /// Those that had open ones when these were counted last.
    open: BTreeSet<Mark>,
    /// Whether an earlier process has left address translation, and direct return, of which nothing is
    /// known yet.
    found: [bool; 2],
    /// Whether there has been address translation, and direct return, in this process or an earlier
    /// one. It goes on for open sessions.
    used: [bool; 2],
    /// What direct return has begun.
    pub kept: Kept,
    /// Listeners of direct return of which this process has no session, and since when.
    quiet: BTreeMap<String, Instant>,
    /// The pace of each pool in which open sessions decide.
    paces: BTreeMap<String, Pace>,
}

/// How fast sessions begin.
struct Pace {
    /// When open sessions were counted last.
    counted_at: Option<std::time::Instant>,
    /// What was known then.
    arrivals: Arrivals,
}

/// How long this process has had no session of a listener when direct return sends on what it does
/// not know: no client that has just come is still on its way to a worker.
const QUIET: Duration = Duration::from_secs(5);

/// What the kernel is to do.
pub(super) struct Plan {
    pub rules: Ruleset,
    /// Each listener whose pool wants the kernel, with what is only approximate, or why it cannot have
    /// it.
    pub listeners: Vec<(String, Result<String, String>)>,
    /// Whose sessions the kernel forwards.
    pub known: Known,
    /// Whose ways are to be looked for.
    pub look_for: Vec<IpAddr>,
    /// Whether rules are wanted for which the ways are not known yet.
    pub is_blind: bool,
    /// Whether they depend on how many sessions are open.
    pub minds_sessions: bool,
}

/// What the kernel can do at present.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    /// Whether it forwards packets of IPv4 and IPv6 to other machines.
    pub forwards: [bool; 2],
    /// Whether the table of connections is nearly full.
    pub is_crowded: bool,
    /// What is on the networks of this machine; `None` if that is not known yet.
    pub around: Option<&'a Around>,
    /// Whether no other process has sessions of this instance.
    pub is_alone: bool,
    /// When open sessions were counted last.
    pub counted_at: Option<std::time::Instant>,
}

impl Marks {
    /// None so far. `found` says whether an earlier process has left address translation, and direct
    /// return.
    pub fn new(table: TableName, found: [bool; 2]) -> Self {
        Self {
            table,
            by_backend: BTreeMap::new(),
            taken: HashSet::new(),
            owners: HashMap::new(),
            targets: BTreeMap::new(),
            open: BTreeSet::new(),
            found,
            used: found,
            kept: Kept::default(),
            quiet: BTreeMap::new(),
            paces: BTreeMap::new(),
        }
    }

    /// Whether this process has had a backend with this mark.
    pub fn is_known(&self, mark: Mark) -> bool {
        self.taken.contains(&mark)
    }

    /// Notes which marks have open sessions.
    pub fn note_open(&mut self, open: impl Iterator<Item = Mark>) {
        self.open = open.filter(|mark| self.targets.contains_key(mark)).collect();
    }

    /// Has the sessions known and counted that go on although no others follow them: the engine of their
    /// pool has changed, or the address of their backend, or the kernel cannot do what is wanted now.
    fn know_left(&mut self, plan: &mut Plan, instance: &Instance) {
        if let Some(rules) = &mut plan.rules.translated {
            self.targets.extend(&rules.targets);
            rules.targets.extend(self.open.iter().map(|mark| (*mark, self.targets[mark])));
        }
        let known = &mut plan.known.owners;
        self.owners.extend(known.iter().map(|(mark, owner)| (*mark, owner.id)));
        if self.owners.len() == known.len() {
            return;
        }
        let backends = instance.pools.iter().flat_map(|pool| pool.all_backends());
        let departed = instance.departed_backends.iter().map(|it| &it.backend);
        let backends: HashMap<_, _> = departed.chain(backends).map(|it| (it.id, it)).collect();
        self.owners.retain(|_, id| backends.contains_key(id));
        for (mark, id) in &self.owners {
            known.entry(*mark).or_insert_with(|| Owner::of(backends[id]));
        }
    }

    /// Knows the sessions that an earlier process may have left with the backends of this one, whatever
    /// engine their pools have now.
    fn inherit(&mut self, instance: &Instance) {
        let [is_translated, is_direct] = std::mem::take(&mut self.found);
        if !is_translated && !is_direct {
            return;
        }
        for listener in &instance.config.listeners {
            let Some(&place) = instance.places.get(&listener.pool) else { continue };
            let (config, pool) = (&instance.config.pools[place], &instance.pools[place]);
            let backends = pool.tiers.iter().flat_map(|tier| tier.backends.iter());
            let doors = listener.binds.iter().flat_map(doors);
            for (door, backend) in doors.flat_map(|door| backends.clone().map(move |it| (door, it)))
            {
                let Some(address) = address(backend, door.family) else { continue };
                let mark = self.mark(&config.name, address);
                self.owners.insert(mark, backend.id);
                if is_translated {
                    let sender = sender(listener.source, door.family);
                    self.targets.insert(mark, Target { address, sender });
                    self.open.insert(mark); // until they are counted
                }
                let is_returned = door.address.is_some_and(|it| !it.is_loopback())
                    && door.port == Some(address.port());
                if is_direct && is_returned {
                    self.kept.know(mark, &config.name, address.ip(), sys::clock::now());
                    self.kept.open(door, &config.name);
                }
            }
        }
    }

    fn mark(&mut self, pool: &str, address: SocketAddr) -> Mark {
        let key = (pool.to_owned(), address);
        if let Some(mark) = self.by_backend.get(&key) {
            return *mark;
        }
        let mut marks = (0..).map(|nth| Mark::of(&self.table, pool, address, nth));
        let free = marks.find(|mark| !self.taken.contains(mark));
        let mark = free.unwrap_or_else(|| Mark::of(&self.table, pool, address, 0)); // there is always one
        self.taken.insert(mark);
        self.by_backend.insert(key, mark);
        mark
    }

    /// What the kernel is to do.
    pub fn plan(&mut self, instance: &Instance, means: Means<'_>) -> Plan {
        let mut plan = Plan {
            rules: Ruleset::default(),
            listeners: Vec::new(),
            known: Known::default(),
            look_for: Vec::new(),
            is_blind: false,
            minds_sessions: false,
        };
        let is_there = |pool: &str| instance.places.contains_key(pool);
        self.paces.retain(|pool, _| is_there(pool));
        for (kind, engine) in [Engine::Kernel, Engine::Direct].into_iter().enumerate() {
            self.used[kind] |= instance.config.pools.iter().any(|pool| pool.engine == engine);
        }
        self.inherit(instance);
        let [is_translated, is_direct] = self.used;
        plan.rules.translated = is_translated.then(Rules::default);
        let (mut direct, nothing) = (Direct::default(), Around::default());
        let (quiet, now) = (std::mem::take(&mut self.quiet), sys::clock::now());
        let is_over = instance.is_shutting_down() || instance.is_leaving || instance.is_paused;
        let was_replaced = instance.departed.iter().any(|(_, it)| it.listener.sessions() > 0);
        let is_alone = means.is_alone && !was_replaced;
        let listeners = instance.config.listeners.iter().zip(&instance.listeners);
        plan.known.doors = all_doors(instance);
        plan.known.flow_seconds = all_flow_seconds(instance);
        for (listener, listening) in listeners {
            let Some(&place) = instance.places.get(&listener.pool) else { continue };
            let (config, pool) = (&instance.config.pools[place], &instance.pools[place]);
            if config.engine == Engine::User {
                continue;
            }
            if is_over {
                if config.engine == Engine::Kernel {
                    self.know_targets(&mut plan, listener, (config, pool));
                }
                continue;
            }
            let needs = needs_user(listener, config);
            let done = match (needs.is_empty(), config.engine) {
                (false, _) => Err(format!("the kernel cannot do this: {}", needs.join(", "))),
                (_, Engine::Direct) => {
                    let doors = self.know_all(&mut plan.known.owners, listener, (config, pool));
                    if means.around.is_none() && !self.kept.addresses().is_empty() {
                        continue; // it will be known soon
                    }
                    let (rules, around) = (&mut direct.rules, means.around.unwrap_or(&nothing));
                    let is_quiet = is_alone && listening.listener.sessions() == 0;
                    let since = *quiet.get(&listener.name).unwrap_or(&now);
                    let adopts = is_quiet && now.since(since) >= QUIET;
                    let segment = listener.segment.as_ref();
                    let hosted = segment.filter(|it| around.has_interface(&it.interface));
                    direct.hosted.extend(hosted.map(|it| it.address));
                    plan.rules.pit = hosted.and_then(|it| pit(it, pool, around));
                    let done = self.send_on(rules, doors, listener, (config, pool), around, adopts);
                    if is_quiet && done.is_ok() {
                        self.quiet.insert(listener.name.clone(), since);
                    }
                    done
                }
                _ => self.serve(&mut plan, listener, (config, pool), means),
            };
            let done = done.map(|()| approximations(config).join(", "));
            plan.listeners.push((listener.bound_to(), done));
        }
        self.know_left(&mut plan, instance);
        plan.look_for = self.kept.addresses();
        plan.is_blind = means.around.is_none() && !plan.look_for.is_empty();
        self.kept.complete(&mut direct, means.around.unwrap_or(&nothing), sys::clock::now());
        plan.rules.direct = is_direct.then_some(direct);
        plan
    }

    /// Has direct return know the backends of a listener. Returns where clients come in.
    fn know_all(
        &mut self,
        owners: &mut HashMap<Mark, Owner>,
        listener: &config::Listener,
        (config, pool): (&config::Pool, &Pool),
    ) -> Vec<Door> {
        let doors: Vec<_> = listener
            .binds
            .iter()
            .flat_map(doors)
            .chain(listener.segment.iter().map(door))
            .collect();
        let now = sys::clock::now();
        let backends = pool.tiers.iter().flat_map(|tier| tier.backends.iter());
        for (door, backend) in backends.flat_map(|it| doors.iter().map(move |door| (door, it))) {
            if let Some(address) = address(backend, door.family) {
                let mark = self.mark(&config.name, address);
                self.kept.know(mark, &config.name, address.ip(), now);
                owners.insert(mark, Owner::of(backend));
            }
        }
        doors
    }

    /// Opens the doors of a listener for direct return.
    fn send_on(
        &mut self,
        rules: &mut Rules<Option<forwarding::Path>>,
        doors: Vec<Door>,
        listener: &config::Listener,
        (config, pool): (&config::Pool, &Pool),
        around: &Around,
        adopts: bool,
    ) -> Result<(), String> {
        let (segment, now) = (listener.segment.as_ref(), sys::clock::now());
        if let Some(Segment { interface, .. }) = segment
            && !around.has_interface(interface)
        {
            return Err(format!("there is no interface {interface} with an address"));
        }
        let (tier, ignores_health) = tier_in_use(pool, now).ok_or(UNAVAILABLE)?;
        let usable = |place: usize| is_usable(&tier.backends[place], pool, ignores_health, now);
        let slots = |door: &Door| {
            let reached = are_reached(door, tier, usable, around)?;
            let is_reached = |place: usize| reached.contains(&place);
            Ok(match segment {
                Some(segment) => tier.byte_slots(segment.by_port, is_reached),
                None => tier.slots(is_reached),
            })
        };
        // Nobody else has had sessions of a segment.
        let adopts = adopts || segment.is_some();
        // It sees clients only, and answers may go on for long.
        let flow_seconds =
            flow_seconds(listener).clamp(FLOW_SECONDS_DIRECT, SILENCE.as_secs() as u32);
        let open = self.open(rules, doors, (config, tier), slots, flow_seconds, adopts)?;
        open.into_iter().for_each(|door| self.kept.open(door, &config.name));
        Ok(())
    }

    /// Opens the doors for which there are `slots`, and returns those.
    ///
    /// # Errors
    /// Why there are none for the last of them, if none is open.
    fn open<T>(
        &mut self,
        rules: &mut Rules<T>,
        doors: Vec<Door>,
        (config, tier): (&config::Pool, &Tier),
        slots: impl Fn(&Door) -> Result<Option<Slots>, String>,
        flow_seconds: u32,
        adopts: bool,
    ) -> Result<Vec<Door>, String> {
        let (mut open, mut why) = (Vec::new(), None);
        for door in doors {
            match slots(&door) {
                Ok(slots) => {
                    let slots = slots.ok_or(WEIGHTLESS)?;
                    let memory = memory(&mut rules.memories, config, door.family);
                    let service = self.service(&door, tier, &slots, config, memory);
                    let is_stable = match service.choice {
                        Choice::Turn | Choice::Random => false,
                        Choice::Network | Choice::Bytes { .. } => memory.is_none(),
                    };
                    let adopts = adopts && is_stable && door.protocol == Protocol::Tcp;
                    let is_udp = door.protocol == Protocol::Udp;
                    let flow_seconds = is_udp.then_some(flow_seconds);
                    rules.open(door, Service { adopts, flow_seconds, ..service });
                    open.push(door);
                }
                Err(error) => why = Some(error),
            }
        }
        // Of the addresses of both protocols, one is enough to be served.
        why.filter(|_| open.is_empty()).map_or(Ok(open), Err)
    }

    fn service(
        &mut self,
        door: &Door,
        tier: &Tier,
        slots: &Slots,
        config: &config::Pool,
        memory: Option<Name>,
    ) -> Service {
        let mark = |it: &Arc<Backend>| Some(self.mark(&config.name, address(it, door.family)?));
        let marks: Vec<_> = tier.backends.iter().map(mark).collect();
        Service {
            family: door.family,
            choice: choice(slots),
            slots: slots.places().iter().filter_map(|place| marks[*place as usize]).collect(),
            permitted: permitted(&config.access, door.family),
            memory,
            flow_seconds: None,
            adopts: false,
        }
    }

    /// Opens the doors of a listener.
    fn serve(
        &mut self,
        plan: &mut Plan,
        listener: &config::Listener,
        (config, pool): (&config::Pool, &Pool),
        means: Means<'_>,
    ) -> Result<(), String> {
        let doors = self.know_targets(plan, listener, (config, pool));
        if means.is_crowded {
            return Err("the kernel's table of connections is nearly full".to_owned());
        }
        let now = sys::clock::now();
        let (tier, ignores_health) = tier_in_use(pool, now).ok_or(UNAVAILABLE)?;
        if doors.is_empty() {
            return Err("it listens on a name".to_owned());
        }
        let usable = |place: usize| is_usable(&tier.backends[place], pool, ignores_health, now);
        let arrivals = tier.policy.has_turns_by_sessions().then(|| {
            plan.minds_sessions = true;
            self.arrivals(&config.name, tier, means.counted_at)
        });
        let slots = |door: &Door| {
            fit(door, tier, usable, means.forwards)?;
            Ok(match arrivals {
                Some(arrivals) => tier.turns_by_sessions(usable, arrivals),
                None => tier.slots(usable),
            })
        };
        let rules = plan.rules.translated.get_or_insert_default();
        let flow_seconds = flow_seconds(listener);
        self.open(rules, doors, (config, tier), slots, flow_seconds, false).map(drop)
    }

    /// The sessions of the tier in use. As many are expected until the next count as came before the
    /// last one.
    fn arrivals(
        &mut self,
        pool: &str,
        tier: &Tier,
        counted_at: Option<std::time::Instant>,
    ) -> Arrivals {
        let before = self.paces.get(pool);
        if let Some(pace) = before.filter(|it| it.counted_at == counted_at) {
            return pace.arrivals;
        }
        let begun = tier.backends.iter().map(|it| it.state.totals().attempts).sum::<u64>();
        let expected = before.map_or(0, |it| begun.saturating_sub(it.arrivals.begun));
        let arrivals = Arrivals { begun, expected };
        self.paces.insert(pool.to_owned(), Pace { counted_at, arrivals });
        arrivals
    }

    /// Has the sessions of all backends of a listener counted, also of those that get none now: they may
    /// have some. Returns where clients come in.
    fn know_targets(
        &mut self,
        plan: &mut Plan,
        listener: &config::Listener,
        (config, pool): (&config::Pool, &Pool),
    ) -> Vec<Door> {
        let doors: Vec<_> = listener.binds.iter().flat_map(doors).collect();
        let tiers = doors.iter().flat_map(|door| pool.tiers.iter().map(move |it| (door, it)));
        for (door, tier) in tiers {
            for backend in tier.backends.iter() {
                self.know(plan, door, listener.source, &config.name, backend);
            }
        }
        doors
    }

    /// Has the sessions of a backend counted.
    fn know(
        &mut self,
        plan: &mut Plan,
        door: &Door,
        source: Source,
        pool: &str,
        backend: &Arc<Backend>,
    ) {
        let Some(address) = address(backend, door.family) else { return };
        let (mark, sender) = (self.mark(pool, address), sender(source, door.family));
        let rules = plan.rules.translated.get_or_insert_default();
        rules.targets.insert(mark, Target { address, sender });
        plan.known.owners.insert(mark, Owner::of(backend));
    }
}

const UNAVAILABLE: &str = "no backend is available";
const WEIGHTLESS: &str = "no backend has a weight";

fn choice(slots: &Slots) -> Choice {
    match slots {
        Slots::Turns(_) => Choice::Turn,
        Slots::Random(_) => Choice::Random,
        Slots::Networks(_) => Choice::Network,
        Slots::Bytes { with_port, .. } => Choice::Bytes { with_port: *with_port },
    }
}

fn permitted(access: &AccessList, family: Family) -> Option<Vec<(IpAddr, IpAddr)>> {
    access.permitted(family == Family::V6).filter(|_| !access.entries().is_empty())
}

/// What is remembered about the clients of a pool, if anything is.
fn memory(
    memories: &mut BTreeMap<Name, Memory>,
    config: &config::Pool,
    family: Family,
) -> Option<Name> {
    let config::Affinity { clients_max, time_limit, sticky: _ } = config.affinity?;
    let seconds = time_limit.map(|limit| limit.as_secs().max(1));
    let memory = Memory { family, clients_max, seconds };
    let name = memory.name(&config.name);
    memories.insert(name, memory);
    Some(name)
}

/// The first tier with an available backend, and whether health is ignored in it.
fn tier_in_use(pool: &Pool, now: Instant) -> Option<(&Tier, bool)> {
    let tiers = pool.tiers.iter().map(|tier| (tier, pool.stance(tier)));
    let mut open = tiers.filter(|(_, stance)| *stance != Stance::Refuse);
    open.find_map(|(tier, stance)| {
        let ignores_health = stance == Stance::FailOpen;
        let usable = |it| is_usable(it, pool, ignores_health, now);
        tier.backends.iter().any(|it| usable(it)).then_some((tier, ignores_health))
    })
}

fn is_usable(backend: &Backend, pool: &Pool, ignores_health: bool, now: Instant) -> bool {
    match ignores_health {
        true => backend.state.is_in_service(),
        false => pool.is_available(backend, now),
    }
}

/// Whom backends see of this protocol.
fn sender(source: Source, family: Family) -> Sender {
    match source {
        Source::Fixed(source) if Family::of(source) == family => Sender::Address(source),
        Source::System | Source::Fixed(_) => Sender::Machine,
        Source::Client => Sender::Client,
    }
}

/// Whether the kernel can send clients of a door to all usable backends of a tier.
///
/// # Errors
/// Why not.
fn fit(
    door: &Door,
    tier: &Tier,
    usable: impl Fn(usize) -> bool,
    forwards: [bool; 2],
) -> Result<(), String> {
    let is_loopback = door.address.is_some_and(|address| address.is_loopback());
    for (_, backend) in tier.backends.iter().enumerate().filter(|(place, _)| usable(*place)) {
        let Some(address) = address(backend, door.family) else {
            return Err(format!("{} has no address of the clients' protocol", backend.name));
        };
        if is_loopback != address.ip().is_loopback() {
            return Err(format!("packets cannot be sent on from here to {}", backend.name));
        }
    }
    match (is_loopback, forwards, door.family) {
        (false, [false, _], Family::V4) => Err("net.ipv4.ip_forward is 0".to_owned()),
        (false, [_, false], Family::V6) => Err("net.ipv6.conf.all.forwarding is 0".to_owned()),
        _ => Ok(()),
    }
}

/// The usable backends of a tier to which frames for a door can be sent now.
///
/// # Errors
/// Why there are none, or that one never can be reached like this.
fn are_reached(
    door: &Door,
    tier: &Tier,
    usable: impl Fn(usize) -> bool,
    around: &Around,
) -> Result<HashSet<usize>, String> {
    let mut reached = HashSet::new();
    for (place, backend) in tier.backends.iter().enumerate().filter(|(place, _)| usable(*place)) {
        let Some(address) = address(backend, door.family) else {
            return Err(format!("{} has no address of the clients' protocol", backend.name));
        };
        match around.way(address.ip()) {
            Way::Known(_) => drop(reached.insert(place)),
            Way::Silent => {}
            Way::None => {
                return Err(format!("{} is not on a network of this machine", backend.name));
            }
        }
    }
    match reached.is_empty() {
        false => Ok(reached),
        true => Err("no available backend answers on the networks of this machine".to_owned()),
    }
}

/// The address of a backend that answered last, if it is of this protocol, or else its first one.
fn address(backend: &Backend, family: Family) -> Option<SocketAddr> {
    let of_family = |address: &&Address| match address {
        Address::Ip(address) => Family::of(address.ip()) == family,
        Address::Unix(_) => false,
    };
    let preferred = backend.addresses.get(backend.state.preferred()).filter(of_family);
    match preferred.or_else(|| backend.addresses.iter().find(of_family))? {
        Address::Ip(address) => Some(*address),
        Address::Unix(_) => None,
    }
}

/// How long a flow of UDP may be silent, in seconds.
fn flow_seconds(listener: &config::Listener) -> u32 {
    let seconds = listener.flows.timeout.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX).clamp(1, FLOW_SECONDS_MAX)
}

/// The least with direct return.
const FLOW_SECONDS_DIRECT: u32 = 300;
/// The kernel counts in ticks, of which there may be 1000 a second, with 31 bits.
const FLOW_SECONDS_MAX: u32 = i32::MAX as u32 / 1000;

/// How long flows may be silent, by where they come in.
fn all_flow_seconds(instance: &Instance) -> Vec<(Door, u32)> {
    let listeners = instance.config.listeners.iter();
    let each = listeners.map(|it| (it.binds.iter().flat_map(doors), flow_seconds(it)));
    let all = each.flat_map(|(doors, seconds)| doors.map(move |door| (door, seconds)));
    all.filter(|(door, _)| door.protocol == Protocol::Udp).collect()
}

/// Where clients of all listeners come in, also of those that are gone except for their sessions.
fn all_doors(instance: &Instance) -> HashMap<Door, ListenerId> {
    let departed = instance.departed.iter().map(|(config, listening)| (config, listening));
    let present = instance.config.listeners.iter().zip(&instance.listeners);
    let all = departed.chain(present).flat_map(|(config, listening)| {
        let id = listening.listener.id();
        config.binds.iter().flat_map(doors).map(move |door| (door, id))
    });
    all.collect()
}

/// Where the clients of a listening address come in.
fn doors(bind: &Bind) -> Vec<Door> {
    let (protocol, host, port, families) = match bind {
        Bind::Tcp { host, port, family } => (Protocol::Tcp, host, *port, *family),
        Bind::Udp { host, port, family } => (Protocol::Udp, host, *port, *family),
        Bind::Unix(_) => return Vec::new(),
    };
    let door = |family, address| Door { family, address, protocol, port: Some(port) };
    match host {
        Some(Host::Address(address)) => {
            let family = Family::of(*address);
            vec![door(family, Some(*address).filter(|it| !it.is_unspecified()))]
        }
        Some(Host::Name(_)) => Vec::new(),
        None if families == config::Family::V4 => vec![door(Family::V4, None)],
        None => vec![door(Family::V4, None), door(Family::V6, None)],
    }
}

/// Where the clients of a segment come in.
fn door(Segment { address, port, is_udp, .. }: &Segment) -> Door {
    let protocol = if *is_udp { Protocol::Udp } else { Protocol::Tcp };
    let address = Some(IpAddr::V4(*address));
    Door { family: Family::V4, address, protocol, port: *port }
}

/// The tarpit of a segment. The addresses of backends and this machine's own are not part of it.
fn pit(Segment { address, pit, .. }: &Segment, pool: &Pool, around: &Around) -> Option<Pit> {
    let of_backend = |backend: &Arc<Backend>| match self::address(backend, Family::V4)?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    let backends = pool.tiers.iter().flat_map(|tier| tier.backends.iter());
    let mut spared: Vec<_> = backends.filter_map(of_backend).collect();
    spared.push(*address);
    spared.extend_from_slice(&around.own);
    Pit::new(pit, &spared)
}
