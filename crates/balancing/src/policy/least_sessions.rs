//! The backend with the fewest open sessions; equals take turns.

use super::{Choice, View, two};

/// Looks at every backend of the tier, so the cost is linear in their number. Beyond this many
/// backends, two random ones are compared instead.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    if view.len() > MOST {
        return two::choose(view, two::has_more_sessions);
    }
    if view.tier.has_parts() {
        return view.take_best(|index| Some(view.load(index).to_bits()));
    }
    view.take_best(|index| Some(view.tier.backends[index].state.sessions()))
}

const MOST: usize = 1024;
