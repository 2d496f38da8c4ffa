//! What one session does next: order, half-close, reset, buffers, time-outs.
//!
//! Pure: [`Link`] decides, [`pump`] performs its steps on a [`Wire`], which is the worker's system
//! calls or a simulation's queues. [`Search`] is the way to a backend that answers, before that.
//! [`Deadlines`] holds the timers. Choosing a backend is `balancing`'s business; descriptors and
//! events are `dataplane`'s. Start reading at [`Link`].

#![forbid(unsafe_code)]

mod deadlines;
mod forwarded;
mod link;
mod pump;
mod search;
mod stream;

pub use deadlines::Deadlines;
pub use forwarded::Forwarded;
pub use link::{Link, Ready, Step, Verdict};
pub use pump::{Fault, Pumped, Received, Urgent, Wire, pump};
pub use search::{Incarnation, Search, SearchStep};

/// The largest read, and the capacity a pipe should have.
pub const READ_BYTES_MAX: usize = 1 << stream::READ_LOG2_MAX;
