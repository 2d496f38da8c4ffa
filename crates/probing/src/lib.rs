//! Probes of backends: what they send, what they take for an answer, and when they are due.
//!
//! Pure: no clock, no sockets, no threads. A [`Probe`] is what somebody has configured, read from
//! text. A [`Dialogue`] is one run of it over a connection that somebody else has made: bytes in,
//! bytes out, and at the end an outcome with a reason. An [`Agent`] is asked likewise, and gives
//! advice. A [`Command`] is run instead, and judged by its [`Ending`]. A [`Schedule`] says when which
//! target is to be probed, and reaches verdicts. `control` has the thread that performs all of this.
//! Start at [`Schedule`].

#![forbid(unsafe_code)]

mod agent;
mod command;
mod dialogue;
mod probe;
mod protocols;
mod schedule;
mod text;
mod track;

pub use agent::{Advice, Agent, AgentAddress, AgentCheck, Standing};
pub use command::{Command, Ending};
pub use dialogue::{Dialogue, Progress};
pub use probe::{Probe, ProbeError, Role, Statuses};
pub use schedule::{Action, Finding, SPREAD, Schedule};
pub use track::{Rules, Verdict};
