//! The backend with the lowest priority number. Source: penctl(1), `prio`.

use super::{Choice, View};

/// Takes the first among equals. If it cannot take the session, takes the next one in the circle.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    if let Some(last) = view.attempt.last_index() {
        return view.take_in_circle((last + 1) % len);
    }
    let in_service = (0..len).filter(|&index| view.is_in_service(index));
    let best = in_service.min_by_key(|&index| view.tier.backends[index].priority)?;
    view.take_from(best)
}
