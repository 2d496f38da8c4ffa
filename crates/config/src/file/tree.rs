//! A file as a tree of tables, lists and values, each with its place in the text.

use super::report::At;
use super::spelling::Spelled;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

/// A value and where it is. The place of a table with a header is the header.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: At,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Spelled),
    /// A whole number in decimal digits.
    Number(String),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Something that no key takes, as it is called: `a date`.
    Other(&'static str),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The place of the key.
    pub(super) at: At,
    pub(super) node: Node,
}

impl Value {
    /// What it is called in a sentence.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// The entries of a table of the parser, in the order of the file.
pub(super) fn entries(table: &DeTable<'_>, text: &str, source: usize) -> Vec<Entry> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    let pairs = pairs.into_iter();
    pairs.map(|(key, value)| entry(key, value, text, source)).collect()
}

fn entry(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    text: &str,
    source: usize,
) -> Entry {
    let at = At::new(source, key.span());
    Entry { key: key.get_ref().to_string(), at, node: node(value, text, source) }
}

fn node(value: &Spanned<DeValue<'_>>, text: &str, source: usize) -> Node {
    let bytes = value.span();
    let at = At::new(source, bytes.clone());
    let value = match value.get_ref() {
        DeValue::String(string) => Value::Text(spelled(string, text, bytes)),
        DeValue::Integer(number) => Value::Number(decimal(number)),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(list) => Value::List(list.iter().map(|it| node(it, text, source)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, text, source)),
        DeValue::Float(_) => Value::Other("a number with a point"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
    };
    Node { value, at }
}

fn spelled(string: &str, text: &str, bytes: Range<usize>) -> Spelled {
    Spelled::new(string, text.get(bytes.clone()).unwrap_or_default(), bytes)
}

/// A number as the options take it. One beyond all limits stays as it was written.
fn decimal(number: &DeInteger<'_>) -> String {
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(value) => value.to_string(),
        Err(_) => number.to_string(),
    }
}
