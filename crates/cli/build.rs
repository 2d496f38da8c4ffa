//! Lists the rendered man pages and completions, which `evenkeel install` writes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 2] = ["completions", "man"];

fn main() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS.map(|folder| docs.join(folder)) {
        println!("cargo::rerun-if-changed={}", folder.display());
        let entries = folder.read_dir().expect("the folder of rendered documents");
        files.extend(entries.map(|entry| entry.expect("a rendered document").path()));
    }
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.file_name().expect("a file has a name").to_string_lossy();
        let _ = writeln!(table, "    ({name:?}, include_str!({:?})),", file.display().to_string());
    }
    table.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("documents.rs"), table).expect("the list can be written");
}
