//! A random backend, all with the same probability.

use super::{Choice, View};
use crate::hash::mix;

/// Draws a few times. If most backends are unavailable, takes the next one after the last draw.
pub(super) fn choose(view: &View<'_>) -> Option<Choice> {
    let len = view.len() as u64;
    let draw = |nth: u64| {
        let salt = nth + 1 + view.attempt.tried_count() as u64 * (DRAWS + 1);
        // The remainder's bias is below len / 2^64.
        (mix(view.attempt.seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % len) as usize
    };
    (0..DRAWS).find_map(|nth| view.take(draw(nth))).or_else(|| view.take_in_circle(draw(DRAWS)))
}

const DRAWS: u64 = 8;
