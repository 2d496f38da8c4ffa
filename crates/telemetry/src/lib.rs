//! Status reports and log lines: their shapes and words, without sockets.
//!
//! The admin API returns [`Status`] and [`SessionRow`]; [`Line`] is one line of the log, as text or
//! JSON. `control` fills them.

#![forbid(unsafe_code)]

mod line;
pub mod metrics;
pub mod page;
mod process;
mod status;
mod why;

pub use line::{Level, Line, LineFormat, Stamp, Value};
pub use process::{ControlCounts, ProcessRow};
pub use status::{
    AgentRow, BackendRow, CertificateRow, ChangeRow, Configs, DepartedRow, EndedRow,
    EndedSessionRow, FailureRow, Health, HistogramRow, InstanceRow, ListenerRow, NameRow, PoolRow,
    PredecessorRow, ProbeRow, ProbeVerdict, RouteRow, SessionRow, Stance, StatesRow, Status,
    TierRow, TotalsRow, WorkerRow,
};
pub use why::{Why, WhyBackend, WhyReason, WhyTier};
