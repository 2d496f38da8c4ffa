//! Every order in which workers can step what they share about backends, played by loom.
//!
//! `cargo xtask loom` runs these tests; nothing else compiles them.

use crate::backend::{Backend, BackendChange, BackendState, Lease};
use crate::{AdminState, Attempt, Client, Health, HealthLimits, Outcome, Pool, Tier};
use loom::thread;
use std::sync::Arc;
// For what the tests count, which is no step of the workers.
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use terms::{Instant, Limit};

fn backend(limit: Limit) -> Arc<Backend> {
    let state = Arc::new(BackendState::new(1, AdminState::Enabled, limit));
    Arc::new(Backend::new("b", vec![], state))
}

/// Runs `step` on each of several workers, and returns their results.
fn on_workers<T: 'static>(count: usize, step: impl Fn() -> T + Send + Sync + 'static) -> Vec<T> {
    let step = Arc::new(step);
    let workers: Vec<_> = (0..count)
        .map(|_| {
            let step = Arc::clone(&step);
            thread::spawn(move || step())
        })
        .collect();
    workers.into_iter().map(|worker| worker.join().unwrap()).collect()
}

#[test]
fn a_limit_is_never_exceeded_and_every_place_comes_back() {
    loom::model(|| {
        let backend = backend(Limit::AtMost(1));
        let (shared, holders) = (Arc::clone(&backend), AtomicU32::new(0));
        on_workers(2, move || {
            for _ in 0..2 {
                if let Some(lease) = Lease::take(&shared, false) {
                    assert_eq!(holders.fetch_add(1, SeqCst), 0, "two places of one");
                    thread::yield_now();
                    holders.fetch_sub(1, SeqCst);
                    drop(lease);
                }
            }
        });
        assert_eq!(backend.state.sessions(), 0, "a place was lost");
        assert!(Lease::take(&backend, false).is_some());
    });
}

#[test]
fn as_many_places_are_given_as_there_are() {
    loom::model(|| {
        let backend = backend(Limit::AtMost(2));
        let shared = Arc::clone(&backend);
        let leases = on_workers(3, move || Lease::take(&shared, false));
        assert_eq!(leases.iter().flatten().count(), 2);
        assert_eq!(backend.state.sessions(), 2);
        drop(leases);
        assert_eq!(backend.state.sessions(), 0, "a place was lost");
    });
}

#[test]
fn round_robin_serves_each_backend_in_its_turn() {
    loom::model(|| {
        let backends = (0..3).map(|_| backend(Limit::None)).collect();
        let tier = Tier { backends, ..Tier::default() };
        let pool = Arc::new(Pool { tiers: vec![tier], ..Pool::default() });
        let shared = Arc::clone(&pool);
        let leases = on_workers(3, move || {
            let mut attempt = Attempt::new(Client::default(), 0);
            shared.next_backend(&mut attempt, Instant::ZERO)
        });
        assert!(leases.iter().all(Option::is_some));
        let counts: Vec<_> = pool.backends().map(|(_, _, it)| it.state.sessions()).collect();
        assert_eq!(counts, [1, 1, 1]);
    });
}

fn fail(state: &BackendState, limits: &HealthLimits, auto_disable: bool) -> Option<BackendChange> {
    state.observe(Outcome::Failure, limits, auto_disable, Instant::from_millis(1000))
}

#[test]
fn no_failure_is_forgotten_and_one_worker_reports_the_quarantine() {
    loom::model(|| {
        let backend = backend(Limit::None);
        let limits = HealthLimits { fall: 2, ..HealthLimits::default() };
        let shared = Arc::clone(&backend);
        let changes = on_workers(2, move || fail(&shared.state, &limits, false));
        assert!(matches!(backend.state.health(), Health::Quarantined { .. }));
        let reported: Vec<_> = changes.into_iter().flatten().collect();
        assert_eq!(reported, [BackendChange::Quarantined]);
    });
}

#[test]
fn one_worker_reports_that_a_backend_was_disabled() {
    loom::model(|| {
        let backend = backend(Limit::None);
        let shared = Arc::clone(&backend);
        let limits = HealthLimits::default();
        let changes = on_workers(2, move || fail(&shared.state, &limits, true));
        assert_eq!(backend.state.admin(), AdminState::Disabled);
        let disabled = Some(BackendChange::AutoDisabled);
        assert_eq!(changes.iter().filter(|change| **change == disabled).count(), 1);
    });
}

#[test]
fn an_operator_and_a_failure_do_not_undo_each_other() {
    for admin in [AdminState::Disabled, AdminState::Draining] {
        loom::model(move || {
            let backend = backend(Limit::None);
            let shared = Arc::clone(&backend);
            let worker =
                thread::spawn(move || fail(&shared.state, &HealthLimits::default(), false));
            assert!(backend.state.set_admin(admin));
            worker.join().unwrap();
            assert_eq!(backend.state.admin(), admin);
            assert!(matches!(backend.state.health(), Health::Quarantined { .. }));
        });
    }
}
