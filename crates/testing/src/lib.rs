//! What the tests of several crates need: seeded simulations, country databases, and networks of
//! namespaces.
//!
//! Only `[dev-dependencies]` name this crate, and it uses none of the others.
#![forbid(unsafe_code)]

mod mmdb;
mod namespaces;
mod network;
mod segment;
mod simulation;

pub use mmdb::Mmdb;
pub use network::Network;
pub use segment::Segment;
pub use simulation::{Rng, sweep};

/// What a test needs, or `None`, with the reason, if this machine cannot have it; see [`skip_unless`].
///
/// # Panics
/// If the test must not be skipped.
#[track_caller]
#[must_use]
pub fn or_skip<T>(made: Result<T, String>) -> Option<T> {
    match made {
        Ok(made) => Some(made),
        Err(reason) => {
            let _ = skip_unless(false, &reason);
            None
        }
    }
}

/// Whether a test that needs something special must be skipped; says so. With
/// `EVENKEEL_TEST_ALL=1` a skip is a failure.
///
/// # Panics
/// If the test must not be skipped.
#[track_caller]
#[must_use]
pub fn skip_unless(has_it: bool, reason: &str) -> bool {
    if has_it {
        return false;
    }
    assert!(
        std::env::var_os("EVENKEEL_TEST_ALL").is_none_or(|value| value != "1"),
        "EVENKEEL_TEST_ALL is set, but this cannot be tested: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
    true
}
