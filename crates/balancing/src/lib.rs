//! Which backend takes a session: pools, tiers, policies, health and limits.
//!
//! Pure: no clock, no sockets, no threads. Time is an argument ([`terms::Instant`]), and
//! workers share atomic state. One step proposes a backend and reserves a place at it
//! ([`Pool::next_backend`]); the worker connects and reports the result ([`Pool::report`]).
//! Start at [`Pool`].

#![forbid(unsafe_code)]

mod access;
mod admission;
mod affinity;
mod attempt;
mod backend;
mod backends;
mod bound;
mod client;
mod connection_ids;
mod crowd;
mod ejection;
mod excess;
mod explain;
mod hash;
mod health;
mod histogram;
#[cfg(all(loom, test))]
mod interleavings;
mod latency;
mod model;
mod percent;
mod plan;
mod policy;
mod pool;
mod proxy_peers;
mod routes;
mod slots;
mod subset;
mod sync;
mod tier;
mod warmth;

pub use access::{AccessEntry, AccessList, Because, Decision, Subject, Verdict};
pub use admission::{
    Admission, ClientLimits, InvalidClientLimits, InvalidPrefixes, InvalidRate, Prefixes, Rate,
    Refused, WhenFull,
};
pub use affinity::{Affinity, AffinityRow, Known};
pub use attempt::Attempt;
pub use backend::{Backend, BackendChange, BackendState, Lease, Quality, Tally, Timings, Totals};
pub use backends::Backends;
pub use bound::{InvalidLoadBound, LoadBound};
pub use client::{Client, Country};
pub use connection_ids::{ConnectionIds, IdKey};
pub use crowd::Crowd;
pub use ejection::{Complaint, Ejector, QualityChange};
pub use excess::Excess;
pub use explain::{Explanation, Place, Reason};
pub use hash::{KERNEL_SEED, client_hash};
pub use health::{Health, HealthLimits, Outcome};
pub use histogram::{BOUNDS, Bounds, Distribution, Histogram, LATENCIES, LIFETIMES};
pub use latency::Latency;
pub use model::{AdminState, FailoverScope, Policy};
pub use percent::{InvalidPercent, Percent};
pub use plan::Plan;
pub use pool::{Pool, Thin};
pub use proxy_peers::ProxyPeers;
pub use routes::{InvalidServerName, RouteRule, Routes, ServerName};
pub use slots::{Arrivals, Slots, byte_slot};
pub use subset::{InvalidSubset, Subset};
pub use tier::{Cursor, Stance, Tier};
