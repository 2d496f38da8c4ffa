//! Files of one crate that import one another in a circle, so that none can be read without the
//! others.
//!
//! An import is a `use`, or a path such as `crate::pool::Pool` in the code; tests do not count. A
//! name that is re-exported leads to the file that defines it, and re-exporting is no import. A
//! file that is a module's inside (`pool/offer.rs` of `pool.rs`) may look back at its module.

mod imports;

use crate::root;
use anyhow::{Context, bail};
use imports::Crate;
use std::collections::{BTreeMap, BTreeSet};

/// Circles that are known, as `CRATE: FILE FILE ...`. Each must go, and none may be added.
const KNOWN: [&str; 8] = [
    "classics: balance/args.rs balance/proxy.rs",
    "classics: pen/address.rs pen/settings.rs",
    "classics: pen/command.rs pen/commands.rs",
    "cli: pen/desk.rs pen/operation.rs",
    "config: model.rs operand.rs",
    "logtools: dwatch/pass.rs dwatch/tell.rs",
    "logtools: input.rs output.rs",
    "relay: link.rs pump.rs",
];

/// Fails when there is a circle that is not known. Names the known ones that are gone.
pub fn check() -> anyhow::Result<()> {
    let mut found = BTreeSet::new();
    for entry in root().join("crates").read_dir().context("listing crates")? {
        let folder = entry.context("listing crates")?.path();
        let name = folder.file_name().unwrap_or_default().display().to_string();
        for start in ["lib.rs", "main.rs"] {
            let start = folder.join("src").join(start);
            if start.exists() {
                let sources = Crate::read(&start).with_context(|| format!("reading {name}"))?;
                found.extend(circles(&sources.imports()).into_iter().map(|files| {
                    format!("{name}: {}", files.into_iter().collect::<Vec<_>>().join(" "))
                }));
            }
        }
    }
    let known: BTreeSet<String> = KNOWN.iter().map(ToString::to_string).collect();
    for circle in known.difference(&found) {
        eprintln!("no longer a circle, remove it from KNOWN in xtask/src/circles.rs: {circle}");
    }
    let new: Vec<_> = found.difference(&known).map(String::as_str).collect();
    if new.is_empty() {
        return Ok(());
    }
    bail!("files must not import one another in a circle:\n  {}", new.join("\n  "))
}

/// Groups of files each of which leads to every other.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|file| (file, reachable(imports, file))).collect();
    let leads = |from: &String, to: &String| reached.get(from).is_some_and(|it| it.contains(to));
    imports
        .keys()
        .map(|file| {
            let round_trip = |other: &&String| leads(file, other) && leads(other, file);
            imports.keys().filter(round_trip).cloned().collect::<BTreeSet<_>>()
        })
        .filter(|circle| circle.len() > 1)
        .collect()
}

fn reachable<'a>(
    imports: &'a BTreeMap<String, BTreeSet<String>>,
    from: &String,
) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = imports.get(from).into_iter().flatten().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(imports.get(file).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let sources = Crate::read(&dir.path().join("lib.rs")).unwrap();
        let expected = expected.iter().map(|circle| circle.iter().map(ToString::to_string));
        assert_eq!(circles(&sources.imports()), expected.map(Iterator::collect).collect());
    }

    #[test]
    fn siblings_that_use_each_other_are_a_circle() {
        check(
            &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b::B; pub struct A;"),
                ("b.rs", "pub struct B; fn f() { crate::c::go() }"),
                ("c.rs", "use super::a; pub fn go() {}"),
            ],
            &[&["a.rs", "b.rs", "c.rs"]],
        );
    }

    #[test]
    fn a_reexported_name_leads_to_the_file_that_defines_it() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
                ("a.rs", "use crate::B; pub struct A;"),
                ("b.rs", "pub struct B;"),
            ],
            &[],
        );
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
                ("a.rs", "use crate::B; pub struct A;"),
                ("b.rs", "use crate::A; pub struct B;"),
            ],
            &[&["a.rs", "b.rs"]],
        );
    }

    #[test]
    fn insides_may_look_back_and_tests_do_not_count() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "mod inner; use inner::I; pub struct A;"),
                ("a/inner.rs", "use super::A; pub struct I;"),
                ("b.rs", "use crate::a::A; pub struct B; #[cfg(test)] mod tests;"),
                ("b/tests.rs", "use super::*;"),
            ],
            &[],
        );
    }
}
