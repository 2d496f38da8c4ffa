//! The backend with the fewest sessions for its weight; equals take turns.

use super::{Choice, View};

/// Takes the backend with the smallest number of sessions for its weight, the new one included.
/// Looks at every backend of the tier, so the cost is linear in their number.
///
/// Positive floating-point numbers are in the same order as their bits.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    view.take_best(|index| (view.weight(index) > 0).then(|| view.load(index).to_bits()))
}
