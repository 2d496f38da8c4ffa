//! Lists the rendered man pages and completions, which `evenkeel install` writes, and has the linker
//! put the code of an idle process together.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 2] = ["completions", "man"];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    list_documents(&here.join("../../docs"));
    order_code(&here.join("idle.ld"));
}

fn list_documents(docs: &Path) {
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

/// Only memory depends on the order, so that it is left to a linker that was asked for by name: mold
/// does not read such scripts.
fn order_code(script: &Path) {
    println!("cargo::rerun-if-changed={}", script.display());
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_asked_for = variable("CARGO_ENCODED_RUSTFLAGS").contains("fuse-ld");
    if variable("PROFILE") == "release"
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && !is_asked_for
    {
        println!("cargo::rustc-link-arg-bin=evenkeel=-Wl,--script={}", script.display());
    }
}
