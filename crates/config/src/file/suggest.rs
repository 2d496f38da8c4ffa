//! Finds the word that was meant.

use std::cmp::Reverse;

/// The candidate that a word was most likely meant to be: the same but for case, underscores and
/// leading dashes; the same words in another order; or at most two edits away (a letter missing,
/// doubled, swapped or replaced), one for a word of up to three letters. Never the word itself.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let typed = plain(word);
    let near = candidates.into_iter().filter(|known| *known != word && known.len() <= WORD_MAX);
    let rated = near.filter_map(|known| rate(&typed, known).map(|rating| (rating, known)));
    rated.min_by_key(|(rating, _)| *rating).map(|(_, known)| known)
}

/// How well a candidate fits, the best first.
type Rating = (usize, Reverse<usize>, Reverse<usize>);

fn rate(typed: &str, known: &str) -> Option<Rating> {
    let wanted = plain(known);
    let edits = if wanted == typed {
        0
    } else if sorted(&wanted) == sorted(typed) {
        1
    } else {
        let shorter = typed.chars().count().min(wanted.chars().count());
        let most = if shorter <= 3 { 1 } else { 2 };
        // Words of very different length need no closer look.
        if typed.len().abs_diff(wanted.len()) > 4 * most {
            return None;
        }
        let edits = strsim::osa_distance(typed, &wanted);
        if edits > most {
            return None;
        }
        edits
    };
    // Among equals, the one that begins and ends like the word.
    let same = |(one, other): &(char, char)| one == other;
    let begin = typed.chars().zip(wanted.chars()).take_while(same).count();
    let end = typed.chars().rev().zip(wanted.chars().rev()).take_while(same).count();
    Some((edits, Reverse(begin), Reverse(end)))
}

/// As keys are written.
pub(super) fn plain(word: &str) -> String {
    word.trim_start_matches('-').to_lowercase().replace(['_', ' '], "-")
}

fn sorted(word: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = word.split('-').collect();
    parts.sort_unstable();
    parts
}

/// A longer word is no mistyped key or name.
const WORD_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 9] = [
        "policy",
        "cut",
        "to",
        "max-sessions",
        "max-connecting",
        "half-close-timeout",
        "backend-half-close-timeout",
        "failover",
        "hash-failover",
    ];

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, KNOWN), expected, "{word}");
    }

    #[test]
    fn a_mistyped_word_is_recognised() {
        check("polcy", Some("policy"));
        check("poliyc", Some("policy"));
        check("ppolicyy", Some("policy"));
        check("POLICY", Some("policy"));
        check("ct", Some("cut"));
        check("o", Some("to"));
        check("Max_Sessions", Some("max-sessions"));
        check("--max-sessions", Some("max-sessions"));
        check("maxsessions", Some("max-sessions"));
        check("sessions-max", Some("max-sessions"));
        check("timeout-half-close", Some("half-close-timeout"));
    }

    #[test]
    fn what_resembles_nothing_has_no_suggestion() {
        check("", None);
        check("probe", None);
        check("xyz", None);
        check("policy", None);
        check(&"policy".repeat(1000), None);
        check("ß", None);
    }
}
