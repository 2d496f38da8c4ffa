//! A table that an earlier process has left, in the place of which another one comes.

use crate::render::TableName;
use crate::target::Mark;
use crate::transaction::{Edit, Kind, Step};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Something that a table has, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rules
    Chain(String),
    /// Elements with a value
    Map(String),
    /// Elements
    Set(String),
    /// The counters of a target
    Target(Mark),
}

/// Takes from a table of this kind what edits do not bring, and keeps what is known of flows and
/// clients, and what has been counted for targets that stay.
pub(super) fn empty(table: &TableName, kind: Kind, edits: &[Edit], present: &[Part]) -> String {
    let mut text = String::new();
    let at = format!("{} {table}", kind.family());
    let mut line = |words: String| {
        let _ = writeln!(text, "{words}"); // a string takes everything
    };
    line(format!("flush table {at}"));
    let (mut kept, mut targets) = (Vec::new(), BTreeSet::new());
    for edit in edits.iter().filter(|edit| edit.kind() == kind) {
        match edit {
            Edit::Translated(Step::AddMemory(name, _)) | Edit::Direct(Step::AddMemory(name, _)) => {
                kept.push(format!("k_{name}"));
            }
            Edit::Translated(Step::AddTarget(mark, _)) => drop(targets.insert(mark)),
            Edit::Direct(Step::AddTarget(mark, _)) => drop(targets.insert(mark)),
            _ => {}
        }
    }
    // First what leads to chains, then these, then what their rules have looked things up in.
    let flushed: &[&str] = match kind {
        Kind::Translated => &["at", "any", "to", "from", "masked"],
        Kind::Direct => &["at", "whole", "own", "its", "by", "hosted"],
        Kind::Pit => &[],
    };
    let is_flushed = |name: &str| flushed.contains(&name.trim_end_matches(['4', '6']));
    for part in present {
        match part {
            Part::Map(name) if is_flushed(name) => line(format!("flush map {at} {name}")),
            Part::Set(name) if is_flushed(name) => line(format!("flush set {at} {name}")),
            Part::Target(mark) if !targets.contains(mark) => {
                for (set, element) in counters(kind, *mark) {
                    line(format!("delete element {at} {set} {{ {element} }}"));
                }
            }
            _ => {}
        }
    }
    for part in present {
        if let Part::Chain(name) = part
            && name.contains('_')
        {
            line(format!("delete chain {at} {name}"));
        }
    }
    for part in present {
        match part {
            Part::Map(name) if name.contains('_') && !kept.contains(name) => {
                line(format!("delete map {at} {name}"));
            }
            Part::Set(name) if name.contains('_') => line(format!("delete set {at} {name}")),
            _ => {}
        }
    }
    text
}

/// The sets with an element that counts for each target, and whether they have one for each direction.
pub(crate) fn counting_sets(kind: Kind) -> &'static [(&'static str, bool)] {
    match kind {
        Kind::Translated => &[("begun", false), ("refused", false), ("passed", true)],
        Kind::Direct => &[("begun", false), ("passed", false)],
        Kind::Pit => &[],
    }
}

/// The elements that count for a target, each with its set.
pub(super) fn counters(kind: Kind, mark: Mark) -> impl Iterator<Item = (&'static str, String)> {
    counting_sets(kind).iter().map(move |(set, has_direction)| match has_direction {
        true => (*set, format!("{mark} . original, {mark} . reply")),
        false => (*set, mark.to_string()),
    })
}
