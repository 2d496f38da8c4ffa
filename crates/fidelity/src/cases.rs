//! The cases: what each asks of a proxy, which backends it needs, and how long it may take.

mod failover;
mod flow;
mod half_close;
mod resets;
mod sessions;
mod urgent;

use std::time::Duration;

use crate::{backend::Behaviour, report::Check, stage::Stage};

/// One question to a proxy.
#[derive(Debug)]
pub struct Case {
    /// Its name, for `--only` and the report.
    pub name: &'static str,
    /// What the proxy must do, in one line.
    pub asks: &'static str,
    /// What is at `{B1}` and `{B2}`.
    pub backends: [Behaviour; 2],
    /// All its waiting together, before `--timeout-scale`.
    pub budget: Duration,
    /// The question itself.
    pub run: fn(&Stage) -> Check,
}

/// Every case, in the order in which they run.
pub const CASES: &[Case] = &[
    case(
        "half-close-by-client",
        "answer a client that has half-closed: 2 MB and the end of file arrive",
        SCRIPTED,
        half_close::by_client,
    ),
    case(
        "half-close-by-backend",
        "let a client send 2 MB to a backend that has half-closed",
        SCRIPTED,
        half_close::by_backend,
    ),
    case(
        "half-close-by-both",
        "deliver both ends' data when both half-close with 1 MB in flight",
        SCRIPTED,
        half_close::by_both,
    ),
    case(
        "empty-session",
        "show the backend each client that connects and closes at once, as an end of file",
        SCRIPTED,
        half_close::empty_session,
    ),
    case(
        "reset-by-backend",
        "pass on 100 kB and then the backend's reset",
        SCRIPTED,
        resets::by_backend,
    ),
    case(
        "reset-by-client",
        "pass on 100 kB and then the client's reset",
        SCRIPTED,
        resets::by_client,
    ),
    case(
        "reset-after-half-close",
        "pass on data and reset to a client that has half-closed",
        SCRIPTED,
        resets::after_half_close,
    ),
    case(
        "reset-to-slow-reader",
        "hold the backend's reset back until a slow client has all 300 kB",
        SCRIPTED,
        resets::to_slow_reader,
    ),
    case(
        "client-leaves",
        "tell a sending backend within 5 s that its client has gone",
        SCRIPTED,
        resets::client_leaves,
    ),
    case(
        "slow-readers",
        "lose and reorder nothing of 8 MB each way in odd pieces to slow readers",
        SCRIPTED,
        flow::slow_readers,
    )
    .within(60),
    case(
        "full-duplex",
        "carry 20 MB there and back while the client reads and writes at once",
        ECHO,
        flow::full_duplex,
    )
    .within(30),
    case(
        "back-pressure",
        "stop a backend before 64 MB when its client does not read, and lose nothing",
        SCRIPTED,
        flow::back_pressure,
    )
    .within(60),
    case(
        "server-first",
        "let a backend speak first, and 200 single bytes each way take under 2 s",
        SCRIPTED,
        flow::server_first,
    ),
    case(
        "client-first",
        "let a client speak first, and 200 single bytes each way take under 2 s",
        SCRIPTED,
        flow::client_first,
    ),
    case(
        "split-writes",
        "not hold back the second of two small writes (200 pairs under 2 s)",
        SCRIPTED,
        flow::split_writes,
    ),
    case(
        "urgent-to-backend",
        "deliver an urgent byte of a client, out of band or in its place",
        SCRIPTED,
        urgent::to_backend,
    ),
    case(
        "urgent-to-client",
        "deliver an urgent byte of a backend, out of band or in its place",
        SCRIPTED,
        urgent::to_client,
    ),
    case(
        "urgent-zero",
        "deliver an urgent byte of value 0 in both directions",
        SCRIPTED,
        urgent::zero,
    ),
    case(
        "concurrent-sessions",
        "keep the bytes of 200 sessions at once apart",
        ECHO,
        sessions::concurrent,
    )
    .within(30),
    case("short-sessions", "answer each of 500 short sessions exactly", ECHO, sessions::short)
        .within(30),
    case(
        "failover-refused",
        "serve 40 of 40 clients within 1 s when {B2} refuses",
        [Behaviour::Echo, Behaviour::Refuses],
        failover::refused,
    ),
    case(
        "failover-refused-first",
        "serve 40 of 40 clients within 1 s when {B1} refuses",
        [Behaviour::Refuses, Behaviour::Echo],
        failover::refused,
    ),
    case(
        "failover-black-hole",
        "serve 8 of 8 clients within 30 s when {B2} does not answer",
        [Behaviour::Echo, Behaviour::BlackHole],
        failover::black_hole,
    )
    .within(30),
    case(
        "failover-reset-first",
        "serve 8 of 8 silent clients when {B2} resets after its accept",
        [Behaviour::Greeting, Behaviour::Resets],
        failover::reset_at_accept,
    ),
    case(
        "failover-none-left",
        "end a client's connection within 3 s when both backends refuse",
        [Behaviour::Refuses, Behaviour::Refuses],
        failover::none_left,
    ),
];

const fn case(
    name: &'static str,
    asks: &'static str,
    backends: [Behaviour; 2],
    run: fn(&Stage) -> Check,
) -> Case {
    Case { name, asks, backends, budget: Duration::from_secs(10), run }
}

impl Case {
    const fn within(mut self, seconds: u64) -> Self {
        self.budget = Duration::from_secs(seconds);
        self
    }
}

const SCRIPTED: [Behaviour; 2] = [Behaviour::Scripted; 2];
const ECHO: [Behaviour; 2] = [Behaviour::Echo; 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        for (i, case) in CASES.iter().enumerate() {
            assert!(CASES[..i].iter().all(|other| other.name != case.name), "{}", case.name);
        }
    }
}
