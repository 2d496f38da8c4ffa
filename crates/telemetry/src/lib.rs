//! Status reports and log lines: their shapes and words, without anybody's sockets.
//!
//! [`Status`] and [`SessionRow`] are what the admin API answers with; [`Line`] is one line of the
//! log, as text or JSON. Filling them is `control`'s business.

#![forbid(unsafe_code)]

mod line;
mod status;

pub use line::{Level, Line, LineFormat, Stamp, Value};
pub use status::{BackendRow, ListenerRow, SessionRow, Status, TierRow, WorkerRow};
