//! When silence ends a session.

use relay::{Link, Ready};
use std::time::Duration;
use terms::{CloseReason, Instant, SpliceMode, Timeouts};

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
