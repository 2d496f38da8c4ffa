//! From what was typed to what it means.
//!
//! [`Config`] is everything a running balancer is told; every door (the native command line, the
//! classics', later the file) parses into it. [`Command`] is every change a running one accepts.
//! Parsing is pure: names are kept as text, and `control` resolves them; service names are looked
//! up by a function of the caller. Options live in one table per personality, from which help,
//! man pages and completions are rendered.
//!
//! [`operand`] has the address grammar, and [`native`] the command line of `evenkeel`. The
//! languages of the classics are in the crate `classics`.

#![forbid(unsafe_code)]

mod command;
pub mod duration;
mod exit;
mod model;
pub mod native;
pub mod operand;
mod words;

pub use command::{BackendSelector, Command, CommandError, Reply};
pub use exit::{EXIT_STATUSES, ExitRow, ExitStatus};
pub use model::{
    Affinity, Backend, Bind, Config, Endpoint, Family, Host, Limits, Listener, LogFormat, Pool,
    Process, Tier,
};
pub use words::policy_word;
