//! Compares the tree of a file with the table of keys: unknown and misplaced keys, wrong types and
//! missing keys. What is left fits the table.

mod taken;
mod unknown;

use super::excerpt::quoted;
use super::report::{At, Fault, Reports};
use super::spelling::Spelled;
use super::suggest::nearest;
use super::tree::{Entry, Node, Value};
use super::variables::expand;
use super::{Code, Environment};
use crate::keys::{self, Key, Place, SettingsParser, Shape};
use std::collections::BTreeSet;
use std::fmt;

/// The keys of a table that are in the table of keys and have values of their shapes.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) members: Vec<Member>,
    /// The keys whose values did not fit, which was reported.
    unfit: Vec<&'static str>,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: &'static Key,
    /// Where the key is written.
    pub(super) at: At,
    pub(super) item: Item,
}

/// A value that has the shape of its key.
#[derive(Debug)]
pub(super) enum Item {
    Flag(bool),
    Text(Text),
    List(Vec<Item>),
    Table(Table),
    Named(Vec<Named>),
}

/// A named table, or the string that stands for it.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) at: At,
    /// Absent if it did not fit, which was reported.
    pub(super) item: Option<Item>,
}

/// A string, or a number as text.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) spelled: Spelled,
    source: usize,
}

impl Text {
    pub(super) fn value(&self) -> &str {
        &self.spelled.value
    }

    /// Where it is written.
    pub(super) fn at(&self) -> At {
        At::new(self.source, self.spelled.bytes())
    }

    /// Where a range of its value is written.
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> At {
        At::new(self.source, self.spelled.source(range))
    }
}

impl Table {
    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        self.member(name).map(|member| &member.item)
    }

    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.key.name == name)
    }

    /// Whether the file has the key, with whatever value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.unfit.contains(&name) || self.get(name).is_some()
    }

    /// The string or number of a key.
    pub(super) fn text(&self, name: &str) -> Option<&Text> {
        match self.get(name) {
            Some(Item::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether a flag is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Item::Flag(true)))
    }
}

