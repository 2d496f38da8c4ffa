//! Reads the values of options, with those of `[defaults]` where a table has none.
//!
//! A default that needs a key which the table does not have, or contradicts one that it has, is
//! left out.

use super::super::excerpt::quoted;
use super::super::parts::{Setting, Word};
use super::super::report::{Fault, Reports};
use super::super::walk::no_such_word;
use super::Code;
use super::ports::Port;
use crate::Config;
use crate::keys::{self, Place, Problem, SettingsParser, Shape};
use crate::operand::{Services, parse_reject};
use std::collections::BTreeMap;

/// Reads options, each set of values only once.
pub(super) struct Options<'p> {
    /// Those without faults.
    defaults: Vec<&'p Setting>,
    services: Services<'p>,
    /// Made when it is needed: making it costs more than a reading does.
    parser: Option<SettingsParser>,
    known: Known,
    /// What is known from an earlier reading, and has not been needed so far.
    before: Known,
}

/// What sets of values mean.
pub(in super::super) type Known = BTreeMap<Vec<(&'static str, Option<String>)>, Config>;

impl<'p> Options<'p> {
    /// Reports what is wrong with the defaults by themselves. `before` is from an earlier reading.
    pub(super) fn new(
        defaults: &'p [Setting],
        services: Services<'p>,
        before: Known,
        reports: &mut Reports<'_>,
    ) -> Self {
        let (parser, known) = (None, Known::new());
        let mut options = Self { defaults: Vec::new(), services, parser, known, before };
        let mut all: Vec<&Setting> = defaults.iter().filter(|it| it.is_set).collect();
        if let Err(faults) = options.config(&all, Some(ANY_PORT)) {
            let faults = faults.into_iter().filter(|it| !matches!(it.problem, Problem::Needs(_)));
            let mut faults: Vec<_> = faults.collect();
            faults.sort_by_key(|fault| std::cmp::Reverse(fault.at));
            for fault in faults {
                if fault.at < all.len() {
                    let setting = all.remove(fault.at);
                    reports.add(describe(setting, &fault.problem).place("defaults"));
                }
            }
        }
        options.defaults = all;
        options
    }

    /// The configuration that these settings of a table mean; see [`SettingsParser::read`]. `None` if
    /// something was reported. `place` is for the reports, `port` that of a pool's listeners.
    pub(super) fn read(
        &mut self,
        kind: Place,
        place: &str,
        own: &[Setting],
        port: Option<&Port<'_>>,
        reports: &mut Reports<'_>,
    ) -> Option<Config> {
        let mut bad: Vec<&str> = Vec::new();
        let reject = own.iter().find(|setting| setting.key.name == "reject");
        if let (Some(setting), Some(port)) = (reject, port)
            && let Some(text) = &setting.text
            && let Err(error) = parse_reject(text, port.known(), self.services)
        {
            let word = Word { text: text.clone(), at: setting.at.clone() };
            let fault = port.fault(&word, &error);
            fault.into_iter().for_each(|fault| reports.add(fault.place(place)));
            bad.push(setting.key.name);
        }
        let given = own.iter().filter(|it| it.is_set && !bad.contains(&it.key.name));
        let mut given: Vec<&Setting> = given.collect();
        let is_own = |name: &str| own.iter().any(|setting| setting.key.name == name);
        let defaults = self.defaults.iter().copied();
        let mut defaults: Vec<&Setting> =
            defaults.filter(|it| it.key.place == kind && !is_own(it.key.name)).collect();
        let port = port.and_then(Port::known);
        loop {
            let all: Vec<&Setting> = given.iter().chain(&defaults).copied().collect();
            let faults = match self.config(&all, port) {
                Ok(config) => return Some(config).filter(|_| bad.is_empty()),
                Err(faults) => faults,
            };
            let count = defaults.len();
            defaults.retain(|it| !faults.iter().any(|fault| blames(fault, it, &all, &given)));
            if defaults.len() < count {
                continue;
            }
            for fault in &faults {
                let Some(setting) = all.get(fault.at) else { continue };
                // What was reported itself is not missing.
                if !matches!(&fault.problem, Problem::Needs(other) if bad.contains(&other.as_str()))
                {
                    reports.add(describe(setting, &fault.problem).place(place));
                }
            }
            let count = given.len();
            let mut index = 0..;
            given.retain(|_| !index.next().is_some_and(|at| faults.iter().any(|it| it.at == at)));
            bad.extend(faults.iter().filter_map(|it| all.get(it.at)).map(|it| it.key.name));
            if given.len() == count {
                return None;
            }
        }
    }

    fn config(&mut self, all: &[&Setting], port: Option<u16>) -> Result<Config, Vec<keys::Fault>> {
        let values: Vec<_> = all.iter().map(|it| (it.key.name, it.text.clone())).collect();
        if let Some(known) = self.known.get(&values) {
            return Ok(known.clone());
        }
        let config = match self.before.remove(&values) {
            Some(config) => config,
            None => {
                let words: Vec<_> =
                    values.iter().map(|(name, text)| (*name, text.as_deref())).collect();
                let parser = self.parser.get_or_insert_default();
                parser.read(&words, port, self.services)?
            }
        };
        let depends_on_port = values.iter().any(|(name, _)| *name == "reject");
        if self.known.len() < KNOWN_MAX && !depends_on_port {
            self.known.insert(values, config.clone());
        }
        Ok(config)
    }

    /// What the next reading is likely to need, too, unless it is large.
    pub(super) fn finish(self) -> Known {
        let text = |(_, text): &(_, Option<String>)| text.as_ref().map_or(0, String::len);
        let small = self.known.into_iter().filter(|(values, _)| {
            values.len() <= KEPT_VALUES_MAX
                && values.iter().map(text).sum::<usize>() <= KEPT_BYTES_MAX
        });
        small.take(KEPT_MAX).collect()
    }
}

/// Whether a fault goes away without this default.
fn blames(fault: &keys::Fault, default: &Setting, all: &[&Setting], given: &[&Setting]) -> bool {
    let at = all.get(fault.at).map_or("", |setting| setting.key.name);
    let is_own = fault.at < given.len();
    match &fault.problem {
        Problem::Conflicts(other) if is_own => other == default.key.name,
        _ => !is_own && at == default.key.name,
    }
}

fn describe(setting: &Setting, problem: &Problem) -> Fault {
    let name = setting.key.name;
    let value = setting.text.as_deref().unwrap_or_default();
    let code = match problem {
        Problem::Word(words) => {
            return no_such_word(&setting.at, name, value, words, setting.quote);
        }
        Problem::Value(_) if name == "access" => Code::Access,
        Problem::Value(_) => Code::Value,
        Problem::Needs(_) => Code::Needs,
        Problem::Conflicts(_) => Code::Conflict,
    };
    let message = match setting.key.shape {
        shape @ Shape::Number { .. } if code == Code::Value => {
            format!("{} is not {shape}", quoted(value))
        }
        _ => format!("`{name}`: {problem}"),
    };
    let fault = Fault::new(code, &setting.at, message);
    match problem {
        Problem::Needs(other) => fault.help(format!("add `{other}`, or remove this one")),
        Problem::Conflicts(_) => fault.help("remove one of the two"),
        _ => fault,
    }
}

/// The maximum number of sets of values that are remembered during a reading.
const KNOWN_MAX: usize = 1000;
/// The maximum number of them that are kept for the next reading.
const KEPT_MAX: usize = 32;
/// The maximum number of values in a set that is kept, and the maximum size of their text.
const KEPT_VALUES_MAX: usize = 32;
const KEPT_BYTES_MAX: usize = 1024;
/// Stands for the port of a pool's listeners while no pool is known.
const ANY_PORT: u16 = 1;

#[cfg(test)]
mod tests {
    use crate::file::{Source, read};

    /// The reject backend of each pool, or the reports.
    #[track_caller]
    fn check(default: &str, expected: Result<[&str; 2], &str>) {
        let text = format!(
            "[defaults]\nreject = '{default}'\n[listeners]\na = '80 x'\nb = '81 y'\n\
             [listeners.c]\nbind = 'unix:/c'\npool = 'c'\n[pools.c]\nbackends = ['z:1']\n"
        );
        let sources = [Source { name: "a".to_owned(), text }];
        let reading = read(&sources, &|_| None, &|_| None);
        let messages: Vec<_> = reading.reports.into_iter().map(|it| it.message).collect();
        let rejects = reading.config.map(|config| {
            let rejects = config.pools.iter().filter_map(|pool| pool.reject.as_ref());
            rejects.map(ToString::to_string).collect::<Vec<_>>()
        });
        let expected = expected.map(|it| it.map(str::to_owned).to_vec());
        assert_eq!(rejects.ok_or(messages.join("\n")), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_default_reject_backend_takes_the_port_of_each_pool() {
        check("jail", Ok(["jail:80", "jail:81"]));
        check(
            "jail:x",
            Err(
                "`reject`: backend 'jail:x': 'x' is neither a port (1 to 65535) nor a service known \
                 to this machine",
            ),
        );
    }
}
