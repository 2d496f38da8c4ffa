//! When silence ends a session.

use relay::{Link, Ready};
use std::time::Duration;
use terms::{CloseReason, Instant, Side, SpliceMode, Timeouts};

#[test]
fn waiting_for_a_backend_is_not_silence() {
    let idle = Duration::from_secs(1);
    let timeouts = Timeouts {
        idle: Some(idle),
        half_close: None,
        backend_half_close: None,
        linger: idle,
        ..Timeouts::default()
    };
    let at = Instant::from_millis;
    let mut link = Link::new(Ready::default(), Ready::default(), SpliceMode::Auto, at(0));
    link.on_connected(at(3000)); // a black hole was tried first
    assert_eq!(link.expired(&timeouts, at(3999)), None);
    assert_eq!(link.expired(&timeouts, at(4000)), Some(CloseReason::IdleTimeout));
}

#[test]
fn a_victim_that_reads_is_waited_for() {
    let linger = Duration::from_secs(1);
    let timeouts = Timeouts { linger, ..Timeouts::default() };
    let at = Instant::from_millis;
    let mut link = Link::new(Ready::default(), Ready::default(), SpliceMode::Auto, at(0));
    link.on_read_lost(Side::Upstream);
    assert_eq!(link.victim(), Some(Side::Downstream));
    link.on_unacknowledged(1000, at(500)); // the first look: linger begins
    assert_eq!(link.expired(&timeouts, at(1499)), None);
    link.on_unacknowledged(400, at(1400));
    link.on_unacknowledged(400, at(2300));
    assert_eq!(link.expired(&timeouts, at(2399)), None);
    assert_eq!(link.expired(&timeouts, at(2400)), Some(CloseReason::BackendReset));
}
