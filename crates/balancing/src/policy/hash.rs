//! The client's address selects the backend. Source: balance(1), `%`.

use super::{Choice, View};

/// Takes the backend at `hash mod n`, or, if the failover scope allows, the next one in the circle.
///
/// Backends out of service count in `n`, so that disabling one never moves other clients.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    let home = view.attempt.client_hash() as usize % len;
    let choice = if view.may_stand_in() { view.take_in_circle(home) } else { view.take(home) };
    match &choice {
        // The turn moves here, too, which shows when the policy is changed to round robin.
        Some(choice) => view.tier.cursor.set((choice.index + 1) % len),
        None => view.tier.cursor.restart(),
    }
    choice
}
