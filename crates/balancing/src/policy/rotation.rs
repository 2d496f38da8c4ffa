//! Sessions use the backends in service in turn. Source: pen(1), round robin.

use super::{Choice, View};

/// The turn moves to the next backend in service. If that one is full, may not take this client, or
/// has failed, another one is taken, and the turn does not move.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    if let Some(last) = view.attempt.last_index() {
        return view.take_in_circle((last + 1) % len);
    }
    let cursor = &view.tier.cursor;
    loop {
        let turn = cursor.turn();
        let home = (1..=len).map(|step| (turn + step) % len).find(|&it| view.is_in_service(it))?;
        if cursor.advance(turn, home) {
            return view.take_from(home);
        }
    }
}
