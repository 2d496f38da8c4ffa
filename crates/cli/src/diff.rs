//! `evenkeel diff`: the file, what was loaded from it, and what runs.

use crate::ctl::{choose, printable};
use crate::output::{complain, finish};
use config::ExitStatus;
use config::native::DiffArgs;
use control::Origin;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use sys::errors::with_causes;

/// Prints what differs.
pub fn diff(args: &DiffArgs) -> ExitCode {
    match compare(args) {
        Ok(text) if text.is_empty() => ExitStatus::Success.into(),
        Ok(text) => finish("evenkeel diff", &printable(&text), ExitStatus::Failure),
        Err(messages) => {
            messages.iter().for_each(|it| complain(&format!("evenkeel diff: {}", printable(it))));
            ExitStatus::Usage.into()
        }
    }
}

fn compare(args: &DiffArgs) -> Result<String, Vec<String>> {
    let client = choose(&args.which).map_err(|failure| vec![failure.message])?;
    let failed = |error: control::ClientError| vec![with_causes(&error)];
    let (status, configs) = (client.status().map_err(failed)?, client.configs().map_err(failed)?);
    let path = args.file.clone().or(status.file.map(PathBuf::from));
    let none = "the instance was started from a command line; name a file to compare with";
    let path = path.ok_or_else(|| vec![none.to_owned()])?;
    let origin = Origin::new(&path).map_err(|error| vec![with_causes(&error)])?;
    let file = origin.read().map_err(|error| error.texts())?.config.to_file();
    let name = format!("{} (what a reload would change)", path.display());
    let loaded = format!("loaded, revision {}", status.revision);
    Ok(section(&loaded, &configs.loaded, &name, &file)
        + &section(&loaded, &configs.loaded, "running (what commands have set)", &configs.running))
}

/// The lines of two files that only one of them has, below the headers of their tables; nothing if
/// they are equal.
fn section(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    let (old, new) = (by_table(old), by_table(new));
    let mut text = String::new();
    let headers: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for header in headers {
        let (before, after) = (old.get(header), new.get(header));
        let (before, after) = (before.map_or(NONE, |it| it), after.map_or(NONE, |it| it));
        let gone = without(before, after).map(|line| format!("-{line}\n"));
        let come = without(after, before).map(|line| format!("+{line}\n"));
        let changes: String = gone.chain(come).collect();
        if !changes.is_empty() {
            text += &format!(" {header}\n{changes}");
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("--- {old_name}\n+++ {new_name}\n{text}"),
    }
}

const NONE: &[&str] = &[];

/// The lines of each table by its header.
fn by_table(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut header = "";
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('[') {
            header = line;
        }
        tables.entry(header).or_default().push(line);
    }
    tables
}

/// The lines of `all` that are not among `others`.
fn without<'t>(all: &'t [&'t str], others: &'t [&'t str]) -> impl Iterator<Item = &'t str> {
    let others: BTreeSet<_> = others.iter().collect();
    all.iter().copied().filter(move |line| !others.contains(line))
}
