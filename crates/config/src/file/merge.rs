//! Puts the files of a configuration together: the tables of the file itself are merged, and a name
//! or key in two of them is an error.

use super::Code;
use super::excerpt::quoted;
use super::report::{At, Fault, Reports};
use super::tree::{Entry, Value};
use std::collections::BTreeMap;

/// The entries of all files as if they were in one.
pub(super) fn merge(files: Vec<Vec<Entry>>, reports: &mut Reports<'_>) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for entry in files.into_iter().flatten() {
        let Some(known) = places.get(&entry.key).and_then(|at| all.get_mut(*at)) else {
            places.insert(entry.key.clone(), all.len());
            all.push(entry);
            continue;
        };
        match (&mut known.node.value, entry.node.value) {
            (Value::Table(table), Value::Table(more)) => table.extend(more),
            _ => reports.add(twice(&entry.key, "", &known.at, &entry.at, reports)),
        }
    }
    for entry in &mut all {
        if let Value::Table(table) = &mut entry.node.value {
            *table = without_doubles(std::mem::take(table), &entry.key, reports);
        }
    }
    all
}

fn without_doubles(entries: Vec<Entry>, table: &str, reports: &mut Reports<'_>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        match places.get(&entry.key).and_then(|at| kept.get(*at)) {
            Some(known) => reports.add(twice(&entry.key, table, &known.at, &entry.at, reports)),
            None => {
                places.insert(entry.key.clone(), kept.len());
                kept.push(entry);
            }
        }
    }
    kept
}

fn twice(key: &str, table: &str, first: &At, second: &At, reports: &Reports<'_>) -> Fault {
    let message = format!("{} is set twice, first in {}", quoted(key), reports.line_of(first));
    Fault::new(Code::Twice, second, message).place(table).help("remove or rename one of the two")
}
