//! A listener that is written as a command line: `"80 app1 app2 --policy hash"`.
//!
//! It has the grammar of the start form, but each option becomes a setting with its place in the
//! string, so that all that is wrong with it is reported at once.

use super::{BackendPart, ListenerPart, PoolPart, Setting, TierPart, Word, is_flag};
use crate::file::Code;
use crate::file::excerpt::quoted;
use crate::file::report::{Fault, Reports};
use crate::file::shell;
use crate::file::suggest::nearest;
use crate::file::walk::{Named, Text};
use crate::keys::{self, Key, Place};
use crate::operand::{Separator, split_tiers};
use crate::words::Choice;
use balancing::Policy;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

/// The listener and the pool that a line means, both with the name of the line. `None` if the line
/// could not be understood at all, which was reported.
pub(super) fn parts(
    named: &Named,
    text: &Text,
    reports: &mut Reports<'_>,
) -> Option<(ListenerPart, PoolPart)> {
    let place = format!("listeners.{}", named.name);
    let words = match shell::split(text.value()) {
        Ok(words) => {
            words.into_iter().map(|word| Word { at: text.part(word.range), text: word.text })
        }
        Err(unfinished) => {
            let at = text.part(unfinished.at..unfinished.at + 1);
            reports.add(Fault::new(Code::CommandLine, &at, unfinished.message).place(place));
            return None;
        }
    };
    let words = words.collect::<Vec<_>>().into_iter().peekable();
    let mut line = Line {
        words,
        settings: Vec::new(),
        operands: Vec::new(),
        seen: BTreeSet::new(),
        faults: Vec::new(),
    };
    let is_understood = line.read();
    for fault in std::mem::take(&mut line.faults) {
        reports.add(fault.place(place.clone()));
    }
    if !is_understood {
        return None;
    }
    let Line { settings, operands, .. } = line;
    let (listener, pool): (Vec<_>, Vec<_>) =
        settings.into_iter().partition(|setting| setting.key.place == Place::Listener);
    let mut operands = operands.into_iter();
    let Some(listen) = operands.next() else {
        let fault = Fault::new(Code::CommandLine, &text.at(), "no listening address");
        reports.add(fault.place(place).help("write a port such as 8080, and then the backends"));
        return None;
    };
    let tiers = match tiers(operands.collect(), &listen) {
        Ok(tiers) => tiers,
        Err(fault) => {
            reports.add(fault.place(place));
            Vec::new()
        }
    };
    let (name, at) = (named.name.clone(), named.at.clone());
    let listener = ListenerPart {
        name: name.clone(),
        binds: super::each_protocol(vec![listen], None),
        pool: Some(Word { text: name.clone(), at: at.clone() }),
        family: None,
        routes: Vec::new(),
        hello_wait: None,
        starttls: None,
        dummy: false,
        settings: listener,
    };
    let (fixed_places, is_policy_known, settings, reject) = (false, true, pool, None);
    Some((listener, PoolPart { name, at, fixed_places, settings, reject, is_policy_known, tiers }))
}

struct Line {
    words: Peekable<IntoIter<Word>>,
    settings: Vec<Setting>,
    operands: Vec<Word>,
    seen: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

impl Line {
    /// Sorts the words into options and operands. False if the end of the line could not be read.
    fn read(&mut self) -> bool {
        while let Some(word) = self.words.next() {
            if word.text == "--" {
                let fault =
                    Fault::new(Code::CommandLine, &word.at, "a listener is one service only");
                self.faults.push(fault.help("give the next service a name of its own"));
                return false;
            }
            if !word.text.starts_with('-') || word.text.len() < 2 {
                self.operands.push(word);
            } else if !self.option(&word) {
                return false;
            }
        }
        true
    }

