//! The routes of a listener: which TLS clients other pools serve.

use super::super::excerpt::quoted;
use super::super::parts::{ListenerPart, RoutePart, Word};
use super::super::report::{At, Fault, Reports};
use super::{Code, value};
use crate::Route;
use crate::duration::{Span, parse_nonzero_duration};
use crate::words::Choice;
use balancing::{RouteRule, ServerName};
use std::collections::BTreeMap;
use std::time::Duration;
use terms::Starttls;

/// The routes of a listener. What is wrong with them is reported.
pub(super) fn routes(listener: &ListenerPart, reports: &mut Reports<'_>) -> Vec<Route> {
    let place = format!("listeners.{}.routes", listener.name);
    let mut reading = Reading { place: &place, taken: BTreeMap::new(), reports };
    listener.routes.iter().map(|part| reading.route(part)).collect()
}

/// The time for which clients may be silent, if the file says it.
pub(super) fn hello_wait(part: &ListenerPart, reports: &mut Reports<'_>) -> Option<Duration> {
    let place = format!("listeners.{}", part.name);
    if let Some(Word { at, .. }) = &part.hello_wait
        && part.routes.is_empty()
    {
        let message = "`hello-wait` has no effect without `routes`";
        let fault = Fault::new(Code::Needs, at, message).place(place.clone());
        reports.add(fault.help("add `routes`, or remove it"));
    }
    let word = part.hello_wait.as_ref()?;
    let wait = parse_nonzero_duration(&word.text).map(|Span(wait)| wait);
    value(word, "hello-wait", &place, wait, reports)
}

/// How clients ask for TLS, if the file says it. `is_ended` is whether TLS ends here.
pub(super) fn starttls(
    part: &ListenerPart,
    is_ended: bool,
    reports: &mut Reports<'_>,
) -> Option<Starttls> {
    let word = part.starttls.as_ref()?;
    if part.routes.is_empty() && !is_ended {
        let message = "`starttls` has no effect without `routes` or `tls-cert`";
        let fault = Fault::new(Code::Needs, &word.at, message);
        let fault = fault.place(format!("listeners.{}", part.name));
        reports.add(fault.help("add one of them, or remove it"));
    }
    Starttls::from_word(&word.text)
}

struct Reading<'r, 'p, 's> {
    place: &'r str,
    /// Where each name is written with each protocol, in lower case.
    taken: BTreeMap<(Option<String>, Option<String>), &'p At>,
    reports: &'r mut Reports<'s>,
}

impl<'p> Reading<'_, 'p, '_> {
    fn route(&mut self, part: &'p RoutePart) -> Route {
        if part.is_for_all {
            let message = "a route needs `sni` or `alpn`";
            let fault = Fault::new(Code::MissingKey, &part.at, message).place(self.place);
            self.reports.add(fault.help("all other clients go to the listener's `pool` anyway"));
        }
        let names: Vec<_> = part.sni.iter().filter_map(|word| self.name(word)).collect();
        let protocols: Vec<_> = part.alpn.iter().filter_map(|word| self.protocol(word)).collect();
        let pool = part.pool.as_ref().map(|word| word.text.clone()).unwrap_or_default();
        for (name, at) in or_none(&names) {
            for (protocol, protocol_at) in or_none(&protocols) {
                let at = at.or(protocol_at);
                let key = (name.map(ServerName::to_string), protocol.cloned());
                self.take(key, at.unwrap_or(&part.at));
            }
        }
        let names = names.into_iter().map(|(name, _)| name).collect();
        let protocols = protocols.into_iter().map(|(protocol, _)| protocol).collect();
        Route { rule: RouteRule { names, protocols }, pool }
    }

    fn name(&mut self, word: &'p Word) -> Option<(ServerName, &'p At)> {
        match word.text.parse() {
            Ok(name) => Some((name, &word.at)),
            Err(error) => {
                let message = format!("{} is not the name of a server", quoted(&word.text));
                let fault = Fault::new(Code::Value, &word.at, message).place(self.place);
                self.reports.add(fault.help(format!("{error}")));
                None
            }
        }
    }

    fn protocol(&mut self, word: &'p Word) -> Option<(String, &'p At)> {
        if word.text.len() <= PROTOCOL_BYTES_MAX {
            return Some((word.text.clone(), &word.at));
        }
        let message = "the name of a protocol has at most 255 bytes";
        self.reports.add(Fault::new(Code::Value, &word.at, message).place(self.place));
        None
    }

    /// Reports a name that an earlier route has already, with the same protocol.
    fn take(&mut self, key: (Option<String>, Option<String>), at: &'p At) {
        let what = match &key {
            (Some(name), None) => quoted(name),
            (Some(name), Some(protocol)) => {
                format!("{} with the protocol {}", quoted(name), quoted(protocol))
            }
            (None, protocol) => {
                format!("the protocol {}", quoted(protocol.as_deref().unwrap_or_default()))
            }
        };
        if let Some(first) = self.taken.get(&key) {
            let line = self.reports.line_of(first);
            let message = format!("there is a route for {what} already, in {line}");
            let fault = Fault::new(Code::Twice, at, message).place(self.place);
            self.reports.add(fault.help("remove one of the two"));
        } else if key != (None, None) {
            self.taken.insert(key, at);
        }
    }
}

/// The values, or nothing once if there are none.
fn or_none<'v, 'p, T>(
    values: &'v [(T, &'p At)],
) -> impl Iterator<Item = (Option<&'v T>, Option<&'p At>)> {
    let none = values.is_empty().then_some((None, None));
    values.iter().map(|(value, at)| (Some(value), Some(*at))).chain(none)
}

/// The longest name of a protocol (RFC 7301, section 3.1).
const PROTOCOL_BYTES_MAX: usize = 255;
