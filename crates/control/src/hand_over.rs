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

/// Name and version of this program.
const PROGRAM: &str = concat!("evenkeel ", env!("CARGO_PKG_VERSION"));
