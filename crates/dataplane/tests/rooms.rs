//! The modules of this crate form no circle: each can be read with only those that it uses.

#![expect(clippy::unwrap_used, reason = "without its sources there is nothing to test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules that each module of `src` names by `crate::`.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let files: Vec<_> = if path.is_dir() {
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
        } else {
            vec![path]
        };
        let used = uses.entry(module.clone()).or_default();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                used.extend(
                    line.split("crate::").skip(1).flat_map(named).filter(|it| *it != module),
                );
            }
        }
    }
    uses.remove("lib");
    let modules: BTreeSet<_> = uses.keys().cloned().collect();
    uses.values_mut().for_each(|used| used.retain(|it| modules.contains(it)));
    uses
}

/// The modules named by what follows `crate::`: one, or several in braces.
fn named(path: &str) -> Vec<String> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let word =
        |text: &str| text.trim_start().split(|char| !is_word(char)).next().map(str::to_owned);
    match path.strip_prefix('{') {
        Some(several) => several.split(',').filter_map(word).collect(),
        None => word(path).into_iter().collect(),
    }
}

#[test]
fn no_module_uses_one_that_uses_it() {
    let mut uses = uses();
    assert!(uses["worker"].contains("sessions") && uses["sessions"].contains("connect"));
    // Whatever uses nothing that is left is in no circle.
    loop {
        let left: BTreeSet<_> = uses.keys().cloned().collect();
        uses.retain(|_, used| used.iter().any(|it| left.contains(it)));
        if uses.len() == left.len() {
            break;
        }
    }
    assert!(uses.is_empty(), "in or above a circle: {uses:#?}");
}
