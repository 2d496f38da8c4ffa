//! One way to write a configuration file: `evenkeel fmt`.
//!
//! Keys stand in the order of the table of [`keys`](crate::keys), and each value has one spelling.
//! Comments stay with what they are about, tables and lists stay in the author's order, and so does
//! everything that is not in the table. A list that was written over several lines keeps one item
//! per line.

mod comments;
mod layout;
mod spelling;
#[cfg(test)]
mod tests;

use crate::keys::{Place, Shape, find};
use comments::{Lead, comments};
use layout::Layout;
use std::cmp::Ordering;
use toml_edit::{Decor, DocumentMut, Item, KeyMut, Table, TomlError};

/// Why a text cannot be formatted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The text is not TOML.
    #[error("{0}")]
    Syntax(TomlError),
    /// The result would not have the comments of the text. This is a fault of the program.
    #[error("a comment stands where it cannot be kept; nothing was changed")]
    Comments,
}

/// The text of a configuration file as it is best written.
///
/// # Errors
/// If the text is not TOML. What the keys mean is not looked at.
pub fn format(text: &str) -> Result<String, FormatError> {
    let mut document: DocumentMut = text.parse().map_err(FormatError::Syntax)?;
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    format_table(document.as_table_mut(), Kind::Keys(Place::File));
    document.set_trailing(Lead::of(&trailing).at_the_end());
    let formatted = document.to_string();
    let formatted = formatted.trim_matches('\n');
    let end = if formatted.is_empty() { "" } else { "\n" };
    let formatted = format!("{formatted}{end}");
    if comments(text) == comments(&formatted) { Ok(formatted) } else { Err(FormatError::Comments) }
}

/// What the keys of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The keys of this place.
    Keys(Place),
    /// Names, each with a table of this place.
    Names(Place),
    /// Nothing known.
    Unknown,
}

impl Kind {
    /// Of the tables that a value of this shape consists of.
    fn of(shape: Option<Shape>) -> Self {
        match shape {
            Some(Shape::Table(place)) => Self::Keys(place),
            Some(Shape::Named(place)) => Self::Names(place),
            Some(Shape::Backend) => Self::Keys(Place::Backend),
            Some(Shape::Tier) => Self::Keys(Place::Tier),
            Some(Shape::List(item) | Shape::OneOrMore(item)) => Self::of(Some(*item)),
            _ => Self::Unknown,
        }
    }

    /// The shape of the value that a key has here.
    fn shape(self, key: &str) -> Option<Shape> {
        match self {
            Self::Keys(place) => find(place, key).map(|key| key.shape),
            Self::Names(place) => Some(Shape::Table(place)),
            Self::Unknown => None,
        }
    }

    /// Which of two keys stands first. Names, and keys that are not known, stay as they are.
    fn order(self, one: &str, other: &str) -> Ordering {
        let rank = |name: &str| match self {
            Self::Keys(place) => place.keys().position(|key| key.name == name),
            Self::Names(_) | Self::Unknown => None,
        };
        let rank = |name: &str| rank(name).unwrap_or(usize::MAX);
        rank(one).cmp(&rank(other))
    }
}

/// Formats what is written below a header, or below none.
fn format_table(table: &mut Table, kind: Kind) {
    let mut head = Some(take_head(table));
    format_entries(table, kind, &mut head);
}

/// Formats the entries of a table. `head` is what stands above the first of them; it is taken by
/// the one that is first in the end.
fn format_entries(table: &mut Table, kind: Kind, head: &mut Option<String>) {
    table.sort_values_by(|one, _, other, _| kind.order(one.get(), other.get()));
    let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let Some((key, item)) = table.get_key_value_mut(&name) else { continue };
        let shape = kind.shape(&name);
        match item {
            Item::Table(inner) if inner.is_dotted() => {
                format_key(key, String::new());
                format_entries(inner, Kind::of(shape), head);
            }
            Item::Table(inner) => {
                format_key(key, String::new());
                format_header(inner);
                format_table(inner, Kind::of(shape));
            }
            Item::ArrayOfTables(tables) => {
                format_key(key, String::new());
                for inner in tables.iter_mut() {
                    format_header(inner);
                    format_table(inner, Kind::of(shape));
                }
            }
            Item::Value(value) => {
                let lead = Lead::of(prefix(key.leaf_decor()));
                let lead = match head.take() {
                    Some(head) => head + &lead.first(),
                    None => lead.between(),
                };
                let column = key.display_repr().len() + " = ".len();
                format_key(key, lead);
                Layout { depth: 0, column }.value(value, shape);
            }
            Item::None => {}
        }
    }
}

fn format_key(mut key: KeyMut<'_>, lead: String) {
    key.fmt();
    if !lead.is_empty() {
        key.leaf_decor_mut().set_prefix(lead);
    }
}

fn format_header(table: &mut Table) {
    let lead = Lead::of(prefix(table.decor())).above_a_header();
    let comment = trailing_comment(suffix(table.decor()));
    *table.decor_mut() = Decor::new(lead, comment);
}

/// Takes the comments above the first entry that are not about it: those followed by an empty line.
fn take_head(table: &mut Table) -> String {
    let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let Some((mut key, item)) = table.get_key_value_mut(&name) else { continue };
        match item {
            Item::Value(_) => {
                let (head, rest) = Lead::of(prefix(key.leaf_decor())).split();
                key.leaf_decor_mut().set_prefix(rest);
                return head;
            }
            Item::Table(inner) if inner.is_dotted() => return take_head(inner),
            _ => {}
        }
    }
    String::new()
}

fn prefix(decor: &Decor) -> &str {
    decor.prefix().and_then(|text| text.as_str()).unwrap_or_default()
}

fn suffix(decor: &Decor) -> &str {
    decor.suffix().and_then(|text| text.as_str()).unwrap_or_default()
}

/// A comment after a value or header, with the distance that it had.
fn trailing_comment(text: &str) -> String {
    let text = text.trim_end();
    if text.starts_with('#') { format!(" {text}") } else { text.to_owned() }
}
