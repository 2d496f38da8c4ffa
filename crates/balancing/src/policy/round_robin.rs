//! Sessions use the backends in turn. Source: balance(1).

use super::{Choice, View};

/// At first the turn decides, and moves on. After a failure the next backend in the circle is
/// taken, and the turn moves only when that one answers ([`crate::Pool::report`]).
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    if let Some(failed) = view.attempt.last_index() {
        return view.take_in_circle((failed + 1) % len);
    }
    let cursor = &view.tier.cursor;
    loop {
        let turn = cursor.turn();
        let Some(choice) = view.take_in_circle(turn % len) else {
            cursor.restart(); // balance starts again at its first channel after a full circle
            return None;
        };
        // Losing the race returns the place: the winner's session came first.
        if cursor.advance(turn, (choice.index + 1) % len) {
            return Some(choice);
        }
    }
}
