//! Compresses the man pages and completions that `evenkeel install` writes, and gives the linker the
//! script for a release.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 2] = ["completions", "man"];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    pack_documents(&here.join("../../docs"));
    lay_out(&here.join("release.ld"));
}

/// Writes a table of their names and lengths, and a file with all texts, one after the other.
fn pack_documents(docs: &Path) {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS.map(|folder| docs.join(folder)) {
        println!("cargo::rerun-if-changed={}", folder.display());
        let entries = folder.read_dir().expect("the folder of rendered documents");
        files.extend(entries.map(|entry| entry.expect("a rendered document").path()));
    }
    files.sort();
    let mut texts = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut table = Vec::new();
    for file in &files {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read(file).expect("a document can be read");
        texts.write_all(&text).expect("memory takes everything");
        table.push((name, text.len()));
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let texts = texts.finish().expect("memory takes everything");
    for (name, content) in
        [("documents.rs", format!("&{table:?}").into_bytes()), ("documents.zlib", texts)]
    {
        std::fs::write(out.join(name), content).expect("the documents can be written");
    }
}

/// Only memory and the size of the file depend on the layout, so that it is left to a linker that was
/// asked for by name: mold does not read such scripts.
fn lay_out(script: &Path) {
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
