//! `evenkeel ctl` and the admin socket behind it.

#[path = "../support/mod.rs"]
mod support;

mod finding;
mod http;
mod verbs;
