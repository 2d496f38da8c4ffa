//! The backend with the fewest open sessions; equals take turns.

use super::{Choice, View};

/// Looks at every backend of the tier, so the cost is linear in their number.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    // Few backends have an access list: the lists are read only after a backend refused.
    let mut is_refused = false;
    loop {
        let turn = view.tier.cursor.turn() % len;
        let fewest = (0..len)
            .map(|step| (turn + step) % len)
            .filter(|&index| view.is_offered(index))
            .filter(|&index| view.tier.backends[index].state.is_usable(view.is_remembered(index)))
            .filter(|&index| !is_refused || view.is_permitted(index))
            .min_by_key(|&index| view.tier.backends[index].state.sessions())?;
        if !view.is_permitted(fewest) {
            is_refused = true;
        } else if let Some(choice) = view.take(fewest) {
            view.tier.cursor.set((fewest + 1) % len);
            return Some(choice);
        }
        // Between looking and taking, another worker may have filled it: look again.
    }
}
