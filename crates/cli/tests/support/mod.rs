//! What the black-box tests share: a place of its own for every test, the real program started
//! in it, backends and clients. Nothing here knows the program's inside.
//!
//! Every wait has a deadline and says what it waited for; nothing sleeps and hopes.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of the harness")]

mod backend;
mod client;
mod datagrams;
mod manager;
mod place;
mod program;
mod tls;
mod worker;

pub use backend::Backend;
pub use client::{Client, End, ask, ask_from, ask_often, ask_times, connect_from, count};
pub use datagrams::{UdpBackend, UdpClient};
pub use manager::{Manager, pass, passing, start_with};
pub use place::{Http, Place, http};
pub use program::{Done, Lines, Program};
pub use testing::{Mmdb, Network, Segment, or_skip, skip_unless};
pub use tls::{Authority, Issued, TlsClient, TlsServer, certified};
pub use worker::{Doing, Worker};

use fidelity::pattern::Pattern;
use fidelity::{Claim, wait_until};
use std::fmt;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A listener port that no other test has, in this process or in others.
pub struct Port(Claim);

/// Reserves a port.
pub fn port() -> Port {
    Port(Claim::new().expect("a free port"))
}

impl Port {
    /// The number.
    pub fn number(&self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// Bytes that differ with the seed, and from one place to the next.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    Pattern::new(seed).take(len)
}

/// Waits until `is_so`, or fails with what it waited for.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(wait_until(Instant::now() + PATIENCE, is_so), "waited in vain: {what}");
}

/// Whether this machine has `::1`.
pub fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}
