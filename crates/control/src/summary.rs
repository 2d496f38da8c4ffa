//! The state of the instance in one line, for people who look at the service manager.

use crate::instance::Instance;
use crate::status::health;
use balancing::{AdminState, Backend, HealthLimits};
use std::fmt;
use telemetry::Health;
use terms::Instant;

/// How much there is of everything, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub listeners: usize,
    pub sessions: usize,
    pub backends: Backends,
    /// The pools in which no backend is available.
    pub dead_pools: Vec<String>,
    pub is_shutting_down: bool,
    /// How long a drain of the instance may still take, if there is one.
    pub drain_seconds: Option<u64>,
}

/// Numbers of backends, each of which is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backends {
    pub available: usize,
    pub quarantined: usize,
    pub down: usize,
    pub ejected: usize,
    pub unresolved: usize,
    pub draining: usize,
    pub disabled: usize,
}

impl Instance {
    /// The state of the instance in short. Takes time in proportion to the number of backends, but
    /// little of it.
    pub(crate) fn summary(&self) -> Summary {
        let now = sys::clock::now();
        let mut summary = Summary {
            listeners: self.listeners.len(),
            sessions: self.session_count(),
            is_shutting_down: self.is_shutting_down(),
            ..Summary::default()
        };
        for (config, pool) in self.config.pools.iter().zip(&self.pools) {
            let mut backends = Backends::default();
            for (_, _, backend) in pool.backends() {
                backends.add_all(Backends::of(backend, &pool.health, now));
            }
            if backends.available == 0 {
                summary.dead_pools.push(config.name.clone());
            }
            summary.backends.add_all(backends);
        }
        summary
    }
}

impl Backends {
    /// This one alone.
    pub fn of(backend: &Backend, limits: &HealthLimits, now: Instant) -> Self {
        let mut alone = Self::default();
        alone.add(backend.state.admin(), health(backend, limits, now));
        alone
    }

    fn add(&mut self, admin: AdminState, health: Health) {
        let number = match (admin, health) {
            (AdminState::Disabled, _) => &mut self.disabled,
            (AdminState::Draining, _) => &mut self.draining,
            (AdminState::Enabled, Health::Quarantined) => &mut self.quarantined,
            (AdminState::Enabled, Health::Down) => &mut self.down,
            (AdminState::Enabled, Health::Ejected) => &mut self.ejected,
            (AdminState::Enabled, Health::Unresolved) => &mut self.unresolved,
            (AdminState::Enabled, Health::Unknown | Health::Healthy | Health::Probation) => {
                &mut self.available
            }
        };
        *number += 1;
    }

    fn add_all(&mut self, more: Self) {
        self.available += more.available;
        self.quarantined += more.quarantined;
        self.down += more.down;
        self.ejected += more.ejected;
        self.unresolved += more.unresolved;
        self.draining += more.draining;
        self.disabled += more.disabled;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_shutting_down {
            return write!(f, "Shutting down; {} left", Number(self.sessions, "session"));
        }
        if let Some(seconds) = self.drain_seconds {
            let left = Number(self.sessions, "session");
            return write!(f, "Draining, for {seconds} s at most; {left} left");
        }
        if let Some(pool) = self.dead_pools.first() {
            write!(f, "No backend available in pool {pool}")?;
            if self.dead_pools.len() > 1 {
                write!(f, " and {} more", self.dead_pools.len() - 1)?;
            }
            f.write_str("; ")?;
        }
        let (sessions, listeners) = (self.sessions, self.listeners);
        write!(f, "{} on {}", Number(sessions, "session"), Number(listeners, "listener"))?;
        let Backends { available, quarantined, down, ejected, unresolved, draining, disabled } =
            self.backends;
        write!(f, "; {} available", Number(available, "backend"))?;
        let others = [
            (quarantined, "quarantined"),
            (down, "down"),
            (ejected, "ejected"),
            (unresolved, "unresolved"),
            (draining, "draining"),
            (disabled, "disabled"),
        ];
        for (number, what) in others.iter().filter(|(number, _)| *number > 0) {
            write!(f, ", {number} {what}")?;
        }
        Ok(())
    }
}

/// A number of things: "no session", "1 session", "2 sessions".
struct Number(usize, &'static str);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(0, what) => write!(f, "no {what}s"),
            Self(1, what) => write!(f, "1 {what}"),
            Self(number, what) => write!(f, "{number} {what}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(summary: &Summary, expected: &str) {
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn all_is_well() {
        let backends = Backends { available: 4, ..Backends::default() };
        let mut summary = Summary { listeners: 2, sessions: 1, backends, ..Summary::default() };
        check(&summary, "1 session on 2 listeners; 4 backends available");
        summary.sessions = 0;
        check(&summary, "no sessions on 2 listeners; 4 backends available");
    }

    #[test]
    fn problems_are_named() {
        let backends = Backends {
            available: 1,
            quarantined: 2,
            down: 0,
            ejected: 0,
            unresolved: 3,
            draining: 4,
            disabled: 5,
        };
        let mut summary = Summary { listeners: 1, sessions: 20, backends, ..Summary::default() };
        let counts = "1 backend available, 2 quarantined, 3 unresolved, 4 draining, 5 disabled";
        check(&summary, &format!("20 sessions on 1 listener; {counts}"));
        summary.dead_pools = vec!["db".to_owned()];
        let dead = "No backend available in pool db; 20 sessions on 1 listener";
        check(&summary, &format!("{dead}; {counts}"));
        summary.dead_pools.push("mail".to_owned());
        let dead = "No backend available in pool db and 1 more; 20 sessions on 1 listener";
        check(&summary, &format!("{dead}; {counts}"));
    }

    #[test]
    fn a_shutdown_counts_what_is_left() {
        let summary = Summary { sessions: 3, is_shutting_down: true, ..Summary::default() };
        check(&summary, "Shutting down; 3 sessions left");
        let summary = Summary { sessions: 1, drain_seconds: Some(90), ..Summary::default() };
        check(&summary, "Draining, for 90 s at most; 1 session left");
    }

    #[test]
    fn a_backend_that_an_operator_has_taken_out_counts_as_that() {
        let mut backends = Backends::default();
        backends.add(AdminState::Disabled, Health::Quarantined);
        backends.add(AdminState::Draining, Health::Healthy);
        backends.add(AdminState::Enabled, Health::Probation);
        let expected = Backends { available: 1, draining: 1, disabled: 1, ..Backends::default() };
        assert_eq!(backends, expected);
    }
}
