//! Sessions use the backends in turn, each as often as its weight says.

use super::{Choice, View};

/// Takes the backend whose turn it is. If that cannot take the session, those whose turns follow
/// stand in, and the turn does not move, so that the others keep theirs.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let turns = &view.tier.planned().table;
    if turns.is_empty() {
        return None; // no backend has a weight
    }
    let (len, cursor) = (turns.len(), &view.tier.cursor);
    let turn = match view.attempt.last_index() {
        None => cursor.take_turn(len),
        Some(_) => cursor.turn() % len,
    };
    if !view.may_stand_in() {
        return view.take(turns[turn] as usize);
    }
    (0..len).find_map(|step| view.take(turns[(turn + step) % len] as usize))
}
