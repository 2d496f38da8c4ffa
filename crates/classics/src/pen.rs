//! pen(1) and penctl(1): their command lines, the command language, and every text they print.
//!
//! Behaviour is that of release 0.34.1 less its faults; `docs/compat.md` lists where they part.
//! [`PenArgs`] is exactly what was typed. [`PenSettings`] is everything pen remembers: options,
//! the file of `-F` and the control port all change it, the latter two through [`PenCommand`]s,
//! and [`PenSettings::to_config`] gives the configuration of that moment. Nothing is resolved,
//! bound, read or printed here: the caller hands in [`Names`] and carries out [`Effect`]s.
//!
//! What happens at a start, in order: [`PenArgs::parse`]; [`PenSettings::new`], which gives the
//! caller the commands among the options one by one; the [`lines`] of the file;
//! [`PenSettings::take_listener`]; then bind, and [`PenSettings::take_servers`].

mod access;
mod address;
mod apply;
mod args;
mod command;
mod commands;
mod convert;
mod error;
mod options;
mod penctl;
pub mod replies;
mod script;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod write;

pub use crate::classic::{OptionRow, take_print_config};
pub use address::{Hosts, Names, PenListen, host_and_port};
pub use apply::{Applied, Effect, Show};
pub use args::{PenArgs, PenOption};
pub use command::{PenCommand, ServerChange, Switch, Value};
pub use commands::{COMMANDS, CommandRow};
pub use error::PenError;
pub use options::{EXAMPLE, OPTIONS, SYNOPSIS, usage};
pub use penctl::{PENCTL_USAGE, PenctlArgs, PenctlError, PenctlTarget};
pub use script::{
    FactsNeeded, Needs, Order, Ran, ReadFile, SCRIPT_BYTES_MAX, SCRIPT_FILES_MAX, Script,
    Surroundings,
};
pub use settings::{FastClose, PenServer, PenSettings, ServerAddress};
pub use tls::{PenTls, TlsCommand};
pub use write::{Clock, lines};

/// Access lists there are, numbered from zero.
pub const ACCESS_LISTS: usize = 10;
/// Servers there can be. The original has no limit, and a large number in a command takes all
/// memory.
pub const MAX_SERVERS: usize = 65_536;
/// Entries an access list can have.
pub const MAX_ENTRIES: usize = 1_000_000;
