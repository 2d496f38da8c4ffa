//! What the parts of a file mean: values by the parsers of the options, references, and whether
//! the parts fit together.

mod access;
mod addresses;
mod options;
mod ports;
mod routes;
mod tiers;

use super::Code;
use super::excerpt::quoted;
use super::parts::{BackendPart, ListenerPart, Parts, PoolPart, Word};
use super::report::{Fault, Reports};
use super::suggest::nearest;
use crate::duration::{Span, parse_interval};
use crate::keys::Place;
use crate::operand::{Services, parse_listen};
use crate::protocols::{misfit, unannounced};
use crate::words::Choice;
use crate::{Bind, Config, Family, Host, Listener, Pool, Process, Push};
pub(super) use options::Known;
use options::Options;
use ports::{Port, Ports};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use tiers::Reading;

/// The configuration that the parts mean. What is wrong with them is reported; the result is then
/// of no use. `known` is from an earlier reading, and is then what the next one can use.
pub(super) fn meaning(
    parts: &Parts,
    services: Services<'_>,
    known: &mut Known,
    reports: &mut Reports<'_>,
) -> Config {
    let mut options = Options::new(&parts.defaults, services, std::mem::take(known), reports);
    let process = options.read(Place::Process, "process", &parts.process, None, reports);
    let process = process.map_or_else(Process::default, |config| config.process);
    let access = access::access(&parts.access, reports);
    let upgrade_drain = parts.upgrade_drain.as_ref();
    let upgrade_drain = upgrade_drain
        .and_then(|word| value(word, "upgrade-drain", "process", word.text.parse(), reports));
    let push = push(parts, reports);
    let process = Process { watch: parts.watch, push, upgrade_drain, access, ..process };
    if parts.listeners.is_empty() && parts.unread.is_empty() {
        let fault = Fault::new(Code::NoListeners, &Reports::BEGINNING, "the file has no listeners");
        reports.add(fault.help("add one, as in `[listeners]` and `web = \"80 app1 app2\"`"));
    }
    let mut pools = unique_pools(&parts.pools, reports);
    pools.extend(parts.unread.iter().map(String::as_str));
    let mut binds = Vec::new();
    let mut is_certain = true;
    for listener in &parts.listeners {
        for pool in listener.pools() {
            is_certain &= check_reference(pool, &listener.name, &pools, reports);
        }
        binds.push(read_binds(listener, services, reports));
    }
    addresses::check(&parts.listeners, &binds, reports);
    let ports = Ports::new(&parts.listeners, &binds, is_certain);
    let listeners = parts.listeners.iter().zip(binds);
    let listeners = listeners.filter_map(|(part, binds)| {
        let place = format!("listeners.{}", part.name);
        let config = options.read(Place::Listener, &place, &part.settings, None, reports)?;
        check_limits(part, reports);
        let routes = routes::routes(part, reports);
        let hello_wait = routes::hello_wait(part, reports);
        let is_ended = config.listeners.first().is_some_and(|listener| listener.tls.is_some());
        let starttls = routes::starttls(part, is_ended, reports);
        let binds: Vec<_> = binds.into_iter().flatten().collect();
        check_protocol(part, &binds, reports);
        config.listeners.into_iter().next().map(|settings| Listener {
            name: part.name.clone(),
            binds,
            pool: part.pool.as_ref().map(|pool| pool.text.clone()).unwrap_or_default(),
            routes,
            hello_wait: hello_wait.unwrap_or(settings.hello_wait),
            starttls,
            dummy: part.dummy,
            ..settings
        })
    });
    let listeners: Vec<_> = listeners.collect();
    let pools = parts.pools.iter();
    let pools = pools
        .filter_map(|part| {
            let own = part.settings.iter().any(|setting| setting.key.name == "reject");
            let default = parts.default_reject.as_ref().filter(|_| !own);
            let reject = part.reject.as_ref().or(default);
            pool(part, reject, ports.of(&part.name), services, &mut options, reports)
        })
        .collect::<Vec<_>>();
    if is_certain {
        check_use(parts, reports);
    }
    check_announcing(parts, &listeners, &pools, reports);
    *known = options.finish();
    Config { listeners, pools, process }
}

