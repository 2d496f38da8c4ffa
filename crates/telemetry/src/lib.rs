//! Status reports and log lines: their shapes and words, without sockets.
//!
//! The admin API returns [`Status`] and [`SessionRow`]; [`Line`] is one line of the log, as text or
//! JSON. `control` fills them.

#![forbid(unsafe_code)]

mod line;
pub mod page;
mod status;
mod why;

pub use line::{Level, Line, LineFormat, Stamp, Value};
pub use status::{
    BackendRow, ChangeRow, Configs, DepartedRow, Health, InstanceRow, ListenerRow, PoolRow,
    ProbeRow, ProbeVerdict, RouteRow, SessionRow, Status, TierRow, WorkerRow,
};
pub use why::{Why, WhyBackend, WhyReason, WhyTier};
