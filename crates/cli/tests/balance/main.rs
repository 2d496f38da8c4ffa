//! balance(1), from outside: what the recorded cases of the original cannot show, above all the
//! faults it had and this program must not have. Numbers in names of tests are those of the
//! behaviour's list of faults.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

#[path = "../support/mod.rs"]
mod support;

mod control;
mod data;
mod output;
mod selection;

use support::{Place, Port};

/// The rows of `show`: group, type, channel, state, address, port, c, totalc, maxc, sent, rcvd.
#[track_caller]
fn show(place: &Place, port: &Port) -> Vec<Vec<String>> {
    let done = place.balance_c(port, "show").check(0);
    let mut lines = done.stdout.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("GRP Type  #")), "{done:?}");
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// One column of `show`, from the top.
#[track_caller]
fn column(place: &Place, port: &Port, column: usize) -> String {
    show(place, port).iter().map(|row| row[column].as_str()).collect::<Vec<_>>().join(" ")
}

const C: usize = 6;
const TOTALC: usize = 7;
