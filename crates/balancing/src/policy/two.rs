//! The better of two random backends.

use super::{Choice, View};

/// Draws two different backends that can take the session, and takes the one with the lower cost.
/// If most backends are unavailable, takes the next one after another draw.
///
/// Backends without a weight are not drawn. Two are enough for loads that hardly differ
/// (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).
pub(super) fn choose(
    view: &View<'_>,
    is_worse: impl Fn(&View<'_>, usize, usize) -> bool,
) -> Option<Choice> {
    let len = view.len() as u64;
    let first = (0..DRAWS).map(|nth| (view.draw(nth) % len) as usize).find(|&it| view.is_able(it));
    let second = first.filter(|_| len > 1).and_then(|first| {
        // One of the others, all with the same probability.
        let others = (DRAWS..2 * DRAWS).map(|nth| (view.draw(nth) % (len - 1)) as usize);
        others.map(|it| it + usize::from(it >= first)).find(|&it| view.is_able(it))
    });
    let order = match (first, second) {
        (Some(first), Some(second)) if is_worse(view, first, second) => [Some(second), Some(first)],
        either => [either.0, either.1],
    };
    let drawn = order.into_iter().flatten().find_map(|index| view.take(index));
    drawn.or_else(|| {
        let start = (view.draw(2 * DRAWS) % len) as usize;
        view.circle(start).filter(|&index| view.weight(index) > 0).find_map(|it| view.take(it))
    })
}

/// How often to look for a backend that can take the session.
const DRAWS: u64 = 8;

/// Whether `first` has more sessions for its weight than `second`, one more included.
pub(super) fn has_more_sessions(view: &View<'_>, first: usize, second: usize) -> bool {
    view.load(first) > view.load(second)
}
