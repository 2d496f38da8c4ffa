//! Which backend takes a session: pools, tiers, policies, health and limits.
//!
//! Pure: no clock, no sockets, no threads. Time is an argument ([`Instant`]), and what workers
//! share is atomic state that any of them may step. The core proposes a backend and reserves a
//! place at it in one step ([`Pool::next_backend`]); the worker connects and reports back.

#![forbid(unsafe_code)]

mod model;

pub use model::{AdminState, FailoverScope, Policy};
