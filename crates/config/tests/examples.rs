//! The files in `examples` and in the documents: they are right, without warnings, and as
//! `evenkeel fmt` writes them.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]
#![expect(clippy::disallowed_methods, reason = "a test reads its cases")]

use config::file::{Source, read};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files in a folder whose names end in this.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}

fn source(path: &Path) -> Source {
    let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    Source { name, text: read_to_string(path).unwrap() }
}

#[track_caller]
fn check(sources: &[Source]) {
    let services = |name: &str| ["ldap", "smtp"].contains(&name).then_some(25);
    let reading = read(sources, &|_| None, &services);
    let reports: String = reading.reports.iter().map(ToString::to_string).collect();
    assert!(reading.config.is_some() && reports.is_empty(), "{}:\n{reports}", sources[0].name);
    for Source { name, text } in sources {
        assert_eq!(config::format(text).as_ref(), Ok(text), "run `evenkeel fmt {name}`");
    }
}

#[test]
fn examples_are_right() {
    let examples = root().join("examples");
    let mut count = 0;
    for path in files(&examples, ".toml") {
        check(&[source(&path)]);
        count += 1;
    }
    let folders = examples.read_dir().unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|path| path.is_dir()) {
        let mut paths = files(&folder, "evenkeel.toml");
        paths.extend(files(&folder.join("conf.d"), ".toml"));
        check(&paths.iter().map(|path| source(path)).collect::<Vec<_>>());
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn documents_show_right_files() {
    let mut count = 0;
    for path in files(&root().join("docs"), ".md") {
        let Source { name, text } = source(&path);
        let blocks = text.split("\n```toml\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split_once("\n```")).map(|(block, _)| block);
        // Others are pieces, or files of other programs.
        for block in blocks.filter(|block| block.contains("[listeners")) {
            check(&[Source { name: format!("{name}:\n{block}"), text: format!("{block}\n") }]);
            count += 1;
        }
    }
    assert!(count > 0);
}
