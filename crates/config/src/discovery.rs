//! Names that stand for any number of backends: every address is one of its own.
//!
//! What a name stands for is an [`Answer`], which lookups change in small steps ([`Answer::fold`]).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// A name that stands for backends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discovery {
    /// One for each address of a host.
    Dns {
        /// The host.
        name: String,
        /// Their port, never zero.
        port: u16,
    },
    /// One for each address of the hosts in SRV records, which have the ports (RFC 2782).
    Srv {
        /// The name of the records.
        name: String,
    },
}

/// A backend that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Record {
    /// The SRV record's priority; zero for other names. The lowest is tried first.
    #[serde(default)]
    pub priority: u16,
    /// Where it is.
    pub address: SocketAddr,
    /// The SRV record's weight.
    #[serde(default)]
    pub weight: u16,
    /// Whether the last answer did not have it any more.
    #[serde(default)]
    pub is_missing: bool,
    /// The host of the SRV record; `None` for other names, and in what earlier versions have kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// What a name stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The backends, sorted, each address once.
    pub records: Vec<Record>,
}

/// Questions of a lookup that had no answer: addresses that these would have had are not missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// The host of SRV records that was asked for; `None` if it was the name itself.
    pub host: Option<String>,
    /// Whether IPv4 addresses were asked for.
    pub v4: bool,
    /// Whether IPv6 addresses were asked for.
    pub v6: bool,
}

/// What names stand for, by their texts.
pub type Answers = BTreeMap<String, Answer>;

impl Discovery {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Dns { name, .. } | Self::Srv { name } => name,
        }
    }

    /// The name that certificates of its backends must have: the one that the operator has written,
    /// never one from an answer, which anybody could have forged (RFC 6125). Of an SRV name, it is
    /// the domain.
    pub(crate) fn certified(&self) -> &str {
        let mut rest = self.name();
        while let (Self::Srv { .. }, Some((label, domain))) = (self, rest.split_once('.'))
            && label.starts_with('_')
        {
            rest = domain;
        }
        rest.trim_end_matches('.')
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
            Self::Srv { name } => write!(f, "srv:{name}"),
        }
    }
}

impl Answer {
    /// The maximum number of backends of a name.
    pub const RECORDS_MAX: usize = 1024;

    /// What the name stands for after a lookup has found these records, and how many found no room.
    ///
    /// Nothing found changes nothing, and what an unanswered question was about is not missing. A
    /// record that is missing twice is gone.
    #[must_use]
    pub fn fold(&self, found: Vec<Record>, unanswered: &[Unanswered]) -> (Self, usize) {
        if found.is_empty() {
            return (self.clone(), 0);
        }
        let mut new: BTreeMap<SocketAddr, Record> = BTreeMap::new();
        for record in found {
            let record = Record { is_missing: false, ..record };
            let known = new.entry(record.address).or_insert_with(|| record.clone());
            // Twice in one answer: the better one applies.
            if (record.priority, known.weight) < (known.priority, record.weight) {
                *known = record;
            }
        }
        let mut records = Vec::new();
        for was in &self.records {
            match new.remove(&was.address) {
                Some(record) => records.push(record),
                None if unanswered.iter().any(|it| it.is_about(was)) => records.push(was.clone()),
                None if was.is_missing => {}
                None => records.push(Record { is_missing: true, ..was.clone() }),
            }
        }
        let room = Self::RECORDS_MAX.saturating_sub(records.len());
        let left_out = new.len().saturating_sub(room);
        records.extend(new.into_values().take(room));
        records.sort_unstable();
        (Self { records }, left_out)
    }

    /// Whether it stands for the same backends as `other`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let backends = |answer: &Self| -> Vec<_> {
            answer.records.iter().map(|it| (it.priority, it.address, it.weight)).collect()
        };
        backends(self) == backends(other)
    }
}

impl Unanswered {
    /// All questions of a lookup.
    pub const ALL: Self = Self { host: None, v4: true, v6: true };

    fn is_about(&self, record: &Record) -> bool {
        let is_family = if record.address.is_ipv4() { self.v4 } else { self.v6 };
        // If nobody knows the host, it may be this one.
        let is_other = matches!((&self.host, &record.host), (Some(it), Some(host)) if it != host);
        is_family && !is_other
    }
}
