//! What the kernel is to do in the present state of an instance.

use crate::instance::Instance;
use balancing::{AdminState, Backend, HealthLimits, Pool, Slots, Stance, Tier};
use config::engine::needs_user;
use config::{Bind, Engine, Host};
use forwarding::{Choice, Door, Family, Mark, Protocol, Ruleset, Sender, Service, Target};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use terms::{Address, Instant, Source};

/// The marks that backends have, for as long as this process lives.
#[derive(Default)]
pub(super) struct Marks {
    by_backend: BTreeMap<(String, SocketAddr), Mark>,
    taken: HashSet<Mark>,
}

/// What the kernel is to do.
pub(super) struct Plan {
    pub rules: Ruleset,
    /// Each listener whose pool wants the kernel, and why it cannot have it.
    pub listeners: Vec<(String, Option<String>)>,
}

impl Marks {
    fn mark(&mut self, pool: &str, address: SocketAddr) -> Mark {
        let key = (pool.to_owned(), address);
        if let Some(mark) = self.by_backend.get(&key) {
            return *mark;
        }
        let mut marks = (0..).map(|nth| Mark::of(pool, address, nth));
        let free = marks.find(|mark| !self.taken.contains(mark));
        let mark = free.unwrap_or_else(|| Mark::of(pool, address, 0)); // there is always one
        self.taken.insert(mark);
        self.by_backend.insert(key, mark);
        mark
    }

    /// What the kernel is to do. `forwards` says for IPv4 and IPv6 whether it forwards packets to
    /// other machines.
    pub fn plan(&mut self, instance: &Instance, forwards: [bool; 2]) -> Plan {
        let mut plan = Plan { rules: Ruleset::default(), listeners: Vec::new() };
        if instance.is_shutting_down() || instance.is_leaving {
            return plan;
        }
        for listener in &instance.config.listeners {
            let Some(&place) = instance.places.get(&listener.pool) else { continue };
            let (config, pool) = (&instance.config.pools[place], &instance.pools[place]);
            if config.engine == Engine::User {
                continue;
            }
            let needs = needs_user(listener, config);
            let why = match needs.is_empty() {
                true => self.serve(&mut plan.rules, listener, config, pool, forwards).err(),
                false => Some(format!("the kernel cannot do this: {}", needs.join(", "))),
            };
            plan.listeners.push((listener.bound_to(), why));
        }
        plan
    }

    /// Opens the doors of a listener.
    fn serve(
        &mut self,
        rules: &mut Ruleset,
        listener: &config::Listener,
        config: &config::Pool,
        pool: &Pool,
        forwards: [bool; 2],
    ) -> Result<(), String> {
        let now = sys::clock::now();
        let (tier, ignores_health) = tier_in_use(pool, now).ok_or("no backend is available")?;
        let doors: Vec<_> = listener.binds.iter().flat_map(doors).collect();
        if doors.is_empty() {
            return Err("it listens on a name".to_owned());
        }
        let mut why = None;
        let mut are_any_open = false;
        for door in doors {
            let usable =
                |place: usize| is_usable(&tier.backends[place], &pool.health, ignores_health, now);
            match fit(&door, tier, usable, forwards) {
                Ok(addresses) => {
                    let slots = tier.slots(usable).ok_or("no backend has a weight")?;
                    let service =
                        self.service(rules, &door, listener.source, config, (slots, addresses));
                    rules.open(door, service);
                    are_any_open = true;
                }
                Err(error) => why = Some(error),
            }
        }
        // Of the addresses of both protocols, one is enough to be served.
        why.filter(|_| !are_any_open).map_or(Ok(()), Err)
    }

    /// The service that chooses among these slots. `addresses` are those of all backends.
    fn service(
        &mut self,
        rules: &mut Ruleset,
        door: &Door,
        source: Source,
        config: &config::Pool,
        (slots, addresses): (Slots, Vec<Option<SocketAddr>>),
    ) -> Service {
        let sender = match source {
            Source::System => Sender::Machine,
            Source::Fixed(source) if Family::of(source) == door.family => Sender::Address(source),
            Source::Fixed(_) => Sender::Machine,
            Source::Client => Sender::Client,
        };
        let marks: Vec<_> = addresses
            .iter()
            .map(|address| {
                let address = (*address)?;
                let mark = self.mark(&config.name, address);
                rules.targets.insert(mark, Target { address, sender });
                Some(mark)
            })
            .collect();
        let choice = match slots {
            Slots::Turns(_) => Choice::Turn,
            Slots::Random(_) => Choice::Random,
            Slots::Networks(_) => Choice::Network,
        };
        // Those that are in a slot are usable, so they have an address.
        let slots = slots.places().iter().filter_map(|place| marks[*place as usize]).collect();
        Service { family: door.family, choice, slots }
    }
}

/// The first tier with an available backend, and whether health counts in it.
fn tier_in_use(pool: &Pool, now: Instant) -> Option<(&Tier, bool)> {
    let stance =
        |tier: &Tier| if pool.thin.is_some() { tier.cursor.stance() } else { Stance::Normal };
    let tiers = pool.tiers.iter().map(|tier| (tier, stance(tier)));
    let mut open = tiers.filter(|(_, stance)| *stance != Stance::Refuse);
    open.find_map(|(tier, stance)| {
        let ignores_health = stance == Stance::FailOpen;
        let usable = |it| is_usable(it, &pool.health, ignores_health, now);
        tier.backends.iter().any(|it| usable(it)).then_some((tier, ignores_health))
    })
}

fn is_usable(backend: &Backend, limits: &HealthLimits, ignores_health: bool, now: Instant) -> bool {
    let state = &backend.state;
    state.admin() == AdminState::Enabled
        && (ignores_health || !state.health().is_left_out(limits, now))
}

/// The addresses of all backends of the tier for clients of a door, as far as they have one.
///
/// # Errors
/// If a usable one has none that the kernel can forward to.
fn fit(
    door: &Door,
    tier: &Tier,
    usable: impl Fn(usize) -> bool,
    forwards: [bool; 2],
) -> Result<Vec<Option<SocketAddr>>, String> {
    let is_loopback = door.address.is_some_and(|address| address.is_loopback());
    let forwards = forwards[usize::from(door.family == Family::V6)];
    let fit = |(place, backend): (usize, &std::sync::Arc<Backend>)| {
        let Some(address) = address(backend, door.family) else {
            return match usable(place) {
                true => Err(format!("{} has no address of the clients' protocol", backend.name)),
                false => Ok(None),
            };
        };
        if is_loopback != address.ip().is_loopback() {
            return match usable(place) {
                true => Err(format!("packets cannot be sent on from here to {}", backend.name)),
                false => Ok(None),
            };
        }
        if !is_loopback && !forwards {
            let setting = match door.family {
                Family::V4 => "net.ipv4.ip_forward",
                Family::V6 => "net.ipv6.conf.all.forwarding",
            };
            return Err(format!("{setting} is 0"));
        }
        Ok(Some(address))
    };
    tier.backends.iter().enumerate().map(fit).collect()
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

/// Where the clients of a listening address come in.
fn doors(bind: &Bind) -> Vec<Door> {
    let (protocol, host, port, families) = match bind {
        Bind::Tcp { host, port, family } => (Protocol::Tcp, host, *port, *family),
        Bind::Udp { host, port, family } => (Protocol::Udp, host, *port, *family),
        Bind::Unix(_) => return Vec::new(),
    };
    let door = |family, address| Door { family, address, protocol, port };
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
