//! Three set-ups of pen(1) as people run them, under load for minutes while operators change
//! everything that can be changed without a restart: not one client may notice.
//!
//! The command lines, the file and the orders are pen's own, so the same run asks the original
//! and any replacement. Each scenario has its own module; what they share is `balancer` (the
//! process and its `penctl`), `service` (the servers behind it) and `tally` (what went wrong).

mod balancer;
mod mail;
mod pair;
mod service;
mod tally;
mod web;

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::Check;
pub(crate) use balancer::Balancer;
pub(crate) use service::{Service, Stream, same};
pub use tally::Summary;

/// What to run, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The command line of `pen` without its arguments.
    pub pen: String,
    /// The same of `penctl`.
    pub penctl: String,
    /// How long load and changes go on.
    pub time: Duration,
    /// Only scenarios whose name contains one of these; all when empty.
    pub only: Vec<String>,
}

impl Settings {
    /// The `pen` and `penctl` of this machine, everything, for `time`.
    pub fn new(time: Duration) -> Self {
        Self { pen: "pen".to_owned(), penctl: "penctl".to_owned(), time, only: Vec::new() }
    }

    /// Sets the time; at least a second, at most a day.
    pub fn set_minutes(&mut self, minutes: f64) {
        self.time = Duration::from_secs_f64((minutes * 60.0).clamp(1.0, 86_400.0));
    }
}

/// A scenario: its name, and what plays it.
type Scenario = (&'static str, fn(&Settings, Instant) -> Check<Summary>);

const SCENARIOS: &[Scenario] =
    &[("web farm", web::play), ("mail", mail::play), ("web and chat", pair::play)];

/// Plays all chosen scenarios at the same time.
pub fn run(settings: &Settings) -> Vec<Summary> {
    let deadline = Instant::now() + settings.time;
    let is_chosen = |name: &str| {
        settings.only.is_empty() || settings.only.iter().any(|part| name.contains(part.as_str()))
    };
    thread::scope(|scope| {
        let chosen = SCENARIOS.iter().filter(|(name, _)| is_chosen(name));
        let running: Vec<_> =
            chosen.map(|(name, play)| (name, scope.spawn(|| play(settings, deadline)))).collect();
        let ended = running.into_iter().map(|(name, thread)| match thread.join() {
            Ok(Ok(summary)) => summary,
            Ok(Err(failure)) => Summary::broken(name, &failure.to_string()),
            Err(_) => Summary::broken(name, "the rig itself panicked"),
        });
        ended.collect()
    })
}
