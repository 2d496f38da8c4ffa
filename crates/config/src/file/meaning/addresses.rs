//! Whether the listeners can all listen at once.

use super::super::excerpt::quoted;
use super::super::parts::ListenerPart;
use super::super::report::{Fault, Reports};
use super::Code;
use crate::{Bind, Family, Host};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// What an address occupies.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Taken<'b> {
    /// A port of one host.
    Host(Port, &'b Host),
    /// A port of all hosts of a family.
    All(Port, Family),
    /// Some port of a host, to which one of all hosts would be added.
    Some(Port, Family),
    Unix(&'b Path),
}

/// A port, and whether it is one of UDP.
type Port = (u16, bool);

/// Reports addresses that exclude each other.
pub(super) fn check(
    listeners: &[ListenerPart],
    binds: &[Vec<Option<Bind>>],
    reports: &mut Reports<'_>,
) {
    let mut taken: BTreeMap<Taken<'_>, (usize, usize)> = BTreeMap::new();
    for (at, all) in binds.iter().enumerate() {
        for (index, bind) in all.iter().enumerate() {
            let Some(bind) = bind else { continue };
            let other = conflicts(bind).into_iter().find_map(|it| taken.get(&it).copied());
            match other {
                Some(other) => report(listeners, (at, index), other, reports),
                None => {
                    for it in occupies(bind) {
                        taken.entry(it).or_insert((at, index));
                    }
                }
            }
        }
    }
}

/// What an address takes for itself.
fn occupies(bind: &Bind) -> Vec<Taken<'_>> {
    match bind {
        Bind::Unix(path) => vec![Taken::Unix(path)],
        Bind::Tcp { host, port, family: own } | Bind::Udp { host, port, family: own } => {
            let port = (*port, bind.is_udp());
            match host {
                None => vec![Taken::All(port, *own)],
                Some(host) => vec![Taken::Host(port, host), Taken::Some(port, family(host))],
            }
        }
    }
}

/// What must not have been taken. `[::]` is open to IPv4, too, as is `*`.
fn conflicts(bind: &Bind) -> Vec<Taken<'_>> {
    const ALL: [Family; 3] = [Family::Any, Family::V6, Family::V4];
    let (host, port, own) = match bind {
        Bind::Unix(path) => return vec![Taken::Unix(path)],
        Bind::Tcp { host, port, family } | Bind::Udp { host, port, family } => {
            (host, (*port, bind.is_udp()), family)
        }
    };
    match host {
        Some(host) => {
            let families = match family(host) {
                Family::V4 => &ALL[..],
                Family::V6 | Family::Any => &ALL[..2],
            };
            let all = families.iter().map(|family| Taken::All(port, *family));
            all.chain([Taken::Host(port, host)]).collect()
        }
        None => {
            let some = match own {
                Family::V4 => &ALL[2..],
                Family::V6 | Family::Any => &ALL[..],
            };
            let some = some.iter().map(|family| Taken::Some(port, *family));
            some.chain(ALL.map(|family| Taken::All(port, family))).collect()
        }
    }
}

/// The family of a host, as far as it is known.
fn family(host: &Host) -> Family {
    match host {
        Host::Address(IpAddr::V4(_)) => Family::V4,
        Host::Address(IpAddr::V6(_)) => Family::V6,
        Host::Name(_) => Family::Any,
    }
}

fn report(
    listeners: &[ListenerPart],
    (at, index): (usize, usize),
    (other_at, other_index): (usize, usize),
    reports: &mut Reports<'_>,
) {
    let (Some(listener), Some(other)) = (listeners.get(at), listeners.get(other_at)) else {
        return;
    };
    let (Some(word), Some(first)) = (listener.binds.get(index), other.binds.get(other_index))
    else {
        return;
    };
    let message = format!(
        "listener {} already listens on {}, in {}",
        quoted(&other.name),
        quoted(&first.text),
        reports.line_of(&first.at)
    );
    let fault = Fault::new(Code::SameAddress, &word.at, message);
    reports.add(fault.place(format!("listeners.{}", listener.name)).help("use another address"));
}
