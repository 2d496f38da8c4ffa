//! How values are laid out: on one line, or one item of a list per line.

use super::comments::between_items;
use super::spelling::respell;
use super::{Kind, prefix, suffix, trailing_comment};
use crate::keys::Shape;
use toml_edit::{Array, Decor, InlineTable, Value};

/// Where a value begins.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// The number of lists around it that have one item per line.
    pub(super) depth: usize,
    /// How much of its line is taken.
    pub(super) column: usize,
}

impl Layout {
    /// Formats the value of a key.
    pub(super) fn value(self, value: &mut Value, shape: Option<Shape>) {
        let comment = trailing_comment(suffix(value.decor()));
        self.inside(value, shape);
        *value.decor_mut() = Decor::new(" ", comment);
    }

    fn inside(self, value: &mut Value, shape: Option<Shape>) {
        respell(value, shape);
        match value {
            Value::Array(list) => self.list(list, shape),
            Value::InlineTable(table) => self.table(table, Kind::of(shape)),
            _ => {}
        }
    }

    fn list(self, list: &mut Array, shape: Option<Shape>) {
        let gaps = gaps(list);
        let inner = Self { depth: self.depth + 1, column: INDENT.len() * (self.depth + 1) };
        for item in list.iter_mut() {
            inner.inside(item, shape.and_then(Shape::item));
        }
        let was_long = gaps.iter().any(|gap| gap.contains(['\n', '#']));
        list.fmt();
        *list.decor_mut() = Decor::new("", "");
        let length = list.to_string().chars().count();
        if was_long && !(list.is_empty() && gaps.iter().all(|gap| gap.trim().is_empty()))
            || self.column + length > WIDTH
        {
            spread(list, &gaps, self.depth);
        }
    }

    /// A table in braces. One with line ends or comments in it keeps them.
    fn table(self, table: &mut InlineTable, kind: Kind) {
        let is_plain = !gaps_of_table(table).iter().any(|gap| gap.contains(['\n', '#']));
        let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
        for name in &names {
            if let Some(value) = table.get_mut(name) {
                let decor = value.decor().clone();
                self.inside(value, kind.shape(name));
                *value.decor_mut() = decor;
            }
        }
        if is_plain {
            table.sort_values_by(|one, _, other, _| kind.order(one.get(), other.get()));
            for name in &names {
                if let Some(mut key) = table.key_mut(name) {
                    key.fmt();
                }
            }
            table.fmt();
            table.set_trailing_comma(false);
            table.set_trailing("");
        }
    }
}

/// What stands before each item and before the closing bracket, without the commas.
fn gaps(list: &Array) -> Vec<String> {
    let mut gaps = vec![String::new()];
    for item in list.iter() {
        if let Some(gap) = gaps.last_mut() {
            gap.push_str(prefix(item.decor()));
        }
        gaps.push(suffix(item.decor()).to_owned());
    }
    if let Some(gap) = gaps.last_mut() {
        gap.push_str(list.trailing().as_str().unwrap_or_default());
    }
    gaps
}

fn gaps_of_table(table: &InlineTable) -> Vec<&str> {
    let mut gaps = vec![table.trailing().as_str().unwrap_or_default()];
    for (name, value) in table.iter() {
        gaps.extend([prefix(value.decor()), suffix(value.decor())]);
        if let Some(key) = table.key(name) {
            gaps.extend([prefix(key.leaf_decor()), suffix(key.leaf_decor())]);
        }
        if let Some(inner) = value.as_inline_table().filter(|inner| inner.is_dotted()) {
            gaps.extend(gaps_of_table(inner));
        }
    }
    gaps
}

/// Gives each item a line.
fn spread(list: &mut Array, gaps: &[String], depth: usize) {
    let count = list.len();
    let indent = INDENT.repeat(depth + 1);
    for (index, (item, gap)) in list.iter_mut().zip(gaps).enumerate() {
        let gap = between_items(gap, &indent, index == 0, false);
        *item.decor_mut() = Decor::new(format!("{gap}\n{indent}"), "");
    }
    let last = gaps.last().map(String::as_str).unwrap_or_default();
    let gap = between_items(last, &indent, count == 0, true);
    list.set_trailing(format!("{gap}\n{}", INDENT.repeat(depth)));
    list.set_trailing_comma(count > 0);
}

const INDENT: &str = "  ";
/// A line with a list that is longer is broken.
const WIDTH: usize = 100;
