//! Chores: `cargo xtask docs` renders documents from the option tables, `cargo xtask structure`
//! checks how the sources are put together.

mod api;
mod circles;
mod docs;
mod interleavings;
mod keys;
mod markdown;
mod pen;
mod prose;
mod purity;
mod roff;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Chores {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write man pages, completions and references from the option tables, and check all documents
    Docs {
        /// Write nothing; fail also if a file is stale
        #[arg(long)]
        check: bool,
    },
    /// Fail when pure crates are not pure, or when files import one another in a circle
    Structure,
    /// Play every order in which workers can step the atomics they share
    Loom,
}

fn main() -> anyhow::Result<()> {
    match Chores::parse().chore {
        Chore::Docs { check: false } => docs::write(),
        Chore::Docs { check: true } => docs::check(),
        Chore::Structure => purity::check().and_then(|()| circles::check()),
        Chore::Loom => interleavings::play(),
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
