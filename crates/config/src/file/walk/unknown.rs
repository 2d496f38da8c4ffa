//! Keys that a table does not have: which was meant, or where it belongs.

use super::{Path, Walk};
use crate::file::Code;
use crate::file::excerpt::quoted;
use crate::file::report::Fault;
use crate::file::suggest::{nearest, plain};
use crate::file::tree::{Entry, Value};
use crate::keys::{self, Key, NOT_IN_FILES, Place};

impl Walk<'_, '_> {
    /// Reports a key that is none of `place`, and returns the one that was meant. `pool` is the
    /// pool that the table names, if any.
    pub(super) fn unknown(
        &mut self,
        place: Place,
        path: &Path<'_>,
        entry: &Entry,
        pool: Option<&str>,
    ) -> Option<&'static Key> {
        let word = &entry.key;
        if !self.reports.has_room() {
            self.reports.add(Fault::new(Code::UnknownKey, &entry.at, ""));
            return None;
        }
        let meant = nearest(word, place.keys().map(|key| key.name));
        let meant = meant.and_then(|name| keys::find(place, name));
        let exact = belongs(word, place);
        // At the top, a table is one of ours, whatever keys of its name there are.
        let is_table = place == Place::File && matches!(entry.node.value, Value::Table(_));
        let is_same = |key: &&Key| is_table || key.name == word.to_lowercase().replace('_', "-");
        let fault = match (meant, exact) {
            _ if is_option_only(word) => self.option_only(entry),
            (meant, Some(home)) if meant.filter(is_same).is_none() => {
                let message = format!("`{word}` belongs to {home}, not to {place}");
                let fault = Fault::new(Code::MisplacedKey, &entry.at, message);
                self.reports.add(fault.place(path.to_string()).help(move_to(home, pool)));
                return None;
            }
            (Some(key), _) => {
                let message = format!("no such key {} in {place}", quoted(word));
                Fault::new(Code::UnknownKey, &entry.at, message)
                    .help(format!("did you mean `{}`?", key.name))
                    .replace(key.name)
            }
            (None, _) => elsewhere(place, entry, pool),
        };
        self.reports.add(fault.place(path.to_string()));
        meant
    }

    /// `allow` and `deny`, whose order matters, and options that do not configure a balancer.
    fn option_only(&mut self, entry: &Entry) -> Fault {
        let reason = NOT_IN_FILES.iter().find(|(name, _)| *name == entry.key);
        let reason = reason.map_or("", |(_, reason)| reason);
        let message = format!("`{}` is not a key: {reason}", entry.key);
        let fault = Fault::new(Code::UnknownKey, &entry.at, message);
        if !matches!(&*entry.key, "allow" | "deny") {
            return fault.help("remove it");
        }
        let line = |clients: &str| format!("\"{} {clients}\"", entry.key);
        let entries = match &entry.node.value {
            Value::Text(string) => vec![line(&string.value)],
            Value::List(nodes) => nodes
                .iter()
                .filter_map(|node| match &node.value {
                    Value::Text(string) => Some(line(&string.value)),
                    _ => None,
                })
                .collect(),
            _ => vec![line("10.0.0.0/8")],
        };
        fault.help(format!("write `access = [{}]`", entries.join(", ")))
    }
}

fn is_option_only(word: &str) -> bool {
    NOT_IN_FILES.iter().any(|(name, _)| *name == word)
}

/// A key that resembles none here: perhaps one of another place.
fn elsewhere(place: Place, entry: &Entry, pool: Option<&str>) -> Fault {
    let message = format!("no such key {} in {place}", quoted(&entry.key));
    let fault = Fault::new(Code::UnknownKey, &entry.at, message);
    let near = nearest(&entry.key, keys::all().iter().map(|key| key.name));
    match near.and_then(|near| Some((near, belongs(near, place)?))) {
        Some((near, home)) => {
            let cure = move_to(home, pool);
            fault.help(format!("did you mean `{near}`, which belongs to {home}? Then {cure}"))
        }
        None if place == Place::File => {
            fault.help("the tables of a file are `listeners`, `pools`, `defaults` and `process`")
        }
        None => match &longer(place, &entry.key)[..] {
            [one] => fault.help(format!("did you mean `{one}`?")).replace(*one),
            [others @ .., last] if others.len() < LONGER_MAX => {
                let others: Vec<_> = others.iter().map(|it| format!("`{it}`")).collect();
                fault.help(format!("did you mean {} or `{last}`?", others.join(", ")))
            }
            _ => fault.help("remove it; the reference lists all keys"),
        },
    }
}

/// The keys of which the word is a part, such as `probe-interval` for `interval`.
fn longer(place: Place, word: &str) -> Vec<&'static str> {
    let word = plain(word);
    let names = place.keys().map(|key| key.name);
    names.filter(|name| name.split('-').any(|part| part == word)).collect()
}

/// So many keys are shown at most, of those that may have been meant.
const LONGER_MAX: usize = 12;

/// The place of a key of this name, if it has none here. Of several, the one that most have.
fn belongs(word: &str, place: Place) -> Option<Place> {
    let near = |home: &Place| match (place, home) {
        // In one's own pool is nearer than in a listener.
        (Place::Tier | Place::Backend, Place::Pool) => 0,
        (Place::Pool, Place::Backend | Place::Tier) => 0,
        (Place::Route, Place::Listener) | (Place::Listener, Place::Route) => 0,
        _ => 1,
    };
    keys::places_of(word).filter(|home| *home != place).min_by_key(near)
}

fn move_to(home: Place, pool: Option<&str>) -> String {
    let table = match home {
        Place::File => return "move it before the first header".to_owned(),
        Place::Process => "[process]".to_owned(),
        Place::Defaults => "[defaults]".to_owned(),
        Place::Listener => "[listeners.NAME]".to_owned(),
        Place::Pool => format!("[pools.{}]", pool.unwrap_or("NAME")),
        Place::Tier => {
            return "move it into `tiers`, as in `{ policy = \"hash\", backends = [..] }`"
                .to_owned();
        }
        Place::Route => {
            return "move it into `routes`, as in `{ sni = \"db.example.org\", pool = \"db\" }`"
                .to_owned();
        }
        Place::Backend => {
            return "move it into a backend, as in `{ to = \"app1:80\", weight = 2 }`".to_owned();
        }
    };
    format!("move it to `{table}`")
}
