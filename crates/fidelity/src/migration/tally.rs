//! What happened in one scenario, counted by all of its threads.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::Check;

/// Counts while a scenario runs.
#[derive(Debug, Default)]
pub struct Tally {
    sessions: AtomicU64,
    orders: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    /// Counts a client's session, which must have gone well.
    pub fn session(&self, result: Check) {
        self.sessions.fetch_add(1, Relaxed);
        self.note(result);
    }

    /// Counts an operator's order, which must have had its effect.
    pub fn order(&self, result: Check) {
        self.orders.fetch_add(1, Relaxed);
        self.note(result);
    }

    fn note(&self, result: Check) {
        let Err(failure) = result else { return };
        self.failed.fetch_add(1, Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < SHOWN {
            failures.push(failure.to_string());
        }
    }

    /// Sums up.
    pub fn summary(self, name: &'static str, notes: String) -> Summary {
        Summary {
            name,
            sessions: self.sessions.into_inner(),
            orders: self.orders.into_inner(),
            failed: self.failed.into_inner(),
            failures: self.failures.into_inner().unwrap_or_else(PoisonError::into_inner),
            notes,
        }
    }
}

/// How one scenario ended.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its name.
    pub name: &'static str,
    /// Sessions of clients.
    pub sessions: u64,
    /// What operators did.
    pub orders: u64,
    /// How many of both went wrong.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<String>,
    /// What else it counted.
    pub notes: String,
}

impl Summary {
    /// One that could not be played.
    pub fn broken(name: &'static str, why: &str) -> Self {
        let failures = vec![why.to_owned()];
        Self { name, sessions: 0, orders: 0, failed: 1, failures, notes: "not played".to_owned() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failed == 0 { "ok" } else { "FAIL" };
        let Self { name, sessions, orders, failed, notes, .. } = self;
        write!(f, "{verdict:4} {name}: {sessions} sessions, {orders} orders, {failed} failed")?;
        write!(f, "; {notes}")?;
        for failure in &self.failures {
            write!(f, "\n     {failure}")?;
        }
        Ok(())
    }
}

/// How many failures are kept in words.
const SHOWN: usize = 12;
