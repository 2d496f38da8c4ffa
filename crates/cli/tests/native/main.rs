//! `evenkeel` itself, from outside: operands, choosing, relaying, the log, the process.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

#[path = "../support/mod.rs"]
mod support;

mod admitting;
mod agents;
mod announcing;
mod announcing_flows;
mod certificates;
mod checking;
mod choosing;
mod commanding;
mod discovering;
mod draining;
mod ejecting;
mod encrypting;
mod failing;
mod flows;
mod formatting;
mod kernel;
mod kernel_direct;
mod kernel_leftovers;
mod kernel_rules;
mod kernel_sessions;
mod kernel_table;
mod kernel_upgrading;
mod kernel_ways;
mod limiting;
mod log;
mod log_sessions;
mod loops;
mod manager;
mod memory;
mod metrics;
mod moving;
mod names;
mod outages;
mod passed;
mod policies;
mod postgres;
mod probing;
mod probing_servers;
mod process;
mod proxies;
mod pushing;
mod readiness;
mod relaying;
mod reloading;
mod renewing;
mod returning;
mod routing;
mod running;
mod services;
mod sharing;
mod starttls;
mod state;
mod store;
mod terminating;
mod transparent;
mod unix;
mod upgrading;
mod upgrading_ends;
mod upgrading_faults;
mod upgrading_flows;
mod verbs;
