//! What is to be done about a watched program: pure, time is an argument.
//!
//! ~~~text
//!            check fails            start         well again
//!     Up ------------------> Down --------> Down ------------> Up
//!                             |   (grace, back-off, ...)        ^
//!                             | `retries` starts within `within`|
//!                             '-----------> GaveUp -------------'
//! ~~~
//!
//! What was done is remembered as facts (when starts happened), so that a changed configuration
//! applies at once. Instants are milliseconds since 1970, because they outlive the process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::Watch;

/// What is remembered about a program, also between runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Since when it is not well.
    pub down_since: Option<u64>,
    /// When it was started, oldest first; only those that still count.
    pub starts: Vec<u64>,
    /// How many of the last starts did not help.
    pub failed_starts: u32,
    /// Whether nothing more is tried.
    pub gave_up: bool,
}

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All checks are passed.
    Well,
    /// One is not.
    Ill(Trouble),
    /// There are more processes than there should be.
    TooMany(Trouble),
}

/// What is wrong with a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Which check failed, and what it found.
    pub reason: String,
    /// How many of its processes are running, where they are counted.
    pub running: usize,
    /// Whether there is anything to stop.
    pub left: bool,
}

impl Health {
    /// What is wrong; nothing when all is well.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Well => Trouble::default(),
            Self::Ill(trouble) | Self::TooMany(trouble) => trouble.clone(),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell about a change.
    Tell(Change),
    /// Stop what is left.
    Stop,
    /// Start it; remembered before it is done, so that nobody does it twice.
    Start,
    /// Nothing yet: it was started a moment ago, or the back-off has not passed.
    Wait(Duration),
}

/// A change worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was well and is not any more.
    Down,
    /// It is well again.
    Up,
    /// It was started too often and stays down.
    GaveUp,
    /// There are too many processes.
    TooMany,
}

impl Change {
    /// The word used in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::GaveUp => "gave-up",
            Self::TooMany => "too-many",
        }
    }
}

impl Memory {
    /// Folds in what the checks found at `now`.
    pub fn decide(&mut self, health: &Health, watch: &Watch, now: u64) -> Vec<Action> {
        let left = match health {
            Health::Well => return self.well(),
            Health::TooMany(_) => {
                let told = self.down_since.replace(self.down_since.unwrap_or(now)).is_some();
                let tell = (!told).then_some(Action::Tell(Change::TooMany));
                return tell.into_iter().chain([Action::Stop]).collect();
            }
            Health::Ill(trouble) => trouble.left,
        };
        let mut actions = Vec::new();
        if self.down_since.is_none() {
            self.down_since = Some(now);
            actions.push(Action::Tell(Change::Down));
        }
        if self.gave_up || watch.start.is_none() {
            return actions;
        }
        // A clock that was set back must not hold up starts for long.
        self.starts.retain(|at| *at <= now && now - at < millis(watch.within));
        if let Some(last) = self.starts.last() {
            let due = last + millis(self.pause(watch));
            if now < due {
                actions.push(Action::Wait(Duration::from_millis(due - now)));
                return actions;
            }
        }
        if self.starts.len() >= watch.retries {
            self.gave_up = true;
            actions.push(Action::Tell(Change::GaveUp));
            return actions;
        }
        if left && watch.stop.is_some() {
            actions.push(Action::Stop);
        }
        self.starts.push(now);
        self.failed_starts += 1;
        actions.push(Action::Start);
        actions
    }

    fn well(&mut self) -> Vec<Action> {
        self.gave_up = false;
        self.failed_starts = 0;
        match self.down_since.take() {
            Some(_) => vec![Action::Tell(Change::Up)],
            None => vec![],
        }
    }

    /// How long to leave it alone after a start.
    fn pause(&self, watch: &Watch) -> Duration {
        let doublings = self.failed_starts.saturating_sub(1).min(16);
        let backoff = watch.backoff.saturating_mul(1 << doublings).min(BACKOFF_MAX);
        watch.grace.max(backoff)
    }
}

const BACKOFF_MAX: Duration = Duration::from_secs(300);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwatch::config::Config;

    fn watch(more: &str) -> Watch {
        let text =
            format!("[watch.a]\nprocess = 'a'\nstart = 's'\nstop = 'x'\ngrace = '1s'\n{more}");
        Config::parse(&text).unwrap().watch["a"].clone()
    }

    fn ill(left: bool) -> Health {
        Health::Ill(Trouble { reason: "gone".to_owned(), running: 0, left })
    }

    #[test]
    fn a_program_that_died_is_started_once_and_then_left_alone() {
        let (watch, mut memory) = (watch("backoff = '1s'"), Memory::default());
        assert_eq!(memory.decide(&Health::Well, &watch, 0), []);
        assert_eq!(
            memory.decide(&ill(false), &watch, 1000),
            [Action::Tell(Change::Down), Action::Start]
        );
        assert_eq!(
            memory.decide(&ill(false), &watch, 1100),
            [Action::Wait(Duration::from_millis(900))]
        );
        assert_eq!(memory.decide(&Health::Well, &watch, 1900), [Action::Tell(Change::Up)]);
        assert_eq!(memory.decide(&Health::Well, &watch, 2900), []);
    }

    #[test]
    fn each_failed_start_doubles_the_wait_until_it_gives_up_once() {
        let watch = watch("backoff = '10s'\nretries = 3");
        let mut memory = Memory::default();
        let mut now = 0;
        let mut waits = Vec::new();
        let mut told = Vec::new();
        for _ in 0..12 {
            for action in memory.decide(&ill(false), &watch, now) {
                match action {
                    Action::Wait(wait) => {
                        waits.push(wait.as_secs());
                        now += wait.as_millis() as u64;
                    }
                    Action::Tell(change) => told.push(change),
                    _ => {}
                }
            }
        }
        assert_eq!(waits, [10, 20, 40]);
        assert_eq!(told, [Change::Down, Change::GaveUp]);
        assert!(memory.gave_up);
        assert_eq!(memory.decide(&Health::Well, &watch, now), [Action::Tell(Change::Up)]);
        assert!(!memory.gave_up);
    }

    #[test]
    fn what_is_left_is_stopped_first_and_too_many_are_stopped() {
        let (watch, mut memory) = (watch("max = 2"), Memory::default());
        let actions = memory.decide(&ill(true), &watch, 0);
        assert_eq!(actions, [Action::Tell(Change::Down), Action::Stop, Action::Start]);
        let mut memory = Memory::default();
        let many = Health::TooMany(Trouble::default());
        let first = memory.decide(&many, &watch, 0);
        assert_eq!(first, [Action::Tell(Change::TooMany), Action::Stop]);
        assert_eq!(memory.decide(&many, &watch, 1), [Action::Stop]);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_starts() {
        let (watch, mut memory) = (watch(""), Memory::default());
        memory.decide(&ill(false), &watch, 1_000_000);
        assert!(memory.decide(&ill(false), &watch, 5).contains(&Action::Start));
    }
}
