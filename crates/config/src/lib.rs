//! From what was typed to what it means.
//!
//! [`Config`] is everything a running balancer is told; every door (the native command line, the
//! classics', later the file) parses into it. [`Command`] is every change a running one accepts.
//! Parsing is pure: names are kept as text, and `control` resolves them; service names are looked
//! up by a function of the caller. Options live in one table per personality, from which help,
//! man pages and completions are rendered.
//!
//! [`operand`] has the address grammar, [`native`] the command line of `evenkeel`, [`balance`]
//! everything that balance(1) says and understands.

#![forbid(unsafe_code)]

pub mod balance;
mod classic;
mod command;
pub mod duration;
mod exit;
mod model;
pub mod native;
pub mod operand;
pub mod pen;
mod words;

pub use command::{BackendSelector, Command, CommandError, Reply};
pub use exit::{EXIT_STATUSES, ExitRow, ExitStatus};
pub use model::{
    Affinity, Backend, Bind, Config, CutStyle, Endpoint, Family, Host, Limits, Listener, LogFormat,
    Pool, Process, Source, Tier, Timeouts,
};
pub use words::policy_word;
