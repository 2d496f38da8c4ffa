//! What reports show of a file.

use super::lines::BYTE_ORDER_MARK;
use std::ops::Range;

/// The line of a report and where in it the text is, in characters. Long lines are cut, and
/// characters that would disturb a terminal are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: String,
    pub(super) marked: Range<usize>,
}

impl Excerpt {
    /// `line` and `bytes` are ranges of `text`; marked is what they have in common, at least one
    /// character.
    pub(super) fn new(text: &str, line: Range<usize>, bytes: Range<usize>) -> Self {
        let start = text.floor_char_boundary(bytes.start.clamp(line.start, line.end));
        let end = text.ceil_char_boundary(bytes.end.clamp(start, line.end));
        let piece = |range: Range<usize>| text.get(range).unwrap_or_default();
        let before = piece(line.start..start).trim_start_matches(BYTE_ORDER_MARK);
        let skip = before.chars().count().saturating_sub(BEFORE_MAX);
        let (sign, before) = match skip {
            0 => ("", before),
            _ => (CUT, before.char_indices().nth(skip + 1).map_or("", |(at, _)| &before[at..])),
        };
        let room = LINE_MAX - BEFORE_MAX.min(before.chars().count());
        let rest = piece(start..line.end);
        let (rest, more) = match rest.char_indices().nth(room) {
            Some((at, _)) => (rest.get(..at).unwrap_or_default(), CUT),
            None => (rest, ""),
        };
        let first = sign.chars().count() + before.chars().count();
        let length = piece(start..end).chars().take(room).count().max(1);
        let shown = format!("{before}{rest}");
        let line =
            format!("{sign}{}{more}", shown.trim_end().chars().map(visible).collect::<String>());
        Self { line, marked: first..first + length }
    }
}

/// A word of the file in backticks, cut if it is long.
pub(super) fn quoted(word: &str) -> String {
    match word.char_indices().nth(WORD_MAX) {
        Some((at, _)) => format!("`{}{CUT}`", clean(&word[..at])),
        None => format!("`{}`", clean(word)),
    }
}

/// The text without characters that control a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// A character, or what is shown instead of it: a blank for a tab, a replacement for controls and
/// for those that change the direction of writing.
fn visible(letter: char) -> char {
    match letter {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    }
}

/// Stands for what was cut off.
const CUT: &str = "…";
/// The number of characters shown of a line.
const LINE_MAX: usize = 120;
/// How many of them are before the marked text.
const BEFORE_MAX: usize = 60;
/// The number of characters shown of a word.
const WORD_MAX: usize = 60;