fn pool(
    part: &PoolPart,
    reject: Option<&BackendPart>,
    port: &Port<'_>,
    services: Services<'_>,
    options: &mut Options<'_>,
    reports: &mut Reports<'_>,
) -> Option<Pool> {
    let place = format!("pools.{}", part.name);
    let settings = options.read(Place::Pool, &place, &part.settings, Some(port), reports);
    let settings = settings.and_then(|config| config.pools.into_iter().next());
    let mut reading = Reading {
        place: &place,
        settings: settings.as_ref(),
        is_policy_known: part.is_policy_known,
        port,
        services,
        options,
    };
    let tiers = reading.tiers(part, reports);
    let reject = reject.and_then(|part| reading.reject(part, reports));
    let (name, fixed_places) = (part.name.clone(), part.fixed_places);
    settings.map(|settings| {
        let reject = reject.or_else(|| settings.reject.clone());
        Pool { name, fixed_places, tiers, reject, ..settings }
    })
}

/// The names of the pools, each once.
fn unique_pools<'p>(pools: &'p [PoolPart], reports: &mut Reports<'_>) -> BTreeSet<&'p str> {
    let mut places = BTreeMap::new();
    for pool in pools {
        let Some(first) = places.insert(pool.name.as_str(), &pool.at) else { continue };
        let line = reports.line_of(first);
        let message = format!(
            "the command line makes a pool {}, but there is one of this name in {line}",
            quoted(&pool.name)
        );
        reports.add(Fault::new(Code::Twice, &pool.at, message).help("rename one of the two"));
    }
    places.into_keys().collect()
}

/// Whether a pool that a listener names exists.
fn check_reference(
    pool: Option<&Word>,
    listener: &str,
    pools: &BTreeSet<&str>,
    reports: &mut Reports<'_>,
) -> bool {
    let Some(Word { text, at }) = pool else { return false };
    if pools.contains(text.as_str()) {
        return true;
    }
    let message = format!("there is no pool {}", quoted(text));
    let fault = Fault::new(Code::UnknownPool, at, message).place(format!("listeners.{listener}"));
    // The search takes time in proportion to the pools.
    let near = if reports.has_room() { nearest(text, pools.iter().copied()) } else { None };
    reports.add(match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")).replace(format!("\"{near}\"")),
        None => fault.help(format!("add `[pools.{text}]` with its backends")),
    });
    false
}

/// The addresses of a listener, in the order of its words; `None` for one that is not understood.
fn read_binds(
    part: &ListenerPart,
    services: Services<'_>,
    reports: &mut Reports<'_>,
) -> Vec<Option<Bind>> {
    let binds = part.binds.iter().map(|word| match parse_listen(&word.text, services) {
        Ok(bind) => Some(of_family(bind, part.family.as_ref())),
        Err(error) => {
            let message =
                format!("the listening address {}: {}", quoted(&word.text), error.problem);
            let fault = Fault::new(Code::Bind, &word.at, message);
            reports.add(fault.place(format!("listeners.{}", part.name)));
            None
        }
    });
    binds.collect()
}

/// The address, with this family for its name.
fn of_family(mut bind: Bind, wanted: Option<&Word>) -> Bind {
    if let Bind::Tcp { host: Some(Host::Name(_)), family, .. }
    | Bind::Udp { host: Some(Host::Name(_)), family, .. } = &mut bind
    {
        *family = wanted.and_then(|word| Family::from_word(&word.text)).unwrap_or(*family);
    }
    bind
}

fn check_limits(part: &ListenerPart, reports: &mut Reports<'_>) {
    let number = |name: &str| {
        let setting = part.settings.iter().find(|setting| setting.key.name == name)?;
        Some((setting.text.as_deref()?.parse::<u32>().ok()?, &setting.at))
    };
    let (Some((connecting, at)), Some((sessions, _))) =
        (number("max-connecting"), number("max-sessions"))
    else {
        return;
    };
    if connecting >= sessions {
        let message =
            format!("`max-connecting` has no effect: `max-sessions` is {sessions} already");
        let fault = Fault::new(Code::NoEffect, at, message);
        reports.add(fault.place(format!("listeners.{}", part.name)).help("lower or remove it"));
    }
}

