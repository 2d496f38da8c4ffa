//! Turns command lines and configuration files into a validated [`Config`].
//!
//! [`Config`] is everything that configures a balancer; every door (the native command line, those
//! of the classics, and the configuration file) parses into it. [`Command`] is any change that a
//! running balancer accepts. Parsing is pure: names stay text until `control` resolves them, and a
//! function of the caller looks up service names. There is one table of options per personality;
//! help, man pages and completions are rendered from it.
//!
//! [`operand`] has the address grammar, [`file`](mod@file) reads the configuration file, [`keys`]
//! is the table of its keys, and [`native`] is the command line of `evenkeel`. The languages of the
//! classics are in the crate `classics`.

#![forbid(unsafe_code)]

mod apply;
#[cfg(test)]
mod arbitrary;
mod change;
mod collector;
mod command;
mod discovery;
pub mod duration;
pub mod engine;
pub mod environment;
mod exit;
mod expand;
pub mod file;
mod format;
mod ids;
pub mod keys;
mod model;
pub mod native;
pub mod operand;
mod passed;
mod protocols;
pub mod state;
mod words;

pub use apply::Known;
pub use change::{
    BackendSetting, Change, ListenerSetting, Names, PoolSetting, ProcessSetting, Target,
};
pub use command::{BackendSelector, Command, CommandError, Drained, EventKind, Reply, Role};
pub use discovery::{Answer, Answers, Discovery, Record, Unanswered};
pub use exit::{EXIT_STATUSES, ExitRow, ExitStatus};
pub use format::{FormatError, format};
pub use ids::Ids;
pub use model::{
    AdminAccess, Affinity, Backend, Bind, Checks, ClientTls, Collector, Config, Endpoint, Engine,
    Family, Host, Limits, Listener, LogFormat, LogSessions, MetricsDetail, OnDown, OnUp,
    PeriodicAgent, PeriodicProbe, Pool, PoolTls, Process, Protocol, Push, Route, Segment,
    StateDirectory, TapAccess, Tier, Tls, TlsVersion,
};
pub use native::{ClientNetwork, EventQuery, SessionQuery, TapQuery};
pub use passed::{PassedError, PassedNames, PassedVariables};
pub use words::{PrintForm, policy_word, print_form};
