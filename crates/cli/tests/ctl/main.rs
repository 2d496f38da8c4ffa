//! `evenkeel ctl` and the admin socket behind it.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

#[path = "../support/mod.rs"]
mod support;

mod explaining;
mod finding;
mod http;
mod roles;
mod tap;
mod verbs;
