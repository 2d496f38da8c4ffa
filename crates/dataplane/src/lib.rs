//! Worker threads that perform what the pure crates decide.
