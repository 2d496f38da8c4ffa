//! One binary, several programs: which one is decided by the name it is called by.
//!
//! [`PERSONALITIES`] has all of them; whatever else it is called, it is `evenkeel`. Each entry parses,
//! converts, runs, and maps errors to exit statuses; rules live elsewhere. `native` is `evenkeel`
//! itself, `balance` and `pen` the classics, `ctl`, `demo` and `install` its verbs; the log and watch
//! tools are in their crate, `logtools`. This is a library so that `xtask` renders documents from the
//! same table that `main` runs.

#![forbid(unsafe_code)]

mod balance;
mod check;
mod config_file;
mod ctl;
mod demo;
mod diff;
mod engine_clear;
mod install;
mod native;
mod output;
mod pen;
mod personalities;
mod run;
mod serve;
mod top;
mod upgrade;

pub use install::MARK;
pub use native::tree;
pub use personalities::{PERSONALITIES, Personality};

use control::{ServiceManager, explain_limit};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program that the first word names.
pub fn main(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    if ServiceManager::is_to_take_over() {
        explain_limit();
    }
    let argv0 = words.next().unwrap_or_else(|| "evenkeel".into()).to_string_lossy().into_owned();
    let words: Vec<OsString> = words.collect();
    match Personality::find(argv0.rsplit('/').next().unwrap_or(&argv0)) {
        Some(personality) => personality.run(&argv0, &words, false),
        None => native::main(words),
    }
}