/// Where the walk is, for the reports.
#[derive(Clone, Copy)]
struct Path<'p> {
    up: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    const FILE: Path<'static> = Path { up: None, step: Step::Key("") };

    fn key(&'p self, name: &'p str) -> Self {
        Path { up: Some(self), step: Step::Key(name) }
    }

    fn index(&'p self, index: usize) -> Self {
        Path { up: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(up) = self.up else { return Ok(()) };
        up.fmt(f)?;
        match self.step {
            Step::Key(name) if up.up.is_none() => f.write_str(name),
            Step::Key(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// The parts of `entries` that fit the table of keys. All else is reported.
pub(super) fn walk(
    entries: Vec<Entry>,
    environment: Environment<'_>,
    reports: &mut Reports<'_>,
) -> Table {
    Walk { environment, reports, parser: None }.table(Place::File, &Path::FILE, entries, None)
}

struct Walk<'w, 's> {
    environment: Environment<'w>,
    reports: &'w mut Reports<'s>,
    /// Made when it is needed.
    parser: Option<SettingsParser>,
}

impl Walk<'_, '_> {
    /// The members of a table. `header` is where it is named, if it can lack a key.
    fn table(
        &mut self,
        place: Place,
        path: &Path<'_>,
        entries: Vec<Entry>,
        header: Option<&At>,
    ) -> Table {
        let pool = entries.iter().find(|entry| entry.key == "pool").and_then(plain_text);
        let known = entries.iter().filter_map(|entry| keys::find(place, &entry.key));
        let mut present: BTreeSet<&'static str> = known.map(|key| key.name).collect();
        let mut table = Table::default();
        for entry in entries {
            let key = match keys::find(place, &entry.key) {
                Some(key) => Some(key),
                None => {
                    let meant = self.unknown(place, path, &entry, pool.as_deref());
                    meant.filter(|key| present.insert(key.name))
                }
            };
            let Some(key) = key else { continue };
            let inside = path.key(key.name);
            match self.item(key, key.shape, entry.node, &inside) {
                Some(item) => table.members.push(Member { key, at: entry.at, item }),
                None => table.unfit.push(key.name),
            }
        }
        if let Some(header) = header {
            for key in place.keys().filter(|key| key.required && !present.contains(key.name)) {
                let message = format!("{place} needs the key `{}`", key.name);
                let fault = Fault::new(Code::MissingKey, header, message).place(path.to_string());
                self.reports.add(fault.help(format!("add `{} = {}`", key.name, key.example)));
            }
        }
        table
    }

    fn item(
        &mut self,
        key: &'static Key,
        shape: Shape,
        node: Node,
        path: &Path<'_>,
    ) -> Option<Item> {
        match (shape, node.value) {
            (Shape::Flag, Value::Flag(flag)) => Some(Item::Flag(flag)),
            (Shape::Number { least, most }, Value::Number(digits)) => {
                let text = self.number(digits, &node.at);
                self.in_range(text, least, most, key, path)
            }
            (Shape::Number { least, most }, Value::Text(string)) => {
                let text = self.string(string, node.at.source, path)?;
                self.in_range(text, least, most, key, path)
            }
            (Shape::Choice(words), Value::Text(string)) => {
                let text = self.string(string, node.at.source, path)?;
                self.word(text, words, key, path)
            }
            (Shape::Duration { .. } | Shape::Listen, Value::Number(digits)) => {
                Some(Item::Text(self.number(digits, &node.at)))
            }
            (Shape::OneOrMore(each) | Shape::List(each), Value::List(nodes)) => {
                self.list(key, *each, nodes, path, &node.at)
            }
            (Shape::Tier, Value::List(nodes)) => {
                self.list(key, Shape::Backend, nodes, path, &node.at)
            }
            (Shape::OneOrMore(one), value) => {
                let node = Node { value, at: node.at };
                self.item(key, *one, node, path).map(|item| Item::List(vec![item]))
            }
            (Shape::Table(place), Value::Table(entries)) => {
                Some(Item::Table(self.table(place, path, entries, Some(&node.at))))
            }
            (Shape::Tier, Value::Table(entries)) => {
                Some(Item::Table(self.table(Place::Tier, path, entries, Some(&node.at))))
            }
            (Shape::Backend, Value::Table(entries)) => {
                Some(Item::Table(self.table(Place::Backend, path, entries, Some(&node.at))))
            }
            (Shape::Named(place), Value::Table(entries)) => {
                Some(Item::Named(self.named(key, place, entries, path)))
            }
            (shape, Value::Text(string)) if is_string(shape) => {
                let text = self.string(string, node.at.source, path)?;
                if text.value().is_empty() && shape != Shape::Listen {
                    let fault = Fault::new(Code::Value, &text.at(), "an empty string");
                    let help = format!("write {shape}, as in {}", example(key));
                    self.reports.add(fault.place(parent(path)).help(help));
                    return None;
                }
                Some(Item::Text(text))
            }
            (shape, value) => {
                self.wrong_type(key, shape, &Node { value, at: node.at }, path);
                None
            }
        }
    }

    fn list(
        &mut self,
        key: &'static Key,
        each: Shape,
        nodes: Vec<Node>,
        path: &Path<'_>,
        at: &At,
    ) -> Option<Item> {
        if nodes.is_empty() {
            let may_be_empty = matches!(each, Shape::Backend | Shape::Tier);
            let code = if may_be_empty { Code::Empty } else { Code::Value };
            let fault = Fault::new(code, at, "an empty list").place(parent(path));
            self.reports.add(fault.help(format!("write at least one, as in {}", example(key))));
            return Some(Item::List(Vec::new())).filter(|_| may_be_empty);
        }
        let mut items = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            items.extend(self.item(key, each, node, &path.index(index)));
        }
        Some(Item::List(items))
    }

    fn named(
        &mut self,
        key: &'static Key,
        place: Place,
        entries: Vec<Entry>,
        path: &Path<'_>,
    ) -> Vec<Named> {
        let mut all = Vec::new();
        for entry in entries {
            if let Some(message) = unusable(&entry.key) {
                self.reports
                    .add(Fault::new(Code::Name, &entry.at, message).place(path.to_string()));
            }
            let inside = path.key(&entry.key);
            let item = match entry.node.value {
                Value::Table(entries) => {
                    Some(Item::Table(self.table(place, &inside, entries, Some(&entry.at))))
                }
                Value::Text(string) if place == Place::Listener => {
                    self.string(string, entry.node.at.source, &inside).map(Item::Text)
                }
                _ => {
                    let message =
                        format!("{place} must be a table, not {}", entry.node.value.kind());
                    let fault = Fault::new(Code::WrongType, &entry.node.at, message);
                    let help = match place {
                        Place::Listener => {
                            "write a table or a command line, as in \"80 app1 app2\"".to_owned()
                        }
                        _ => format!("write it as in {}", example(key)),
                    };
                    self.reports.add(fault.place(path.to_string()).help(help));
                    None
                }
            };
            all.push(Named { name: entry.key, at: entry.at, item });
        }
        all
    }

    /// A string with its variables replaced.
    fn string(&mut self, string: Spelled, source: usize, path: &Path<'_>) -> Option<Text> {
        match expand(string, source, self.environment) {
            Ok(spelled) => Some(Text { spelled, source }),
            Err(faults) => {
                for fault in faults {
                    self.reports.add(fault.place(parent(path)));
                }
                None
            }
        }
    }

    fn number(&self, digits: String, at: &At) -> Text {
        Text { spelled: Spelled::of(digits, at.bytes.clone()), source: at.source }
    }

    fn in_range(
        &mut self,
        text: Text,
        least: i64,
        most: i64,
        key: &Key,
        path: &Path<'_>,
    ) -> Option<Item> {
        let number: Option<i64> = text.value().parse().ok();
        if number.is_some_and(|number| (least..=most).contains(&number)) {
            return Some(Item::Text(text));
        }
        let message = format!("{} is not {}", quoted(text.value()), key.shape);
        self.reports.add(Fault::new(Code::Value, &text.at(), message).place(parent(path)));
        None
    }

    fn word(
        &mut self,
        text: Text,
        words: &'static [&'static str],
        key: &Key,
        path: &Path<'_>,
    ) -> Option<Item> {
        if words.contains(&text.value()) {
            return Some(Item::Text(text));
        }
        self.reports
            .add(no_such_word(&text.at(), key.name, text.value(), words, "\"").place(parent(path)));
        None
    }

    fn wrong_type(&mut self, key: &Key, shape: Shape, node: &Node, path: &Path<'_>) {
        let message = format!("`{}` must be {shape}, not {}", key.name, node.value.kind());
        let raw = self.reports.text(&node.at);
        let cure = match (&node.value, shape) {
            (Value::Text(string), Shape::Flag)
                if string.value == "true" || string.value == "false" =>
            {
                Some(string.value.clone())
            }
            (Value::Text(_), Shape::List(_)) => Some(format!("[{raw}]")),
            (Value::Number(_), shape) if is_string(shape) => {
                self.taken(key, shape, [raw.to_owned(), format!("{raw}%")])
            }
            (Value::Flag(flag), shape) if is_string(shape) => {
                self.taken(key, shape, [flag.to_string()])
            }
            _ => None,
        };
        let fault = Fault::new(Code::WrongType, &node.at, message).place(parent(path));
        self.reports.add(match cure {
            Some(cure) => fault.help(format!("write {}", quoted(&cure))).replace(cure),
            None => fault.help(format!("as in {}", example(key))),
        });
    }

    /// The first of the strings that the key takes, in quotes.
    fn taken(
        &mut self,
        key: &Key,
        shape: Shape,
        strings: impl IntoIterator<Item = String>,
    ) -> Option<String> {
        if !self.reports.has_room() {
            return None;
        }
        let mut strings = strings.into_iter();
        let string = strings.find(|it| taken::takes(key, shape, it, &mut self.parser))?;
        Some(format!("\"{string}\""))
    }
}

/// A report about a value that is not one of the words of a choice. `quote` is what the file has
/// around it.
pub(super) fn no_such_word<W: AsRef<str>>(
    at: &At,
    key: &str,
    word: &str,
    words: &[W],
    quote: &str,
) -> Fault {
    let message = format!("{} is not a value of `{key}`", quoted(word));
    let fault = Fault::new(Code::Word, at, message);
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match nearest(word, words.iter().copied()) {
        Some(near) => {
            let cure = format!("{quote}{near}{quote}");
            fault.help(format!("did you mean `{near}`?")).replace(cure)
        }
        None => fault.help(format!("write one of {}", words.join(", "))),
    }
}

fn example(key: &Key) -> String {
    format!("`{} = {}`", key.name, key.example)
}

/// The table in which a key stands.
fn parent(path: &Path<'_>) -> String {
    let mut table = path;
    while let (Step::Index(_), Some(up)) = (table.step, table.up) {
        table = up;
    }
    table.up.map(ToString::to_string).unwrap_or_default()
}

/// Whether a value of this shape is a string in the file.
fn is_string(shape: Shape) -> bool {
    matches!(
        shape,
        Shape::Duration { .. }
            | Shape::Text
            | Shape::Name
            | Shape::Factor
            | Shape::Share
            | Shape::Subset
            | Shape::Interface
            | Shape::Ciphers
            | Shape::ClientLimits
            | Shape::Rate
            | Shape::HashOn
            | Shape::Address
            | Shape::Collector
            | Shape::Socket
            | Shape::Probe
            | Shape::Agent
            | Shape::Listen
            | Shape::Operand
            | Shape::Destination
            | Shape::Access
            | Shape::Proxies
            | Shape::ServerName
            | Shape::Host
            | Shape::Backend
            | Shape::Choice(_)
    )
}

fn plain_text(entry: &Entry) -> Option<String> {
    match &entry.node.value {
        Value::Text(string) => Some(string.value.clone()),
        _ => None,
    }
}

/// What is wrong with the name of a listener, a pool or a backend.
pub(super) fn unusable(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name cannot be empty"),
        _ if name.len() > NAME_MAX => Some("a name has at most 200 bytes"),
        _ if name.contains(char::is_control) => Some("a name cannot contain control characters"),
        _ => None,
    }
}

/// The longest name, in bytes.
const NAME_MAX: usize = 200;
