//! Hands the instance over to another process, with its sockets and its open sessions, and takes one
//! over.
//!
//! `protocol` has the rules and a drawing, `frame` and `record` what the messages are. `offer` is the
//! old side, `successor` the new one; what they ask of the owner of the instance is in `request`, and
//! `handing` does it. `describe` is what an instance says about itself.

mod describe;
pub(crate) mod error;
mod frame;
mod handing;
#[cfg(test)]
mod mutations;
pub(crate) mod offer;
pub(crate) mod protocol;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod successor;

pub(crate) use describe::{Places, restore};

use std::time::Duration;

/// How long the new process may take for a step that nobody else watches. Longer than the old one
/// waits for it, which can say more.
const STEP_WITHIN: Duration = Duration::from_secs(15);

/// Has this process, or the program that it becomes, end if it takes too long to ask for the
/// hand-over, or to get further, before it is in the background.
pub fn limit_steps() {
    sys::alarm::set(STEP_WITHIN);
}

/// Has this process say so in that case. Call it first.
pub fn explain_limit() {
    sys::alarm::explain(
        "evenkeel: the hand-over failed, and the running instance goes on: this process got no further \
         for 15 seconds, and has ended\n",
    );
}

/// Name and version of this program.
const PROGRAM: &str = concat!("evenkeel ", env!("CARGO_PKG_VERSION"));
