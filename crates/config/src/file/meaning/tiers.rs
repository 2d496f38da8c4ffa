//! The tiers and backends of a pool.

use super::super::excerpt::quoted;
use super::super::parts::{BackendPart, BackendTable, PoolPart, TierPart, Word};
use super::super::report::{At, Fault, Reports};
use super::super::walk::unusable;
use super::Code;
use super::options::Options;
use super::ports::Port;
use crate::command::parse_place;
use crate::keys::Place;
use crate::native::parse_server_name;
use crate::operand::{Problem, Services, parse_backend, parse_destination};
use crate::words::Choice;
use crate::{Backend, Limits, Pool, Tier};
use balancing::{AdminState, Policy};
use std::collections::BTreeMap;
use terms::{BackendTls, Limit, SendProxy};

/// Reads the backends of one pool.
pub(super) struct Reading<'r, 'p> {
    /// Where the pool is, for the reports.
    pub(super) place: &'r str,
    /// The settings of the pool; absent if they have faults.
    pub(super) settings: Option<&'r Pool>,
    /// Whether they have the policy that the file has.
    pub(super) is_policy_known: bool,
    /// The port of a backend without one.
    pub(super) port: &'r Port<'r>,
    pub(super) services: Services<'r>,
    pub(super) options: &'r mut Options<'p>,
}

impl Reading<'_, '_> {
    pub(super) fn tiers(&mut self, part: &PoolPart, reports: &mut Reports<'_>) -> Vec<Tier> {
        check_names(part, self.place, reports);
        part.tiers.iter().map(|tier| self.tier(tier, reports)).collect()
    }

    fn tier(&mut self, part: &TierPart, reports: &mut Reports<'_>) -> Tier {
        let settings = self.settings.filter(|_| self.is_policy_known);
        let default = settings.and_then(|pool| pool.tiers.first()).map(|tier| tier.policy);
        let policy = part.policy.as_deref().and_then(Policy::from_word).or(default);
        let mut backends = Vec::new();
        let mut ignored: [Option<&At>; 2] = [None, None];
        for part in &part.backends {
            let Some(backend) = self.backend(part, reports) else { continue };
            self.check_limits(part, &backend, reports);
            let numbers = [part.weight(&backend), part.priority(&backend)];
            for (first, at) in ignored.iter_mut().zip(numbers) {
                *first = first.or(at);
            }
            backends.push(backend);
        }
        if let Some(policy) = policy {
            self.check_ignored(policy, ignored, reports);
        }
        Tier { policy: policy.unwrap_or_default(), backends }
    }

    pub(super) fn reject(
        &mut self,
        part: &BackendPart,
        reports: &mut Reports<'_>,
    ) -> Option<Backend> {
        let backend = self.backend(part, reports)?;
        if backend.endpoint.discovery().is_none() {
            return Some(backend);
        }
        let word = match part {
            BackendPart::Operand(word) => word,
            BackendPart::Table(table) => &table.to,
        };
        let message = format!("the backend {}: {}", quoted(&word.text), Problem::Discovered);
        reports.add(Fault::new(Code::Backend, &word.at, message).place(self.place));
        None
    }

    fn backend(&mut self, part: &BackendPart, reports: &mut Reports<'_>) -> Option<Backend> {
        let port = self.port.known();
        let (word, read) = match part {
            BackendPart::Operand(word) => (word, parse_backend(&word.text, port, self.services)),
            BackendPart::Table(table) => {
                let endpoint = parse_destination(&table.to.text, port, self.services);
                let new = |endpoint| Backend::new(endpoint, Limits::default());
                (&table.to, endpoint.map(new))
            }
        };
        match (read, part) {
            (Ok(backend), BackendPart::Operand(_)) => Some(backend),
            (Ok(backend), BackendPart::Table(table)) => self.table(backend, table, reports),
            (Err(error), _) => {
                let fault = self.port.fault(word, &error);
                fault.into_iter().for_each(|fault| reports.add(fault.place(self.place)));
                None
            }
        }
    }

