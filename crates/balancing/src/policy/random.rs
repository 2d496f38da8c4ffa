//! A random backend, all with the same probability.

use super::{Choice, View};

/// Draws a few times. If most backends are unavailable, takes the next one after the last draw.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len() as u64;
    // The remainder's bias is below len / 2^64.
    let draw = |nth| (view.draw(nth) % len) as usize;
    (0..DRAWS).find_map(|nth| view.take(draw(nth))).or_else(|| view.take_in_circle(draw(DRAWS)))
}

const DRAWS: u64 = 8;
