//! balance(1): its command line, its control shell, and every text it prints.
//!
//! Behaviour is that of release 3.57 less its faults; `docs/compat.md` lists where they part.
//! [`BalanceArgs`] is exactly what was typed. [`BalanceArgs::mode`] says which of the three
//! programs it asks for: the proxy, whose [`BalanceProxy::to_config`] gives the configuration,
//! or one of the two control forms, whose grammar and answers are in [`shell`]. Nothing is
//! resolved, bound or printed here.
//!
//! What happens at a start, in order: [`BalanceArgs::parse`], the two lines of
//! [`debug::banner`], [`BalanceArgs::mode`], then bind what [`BalanceProxy::bind`] says, and
//! only then [`BalanceProxy::to_config`] and [`resolve`]: the original reports a port in use
//! before it looks at the channels.

mod args;
pub mod debug;
mod dump;
mod error;
mod options;
mod proxy;
pub mod shell;
#[cfg(test)]
mod tests;

pub use crate::classic::OptionRow;
pub use crate::classic::take_print_config;
pub use args::{BalanceArgs, Mode};
pub use dump::{Block, Direction, render_dump};
pub use error::BalanceError;
pub use options::{EXAMPLES, OPTIONS, SEPARATORS, SYNOPSES, usage};
pub use proxy::{BalanceProxy, hosts_to_resolve, resolve};

/// Channels a group can have.
pub const MAX_CHANNELS: usize = 64;
/// Groups there can be, numbered from zero.
pub const MAX_GROUPS: usize = 32;
/// The number in the usage text, the banner and `version`: ours, in the form scripts look for.
pub const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// One running proxy, as `-i` and `-c` name it: by port number and the text given to `-b`.
///
/// The text, not the address: `127.0.0.1` and `localhost` are two instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// The listening port.
    pub port: u16,
    /// The text given with `-b`, or `0.0.0.0`.
    pub bind_text: String,
}
