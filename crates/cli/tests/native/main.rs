//! `evenkeel` itself, from outside: operands, choosing, relaying, the log, the process.

#[path = "../support/mod.rs"]
mod support;

mod choosing;
mod log;
mod process;
mod relaying;
mod sharing;
