//! What the tests of several crates need: seeded simulations.
//!
//! Only `[dev-dependencies]` name this crate, and it uses none of the others.
#![forbid(unsafe_code)]

mod simulation;

pub use simulation::{Rng, sweep};
