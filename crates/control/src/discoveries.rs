//! What names stand for that stand for several backends, and the configuration with these names.

use config::{Answer, Answers, Config, Discovery, Record, Unanswered};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use terms::Instant;

/// Names that stand for several backends, and what for.
#[derive(Default)]
pub(crate) struct Discoveries {
    /// What was given, if it has such names. What runs has their backends instead.
    pub given: Option<Box<Config>>,
    answers: Answers,
    seen: BTreeMap<String, Seen>,
}

/// What a lookup has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Discovered {
    pub records: Vec<Record>,
    /// Which questions had no answer.
    pub unanswered: Vec<Unanswered>,
    /// Why something is missing, or everything.
    pub error: Option<String>,
    /// When to ask again.
    pub valid_for: Duration,
}

/// What became of the lookups of a name.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// When it last had an answer.
    pub answered: Option<Instant>,
    /// Why the last lookup failed.
    pub error: Option<String>,
}

/// What the answer to a lookup means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// The name stands for other backends now.
    pub is_new: bool,
    /// How many found no room.
    pub left_out: usize,
    /// It fails now, for this reason, and did not before.
    pub failed: Option<String>,
    /// It has an answer again.
    pub is_back: bool,
}

impl Discoveries {
    /// Names with the answers that they had when the instance was last running.
    pub fn new(answers: Answers) -> Self {
        Self { answers, ..Self::default() }
    }

    /// What names stand for.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// The backends in the place of names.
    pub fn expand(&self, config: &Config) -> Config {
        config.expand(&self.answers)
    }

    /// The names that are to be looked up.
    pub fn names(&self) -> impl Iterator<Item = &Discovery> {
        let mut seen = BTreeSet::new();
        let all = self.given.iter().flat_map(|given| given.discoveries());
        all.filter(move |it| seen.insert(*it))
    }

    /// The names that stand for a backend with this address, as it is called.
    pub fn of_backend(&self, address: &str) -> impl Iterator<Item = &str> {
        let address = address.parse::<SocketAddr>().ok();
        let has = move |it: &Answer| it.records.iter().any(|it| Some(it.address) == address);
        self.answers.iter().filter(move |(_, it)| has(it)).map(|(name, _)| &**name)
    }

    /// How the lookups of a name went.
    pub fn seen(&self, name: &str) -> Seen {
        self.seen.get(name).cloned().unwrap_or_default()
    }

    /// Takes over what a lookup has found at `now`.
    pub fn learn(&mut self, name: &str, found: Discovered, now: Instant) -> News {
        let seen = self.seen.entry(name.to_owned()).or_default();
        let failed = found.error.clone().filter(|_| seen.error.is_none());
        let is_back = found.error.is_none() && seen.error.is_some();
        seen.error = found.error;
        if seen.error.is_none() {
            seen.answered = Some(now);
        }
        let answer = self.answers.entry(name.to_owned()).or_default();
        let (next, left_out) = answer.fold(found.records, &found.unanswered);
        let is_new = !next.is_same(answer);
        *answer = next;
        News { is_new, left_out, failed, is_back }
    }

    /// Takes another configuration over; `None` if it has no names. Those that nobody needs any
    /// more are forgotten.
    pub fn give(&mut self, given: Option<Box<Config>>) -> Option<Box<Config>> {
        let before = std::mem::replace(&mut self.given, given);
        let names: BTreeSet<_> = self.names().map(ToString::to_string).collect();
        self.answers.retain(|name, _| names.contains(name));
        self.seen.retain(|name, _| names.contains(name));
        before
    }
}

/// The configuration, if names in it stand for several backends.
pub(crate) fn with_names(config: &Config) -> Option<Box<Config>> {
    let has_names = config.discoveries().next().is_some();
    has_names.then(|| Box::new(config.clone()))
}
