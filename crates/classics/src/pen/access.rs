//! Entries of access lists as commands write them, and a list that is made on demand.

use crate::classic::leading_number;
use balancing::{AccessEntry, AccessList, Country, Subject, Verdict};
use config::operand::parse_classic_ipv4;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

/// One of the lists. Making an [`AccessList`] of it costs its length, so it is made when asked
/// for and kept until an entry is added: a file may have a hundred thousand of them. For the same
/// reason copies share the entries until one of them changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<AccessEntry>", into = "Vec<AccessEntry>")]
pub(super) struct Entries {
    entries: Arc<Vec<AccessEntry>>,
    list: OnceLock<Arc<AccessList>>,
}

impl Entries {
    pub(super) fn list(&self) -> Arc<AccessList> {
        Arc::clone(self.list.get_or_init(|| Arc::new(AccessList::new(self.entries.to_vec()))))
    }

    pub(super) fn entries(&self) -> &[AccessEntry] {
        &self.entries
    }

    pub(super) fn push(&mut self, entry: AccessEntry) {
        Arc::make_mut(&mut self.entries).push(entry);
        self.list = OnceLock::new();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl From<Vec<AccessEntry>> for Entries {
    fn from(entries: Vec<AccessEntry>) -> Self {
        Self { entries: Arc::new(entries), list: OnceLock::new() }
    }
}

impl From<Entries> for Vec<AccessEntry> {
    fn from(entries: Entries) -> Self {
        entries.entries.to_vec()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

/// Reads what follows `acl N`. The complaint goes to the log; with `None`, nothing is logged.
pub(super) fn parse_entry<'a>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<AccessEntry, Option<String>> {
    let verdict = match words.next() {
        Some("permit") => Verdict::Permit,
        Some("deny") => Verdict::Deny,
        Some(_) | None => return Err(None),
    };
    let subject = match words.next() {
        None => return Err(None),
        Some("country") => country(words.next())?,
        Some(text) if text.contains(':') => ipv6(text)?,
        Some(text) => ipv4(text, words.next())?,
    };
    Ok(AccessEntry { verdict, subject })
}

fn country(text: Option<&str>) -> Result<Subject, Option<String>> {
    let letters = text.map(str::as_bytes).and_then(|text| text.first_chunk::<2>());
    match letters {
        Some(letters) if letters.iter().all(u8::is_ascii_alphanumeric) => {
            Ok(Subject::Country(Country(*letters)))
        }
        _ => Err(Some("acl: expected country".to_owned())),
    }
}

fn ipv6(text: &str) -> Result<Subject, Option<String>> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, leading_number(prefix).unwrap_or(0)),
        None => (text, 128),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| bogus("address", text))?;
    let prefix = u8::try_from(prefix).ok().filter(|prefix| *prefix <= 128);
    let prefix = prefix.ok_or_else(|| bogus("prefix length", text))?;
    Ok(Subject::v6(address, prefix))
}

/// An address and its mask, or a prefix length after a slash, which the original refuses.
fn ipv4(text: &str, mask: Option<&str>) -> Result<Subject, Option<String>> {
    let (address, mask) = match text.split_once('/') {
        Some((address, prefix)) => {
            let prefix = prefix.parse().ok().filter(|prefix: &u32| *prefix <= 32);
            let prefix = prefix.ok_or_else(|| bogus("address", text))?;
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            (address, Ipv4Addr::from_bits(mask))
        }
        None => {
            let parse = |mask| parse_classic_ipv4(mask).ok_or_else(|| bogus("mask", mask));
            (text, mask.map(parse).transpose()?.unwrap_or(Ipv4Addr::BROADCAST))
        }
    };
    let address = parse_classic_ipv4(address).ok_or_else(|| bogus("address", text))?;
    Ok(Subject::V4 { address, mask })
}

fn bogus(what: &str, text: &str) -> Option<String> {
    Some(format!("acl: bogus {what} '{text}'"))
}

/// An entry as the command writes it, without the list's number.
pub(super) struct Written(pub(super) AccessEntry);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.verdict {
            Verdict::Permit => "permit ",
            Verdict::Deny => "deny ",
        })?;
        match self.0.subject {
            Subject::V4 { address, mask } => write!(f, "{address} {mask}"),
            Subject::V6 { address, prefix } => write!(f, "{address}/{prefix}"),
            Subject::Country(country) => write!(f, "country {country}"),
        }
    }
}
