//! Tests of what workers share, in every order of steps: `--cfg loom` has the crates take loom's
//! atomics, so they are built again, in a folder of their own.

use crate::root;
use anyhow::{Context, bail};
use std::process::Command;

/// Crates whose tests named `interleavings` run.
const CRATES: [&str; 2] = ["balancing", "dataplane"];
/// How often a thread may be interrupted in one run. The authors of loom
/// advise two or three; each more multiplies the time.
const PREEMPTIONS_MAX: &str = "2";

/// Runs the tests.
pub fn play() -> anyhow::Result<()> {
    let packages = CRATES.iter().flat_map(|name| ["--package", name]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root())
        .args(["test", "--lib", "--profile", "quick"])
        .args(packages)
        .arg("interleavings::")
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", "target/loom")
        .env("LOOM_MAX_PREEMPTIONS", PREEMPTIONS_MAX)
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("loom found a fault, or the tests did not build");
    }
    Ok(())
}
