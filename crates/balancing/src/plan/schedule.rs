//! The turns of backends with weights.

use std::collections::{BTreeMap, VecDeque};

/// The most turns, unless there are more backends than a quarter of that.
const TURNS_MAX: u64 = 4096;

/// In which order backends of these weights take turns: each as often as its weight divided by what
/// all weights have in common, and spread as evenly as that allows. Without a weight, never.
///
/// If that makes too many turns, they are scaled down by largest remainders, and each backend with a
/// weight keeps one at least.
pub(super) fn turns(weights: &[u32]) -> Vec<u32> {
    let common = weights.iter().fold(0, |common, &weight| divisor(common, weight)).max(1);
    let counts: Vec<u64> = weights.iter().map(|weight| u64::from(weight / common)).collect();
    let most = TURNS_MAX.max(4 * counts.len() as u64);
    smooth(&if counts.iter().sum::<u64>() > most { scaled(&counts, most) } else { counts })
}

/// The smooth rule: in each turn, everybody gains as much as it has turns; the first of those who
/// have most takes the turn and pays for all.
///
/// Backends with equally many turns take theirs one after the other, so only one of them has to be
/// looked at, and there are few different numbers: their sum is limited.
fn smooth(counts: &[u64]) -> Vec<u32> {
    let all = counts.iter().sum::<u64>();
    let mut classes: BTreeMap<u64, VecDeque<(u64, u32)>> = BTreeMap::new();
    for (&count, place) in counts.iter().zip(0..).filter(|(count, _)| **count > 0) {
        classes.entry(count).or_default().push_back((0, place));
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    let credit = |count: u64, taken: u64, turn: u64| {
        (i128::from(count) * i128::from(turn)) - i128::from(taken) * i128::from(all)
    };
    (1..=all)
        .filter_map(|turn| {
            let next = classes.iter_mut().max_by_key(|(count, queue)| {
                let (taken, place) = queue.front().copied().unwrap_or((u64::MAX, 0));
                (credit(*count, taken, turn), std::cmp::Reverse(place))
            });
            let (_, queue) = next?;
            let (taken, place) = queue.pop_front()?;
            queue.push_back((taken + 1, place));
            Some(place)
        })
        .collect()
}

/// Numbers in the same proportion whose sum is about `most`.
fn scaled(counts: &[u64], most: u64) -> Vec<u64> {
    let all = u128::from(counts.iter().sum::<u64>());
    let exact = |count: u64| u128::from(count) * u128::from(most);
    let mut scaled: Vec<u64> =
        counts.iter().map(|&it| ((exact(it) / all) as u64).max(u64::from(it > 0))).collect();
    let left = most.saturating_sub(scaled.iter().sum());
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(exact(counts[place]) % all));
    order.iter().take(left as usize).for_each(|&place| scaled[place] += 1);
    scaled
}

/// The greatest common divisor.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weights: &[u32], expected: &str) {
        let turns = turns(weights);
        let letters = turns.iter().map(|&place| char::from(b'a' + place as u8));
        assert_eq!(letters.collect::<String>(), expected);
    }

    #[test]
    fn turns_are_spread_evenly() {
        check(&[1, 1, 1], "abc");
        check(&[5, 1, 1], "aabacaa");
        check(&[10, 2, 2], "aabacaa");
        check(&[4, 3], "abababa");
        check(&[0, 7, 0], "b");
        check(&[0, 0], "");
        check(&[], "");
    }

    /// The smooth rule, written down as it is defined.
    fn by_definition(weights: &[u64]) -> Vec<u32> {
        let all = weights.iter().sum::<u64>() as i64;
        let mut credits = vec![0i64; weights.len()];
        let turn = |_| {
            credits.iter_mut().zip(weights).for_each(|(it, weight)| *it += *weight as i64);
            let most = *credits.iter().max().unwrap();
            let place = credits.iter().position(|it| *it == most).unwrap();
            credits[place] -= all;
            place as u32
        };
        (0..all).map(turn).collect()
    }

    #[test]
    fn classes_of_equal_weights_change_nothing() {
        let mut random = 1u64;
        for _ in 0..500 {
            random = crate::hash::mix(random.wrapping_add(0x9e37_79b9));
            let count = 1 + random % 9;
            let weights: Vec<u64> = (0..count).map(|it| random >> (it * 5 + 8) & 7).collect();
            assert_eq!(smooth(&weights), by_definition(&weights), "{weights:?}");
        }
    }

    #[test]
    fn large_weights_keep_their_proportions() {
        let weights = [1_000_003, 2_000_003, 1, 0];
        let turns = turns(&weights);
        assert_eq!(turns.len() as u64, TURNS_MAX);
        let count = |place| turns.iter().filter(|it| **it == place).count();
        assert_eq!([0, 1, 2, 3].map(count), [1365, 2730, 1, 0]);
    }

    #[test]
    fn many_backends_have_a_turn_each() {
        let weights: Vec<u32> = (0..10_000).map(|it| 1 + it * it).collect();
        let turns = turns(&weights);
        assert!(turns.len() <= 50_000);
        let mut seen = vec![false; weights.len()];
        turns.iter().for_each(|&place| seen[place as usize] = true);
        assert!(seen.iter().all(|it| *it));
    }
}
