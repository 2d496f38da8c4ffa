//! Chores: `cargo xtask docs` writes what is rendered from the option tables.

mod docs;
mod markdown;
mod pen;
mod prose;
mod roff;

use clap::{Parser, Subcommand};

/// Chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Chores {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write man pages, completions and references from the option tables
    Docs {
        /// Write nothing; fail if a file is stale, or if a line of Markdown is too long
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Chores::parse().chore {
        Chore::Docs { check: false } => docs::write(),
        Chore::Docs { check: true } => docs::check(),
    }
}
