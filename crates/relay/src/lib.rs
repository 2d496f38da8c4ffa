//! What one session does next: order, half-close, reset, buffers, time-outs.

#![forbid(unsafe_code)]

mod model;

pub use model::SpliceMode;