    /// Takes an option and its value. False if it is unclear whether the next word is the value.
    fn option(&mut self, word: &Word) -> bool {
        let (name, inline) = match word.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&*word.text, None),
        };
        let bare = name.trim_start_matches('-');
        let known = find(bare).filter(|_| name.starts_with("--"));
        let Some(key) = known.or_else(|| self.unknown(word, name, inline)) else { return false };
        let value = match (is_flag(key), inline) {
            (true, None) => None,
            (true, Some(_)) => {
                let message = format!("`{name}` takes no value");
                self.faults.push(Fault::new(Code::CommandLine, &word.at, message));
                return true;
            }
            (false, Some(value)) => Some(Word { text: value.to_owned(), at: word.at.clone() }),
            (false, None) => self.words.next_if(|next| !next.text.starts_with("--")),
        };
        if !is_flag(key) && value.is_none() {
            let message = format!("`{name}` needs a value");
            let fault = Fault::new(Code::CommandLine, &word.at, message);
            self.faults.push(fault.help(format!(
                "write it after the option, as in `{name} {}`",
                key.example.replace('"', "")
            )));
        } else if known.is_some() {
            self.set(key, bare, value, word);
        }
        true
    }

    fn set(&mut self, key: &'static Key, name: &str, value: Option<Word>, word: &Word) {
        let is_list = key.name == ACCESS;
        if !is_list && !self.seen.insert(key.name) {
            let message = format!("`{}` is set twice", key.name);
            let fault = Fault::new(Code::Twice, &word.at, message);
            self.faults.push(fault.help("remove one of the two"));
            return;
        }
        let at = value.as_ref().map_or(&word.at, |value| &value.at).clone();
        let text = value.map(|it| if is_list { format!("{name} {}", it.text) } else { it.text });
        self.settings.push(Setting { key, text, is_set: true, at, quote: "" });
    }

    /// Reports an option that a listener does not have. Returns the key that was meant, which says
    /// whether a value follows.
    fn unknown(&mut self, word: &Word, name: &str, inline: Option<&str>) -> Option<&'static Key> {
        let bare = name.trim_start_matches('-');
        if let Some(key) = keys::find(Place::Process, bare) {
            let message = format!("`{bare}` belongs to [process], not to a listener");
            let fault = Fault::new(Code::MisplacedKey, &word.at, message);
            self.faults.push(fault.help(format!("remove it, and write `{bare}` in `[process]`")));
            return Some(key);
        }
        let message = format!("a listener has no option {}", quoted(name));
        let fault = Fault::new(Code::UnknownKey, &word.at, message);
        let options = PLACES.iter().flat_map(|place| place.keys()).filter(|key| key.is_option());
        let options = options.map(|key| key.name).chain([ALLOW, DENY]);
        // With one dash, it can be the very word.
        let near = find(bare).map(|_| bare).or_else(|| nearest(bare, options));
        let Some(near) = near.filter(|_| bare != PRINT_CONFIG) else {
            self.faults.push(fault.help("`evenkeel --help` lists all options"));
            return None;
        };
        let value = inline.map(|value| format!("={value}")).unwrap_or_default();
        let fault = fault.help(format!("did you mean `--{near}`?"));
        self.faults.push(fault.replace(format!("--{near}{value}")));
        find(near)
    }
}

/// The key that an option sets. `--allow` and `--deny` are entries of `access`.
fn find(option: &str) -> Option<&'static Key> {
    if matches!(option, ALLOW | DENY) {
        return keys::find(Place::Pool, ACCESS);
    }
    PLACES.iter().filter_map(|place| keys::find(*place, option)).find(|key| key.is_option())
}

fn tiers(operands: Vec<Word>, listen: &Word) -> Result<Vec<TierPart>, Box<Fault>> {
    if operands.is_empty() {
        let message = format!("{} has no backends", quoted(&listen.text));
        let fault = Fault::new(Code::NoBackends, &listen.at, message);
        return Err(Box::new(
            fault.help(format!("name at least one, as in `{} app1 app2`", listen.text)),
        ));
    }
    let texts: Vec<&str> = operands.iter().map(|word| &*word.text).collect();
    let mut places = operands.iter();
    let mut tiers = Vec::new();
    for words in split_tiers(&texts) {
        let backends: Vec<_> = places.by_ref().take(words.operands.len()).cloned().collect();
        let end = words.end.and_then(|_| places.next());
        if let (Some(end), true) = (end, backends.is_empty()) {
            let fault = Fault::new(Code::NoBackends, &end.at, "a tier without backends");
            return Err(Box::new(
                fault.help("`!` and `%` end a tier and need a backend before them"),
            ));
        }
        let is_hash = words.end == Some(Separator::Hash);
        tiers.push(TierPart {
            policy: is_hash.then(|| Policy::Hash.word().to_owned()),
            backends: backends.into_iter().map(BackendPart::Operand).collect(),
        });
    }
    Ok(tiers)
}

/// The places whose options a line may have.
const PLACES: [Place; 2] = [Place::Listener, Place::Pool];
const ACCESS: &str = "access";
const ALLOW: &str = "allow";
const DENY: &str = "deny";
const PRINT_CONFIG: &str = "print-config";
