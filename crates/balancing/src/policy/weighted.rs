//! The backend with the fewest sessions for its weight. Source: pen(1), `-W`.

use super::{Choice, View};

/// Takes the backend with the smallest `256 * sessions / weight` among backends in service that
/// have a weight, the first among equals. If there is none, no other backend replaces it.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len();
    if let Some(last) = view.attempt.last_index() {
        return view.take_in_circle((last + 1) % len);
    }
    let load = |index: &usize| {
        let backend = &view.tier.backends[*index];
        256 * u64::from(backend.state.sessions()) / u64::from(backend.weight)
    };
    let weighty = |index: &usize| view.tier.backends[*index].weight != 0;
    let in_service = (0..len).filter(|&index| view.is_in_service(index));
    let least = in_service.filter(weighty).min_by_key(load)?;
    view.take_from(least)
}
