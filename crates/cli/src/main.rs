//! One binary, several programs: which one is decided by the name it is called by.
//!
//! Each personality's entry parses, converts, runs, and maps errors to exit statuses; rules live
//! elsewhere. `native` is `evenkeel` itself, `balance` and `pen` the classics, `ctl` and `demo` what
//! they say; the log and watch tools are in their crate, `logtools`.

#![forbid(unsafe_code)]

mod balance;
mod ctl;
mod demo;
mod native;
mod output;
mod pen;
mod serve;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let argv0 = words.next().unwrap_or_else(|| "evenkeel".into());
    let words: Vec<OsString> = words.collect();
    let argv0 = argv0.to_string_lossy().into_owned();
    let name = argv0.rsplit('/').next().unwrap_or(&argv0);
    match name {
        "balance" => balance::main(&argv0, &lossy(&words), false),
        "pen" => pen::main(&argv0, &lossy(&words), false),
        "penctl" => pen::penctl_main(&lossy(&words)),
        name => match logtools::find(name) {
            Some(tool) => (tool.main)(&argv0, &mut words.into_iter()),
            None => native::main(words),
        },
    }
}

/// The classics know no encodings; what is not Unicode cannot be a host, port or option anyway.
fn lossy(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// An error's text without Rust's `(os error N)`.
fn bare_reason(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
