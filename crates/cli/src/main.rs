//! The one binary and its personalities.
fn main() {}
