//! Pure crates: one list of what they may not call, and no dependency that could call it for them.

use crate::root;
use anyhow::{Context, bail};
use std::path::Path;

/// Crates without I/O, clocks, threads or randomness of their own.
const PURE: [&str; 8] =
    ["balancing", "classics", "config", "forwarding", "probing", "relay", "telemetry", "terms"];
/// What they may depend on beside one another. `clap` and `jiff` could do more than is wanted;
/// `clippy-pure.toml` names what.
const ALLOWED: [&str; 13] = [
    "clap",
    "hashbrown",
    "itoa",
    "jiff",
    "serde",
    "serde_json",
    "siphasher",
    "slab",
    "strsim",
    "thiserror",
    "toml",
    "toml_edit",
    "toml_parser",
];
/// What `clippy.toml` of a pure crate is a link to.
const LIST: &str = "../../clippy-pure.toml";

/// Fails when a pure crate has another list than the others, a dependency that is not allowed, or
/// does not forbid unsafe code.
pub fn check() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for name in PURE {
        let folder = root().join("crates").join(name);
        faults_of(&folder, &mut faults).with_context(|| format!("checking crate {name}"))?;
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("pure crates must stay pure:\n  {}", faults.join("\n  "))
}

fn faults_of(folder: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let name = folder.file_name().unwrap_or_default().display();
    let list = folder.join("clippy.toml");
    if !list.read_link().is_ok_and(|target| target == Path::new(LIST)) {
        faults.push(format!("{name}: clippy.toml is not a link to {LIST}"));
    }
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))?;
    let manifest: toml::Table = manifest.parse()?;
    for section in ["dependencies", "build-dependencies"] {
        for (dependency, _) in
            manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten()
        {
            if ![&PURE[..], &ALLOWED].concat().contains(&dependency.as_str()) {
                faults.push(format!("{name}: depends on {dependency} ({section})"));
            }
        }
    }
    let source = std::fs::read_to_string(folder.join("src/lib.rs"))?;
    if !source.contains("#![forbid(unsafe_code)]") {
        faults.push(format!("{name}: src/lib.rs lacks #![forbid(unsafe_code)]"));
    }
    Ok(())
}