    /// The backend with the keys of its table.
    fn table(
        &mut self,
        backend: Backend,
        table: &BackendTable,
        reports: &mut Reports<'_>,
    ) -> Option<Backend> {
        let BackendTable {
            name,
            max_sessions,
            max_affine,
            weight,
            priority,
            access,
            send_proxy,
            tls,
            tls_name,
            admin,
            ..
        } = table;
        let settings = self.options.read(Place::Backend, self.place, access, None, reports)?;
        let access = settings.pools.into_iter().next()?.access;
        let tls_name = match tls_name.as_ref().map(|word| (word, parse_server_name(&word.text))) {
            None => None,
            Some((_, Ok(name))) => Some(name),
            Some((word, Err(problem))) => {
                let message = format!("`backend-tls-name`: {problem}");
                reports.add(Fault::new(Code::Value, &word.at, message).place(self.place));
                return None;
            }
        };
        if let (Some(word), Some(discovery)) = (name, backend.endpoint.discovery()) {
            let message =
                format!("{discovery} stands for several backends, and cannot have a name");
            let fault = Fault::new(Code::Name, &word.at, message).place(self.place);
            reports.add(fault.help("remove `name`; their addresses are their names"));
            return None;
        }
        let admin = admin.as_ref().and_then(|word| AdminState::from_word(&word.text));
        let limits = Limits {
            sessions_max: Limit::from_number(number(max_sessions.as_ref()).unwrap_or(0)),
            sessions_max_affine: number(max_affine.as_ref()).unwrap_or(0),
        };
        Some(Backend {
            name: name.as_ref().map(|word| word.text.clone()),
            limits,
            weight: number(weight.as_ref()).unwrap_or(backend.weight),
            priority: number(priority.as_ref()).unwrap_or(backend.priority),
            access,
            send_proxy: send_proxy.as_ref().and_then(|word| SendProxy::from_word(&word.text)),
            tls: tls.as_ref().and_then(|word| BackendTls::from_word(&word.text)),
            tls_name,
            admin: admin.unwrap_or(backend.admin),
            ..backend
        })
    }

    fn check_limits(&self, part: &BackendPart, backend: &Backend, reports: &mut Reports<'_>) {
        let Limits { sessions_max, sessions_max_affine } = backend.limits;
        let reason = match (sessions_max, self.settings) {
            _ if sessions_max_affine == 0 => return,
            (_, Some(Pool { affinity: None, .. })) => "the pool has no `affinity`",
            (Limit::None, _) => "`max-sessions` is no limit",
            (Limit::AtMost(most), _) if sessions_max_affine <= most => {
                "`max-sessions` is not smaller"
            }
            _ => return,
        };
        let at = match part {
            BackendPart::Operand(word) => &word.at,
            BackendPart::Table(table) => {
                table.max_affine.as_ref().map_or(&table.to.at, |it| &it.at)
            }
        };
        let message =
            format!("the limit {sessions_max_affine} for remembered clients has no effect");
        let fault = Fault::new(Code::NoEffect, at, message).place(self.place);
        reports.add(fault.help(format!("{reason}; change or remove one of the two")));
    }

    /// Warns of the first weight and the first priority of a tier that its policy ignores.
    fn check_ignored(&self, policy: Policy, first: [Option<&At>; 2], reports: &mut Reports<'_>) {
        let users = [
            ("weight", Policy::Weighted, policy.minds_weight()),
            ("priority", Policy::Priority, policy == Policy::Priority),
        ];
        for ((name, user, is_used), at) in users.into_iter().zip(first) {
            let Some(at) = at.filter(|_| !is_used) else { continue };
            let message = format!("the policy `{}` ignores the {name}", policy.word());
            let fault = Fault::new(Code::Ignored, at, message).place(self.place);
            reports.add(fault.help(format!("use the policy `{}`, or remove it", user.word())));
        }
    }
}

impl BackendPart {
    /// Where the backend is given another weight than the default.
    fn weight(&self, backend: &Backend) -> Option<&At> {
        match self {
            Self::Operand(word) => Some(&word.at).filter(|_| backend.weight != 1),
            Self::Table(table) => table.weight.as_ref().map(|word| &word.at),
        }
    }

    /// Where the backend is given another priority than the default.
    fn priority(&self, backend: &Backend) -> Option<&At> {
        match self {
            Self::Operand(word) => Some(&word.at).filter(|_| backend.priority != 0),
            Self::Table(table) => table.priority.as_ref().map(|word| &word.at),
        }
    }
}

/// Reports names that commands could not use.
fn check_names(part: &PoolPart, place: &str, reports: &mut Reports<'_>) {
    let mut names: BTreeMap<&str, &At> = BTreeMap::new();
    for backend in part.tiers.iter().flat_map(|tier| &tier.backends) {
        let BackendPart::Table(table) = backend else { continue };
        let Some(name) = &table.name else { continue };
        // The backend at that place could not be selected by it.
        let is_place = parse_place(&name.text).is_some();
        let like_place =
            is_place.then_some("commands would take this name for a place, TIER.INDEX");
        if let Some(message) = unusable(&name.text).or(like_place) {
            reports.add(Fault::new(Code::Name, &name.at, message).place(place));
        }
        if let Some(first) = names.insert(&name.text, &name.at) {
            let line = reports.line_of(first);
            let message =
                format!("the pool has a backend {} already, in {line}", quoted(&name.text));
            let fault = Fault::new(Code::SameName, &name.at, message).place(place);
            reports.add(fault.help("rename one of the two"));
        }
    }
}

/// A number whose range was checked.
fn number<N: std::str::FromStr>(word: Option<&Word>) -> Option<N> {
    word.and_then(|word| word.text.parse().ok())
}