/// Reports keys of a listener that have no effect on what its clients speak.
fn check_protocol(part: &ListenerPart, binds: &[Bind], reports: &mut Reports<'_>) {
    for setting in part.settings.iter().filter(|_| binds.len() == part.binds.len()) {
        let Some(why) = misfit(setting.key.name, binds) else { continue };
        let message = format!("`{}` {why}", setting.key.name);
        let fault = Fault::new(Code::NoEffect, &setting.at, message);
        reports.add(fault.place(format!("listeners.{}", part.name)).help("remove it"));
    }
}

/// Where metrics are pushed to. What is wrong with it is reported.
fn push(parts: &Parts, reports: &mut Reports<'_>) -> Option<Push> {
    let (otlp, interval) = (parts.otlp.as_ref(), parts.otlp_interval.as_ref());
    if let (None, Some(interval)) = (otlp, interval) {
        let fault = Fault::new(Code::Needs, &interval.at, "`otlp-interval` needs `otlp`");
        let help = "add `otlp`, such as `otlp = \"http://127.0.0.1:4318\"`, or remove this one";
        reports.add(fault.place("process").help(help));
    }
    let interval = match interval {
        Some(word) => value(word, "otlp-interval", "process", parse_interval(&word.text), reports),
        None => Some(Span(Push::DEFAULT_INTERVAL)),
    };
    let collector = value(otlp?, "otlp", "process", otlp?.text.parse(), reports);
    Some(Push { collector: collector?, interval: interval?.0 })
}

/// What a key of a table says, as it was understood; otherwise reports why it was not.
fn value<T>(
    word: &Word,
    key: &str,
    place: &str,
    understood: Result<T, impl Display>,
    reports: &mut Reports<'_>,
) -> Option<T> {
    let report = |error: _| {
        let fault = Fault::new(Code::Value, &word.at, format!("`{key}`: {error}"));
        reports.add(fault.place(place));
    };
    understood.map_err(report).ok()
}

/// Reports listeners whose UDP clients would come to their backends unannounced.
fn check_announcing(
    parts: &Parts,
    listeners: &[Listener],
    pools: &[Pool],
    reports: &mut Reports<'_>,
) {
    let pools: BTreeMap<_, _> = pools.iter().map(|pool| (&pool.name, pool)).collect();
    let places: BTreeMap<_, _> = parts.listeners.iter().map(|it| (&it.name, it)).collect();
    for listener in listeners {
        let (Some(pool), Some(part)) = (pools.get(&listener.pool), places.get(&listener.name))
        else {
            continue;
        };
        let Some(bind) = unannounced(listener, pool) else { continue };
        let index = listener.binds.iter().position(|it| it == bind).unwrap_or_default();
        let Some(word) = part.binds.get(index).or(part.binds.first()) else { continue };
        let message = format!(
            "the pool {} announces clients by version 1 of the PROXY protocol, which is not for UDP",
            quoted(&pool.name)
        );
        let fault = Fault::new(Code::Conflict, &word.at, message);
        let fault = fault.place(format!("listeners.{}", listener.name));
        reports.add(fault.help("write `send-proxy = \"v2\"`, or another pool for UDP"));
    }
}

fn check_use(parts: &Parts, reports: &mut Reports<'_>) {
    let used = parts.listeners.iter().flat_map(ListenerPart::pools).flatten();
    let used: BTreeSet<&str> = used.map(|pool| pool.text.as_str()).collect();
    for pool in parts.pools.iter().filter(|pool| !used.contains(pool.name.as_str())) {
        let message = format!("no listener uses the pool {}", quoted(&pool.name));
        let fault = Fault::new(Code::UnusedPool, &pool.at, message).place("pools");
        reports.add(fault.help(format!("write `pool = \"{}\"` in a listener", pool.name)));
    }
}
