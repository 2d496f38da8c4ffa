//! The control plane: owns the running configuration, publishes snapshots, serves the admin socket,
//! resolves names, handles signals, and reports what happens.
//!
//! A start has two halves. [`Prepared::new`] does everything that can fail while the user is
//! watching: resolve, bind, and claim the admin socket. [`Prepared::run`] goes into the background
//! if requested, drops privileges, starts the workers and serves until the end. Start there.

#![forbid(unsafe_code)]

mod admin;
mod ageing;
mod agents;
mod answers;
mod asking;
mod audit;
mod backlog;
mod beacon;
mod bind;
mod bodies;
mod broker;
mod calls;
mod canary;
mod certificates;
mod changes;
mod circumstances;
mod client;
mod commands;
mod companion;
mod countries;
mod counts;
mod desk;
mod discover;
mod discoveries;
mod door;
mod drain;
mod draining;
mod endings;
mod events;
mod first_answers;
mod first_names;
mod found;
mod front_page;
mod hand_over;
mod instance;
mod invocation;
mod keeper;
mod kernel;
mod lines;
mod load;
mod log;
mod lookup;
mod loops;
mod manager;
mod names;
mod operator;
mod origin;
mod owner;
mod pages;
mod pausing;
mod prober;
mod probes;
mod publish;
mod push;
mod pushing;
mod quality;
mod readiness;
mod refusals;
mod reload;
mod reloading;
mod replace;
mod report;
mod retired;
mod revisions;
mod roles;
mod runtime_dir;
mod serving;
mod shown;
mod signals;
mod snapshot;
mod socket;
mod start;
mod state;
mod status;
mod summary;
mod tap;
mod tapping;
mod tcp;
mod ticket_keys;
mod tokens;
mod unserved;
mod watch;
mod why;

pub use bind::{StartError, can_listen, first_ipv4};
pub use broker::can_run;
pub use calls::{Belongings, Call};
pub use certificates::{CertificateError, can_originate, can_terminate, concerns};
pub use client::{Client, ClientError, Readiness};
pub use companion::Companion;
pub use first_answers::resolve;
pub use hand_over::error::TakeOverError;
pub use hand_over::{explain_limit, limit_steps};
pub use instance::Instance;
pub use invocation::Invocation;
pub use kernel::{KernelRules, KernelTable, RemoveError, can_forward, is_on_a_network};
pub use load::{LoadError, load};
pub use log::{LOG_BYTES_MAX, LogTarget, LogWriter};
pub use manager::{PassedSocketError, ServiceManager};
pub use operator::Operator;
pub use origin::{ContentHash, Loaded, Origin, ReadError};
pub use report::{LogOptions, LogReporter, Reporter};
pub use runtime_dir::{
    ROOT_RUNTIME_DIR, admin_socket_path, admin_sockets, escaped, hand_over_path, read_pid,
    runtime_dir,
};
pub use signals::{Exit, Signals};
pub use start::{Prepared, Setup};
pub use state::StatePlace;
pub use why::WhyQuery;
