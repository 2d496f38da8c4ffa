//! Each in turn among those in service. Source: pen(1), round robin.

use super::{Choice, View};

/// The turn moves to the next backend in service; another one stands in where that is full or may
/// not take this client, and after a failure, and the turn stays.
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
