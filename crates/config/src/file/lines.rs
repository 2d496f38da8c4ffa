//! Positions in a text: from bytes to lines and columns.

use std::ops::Range;

/// Where a line begins, for each line of a text. Lines end with a line feed; a carriage return
/// before it belongs to the end.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// A place in a text, as editors count: both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column. A byte order mark has none.
    pub column: usize,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The position of a byte. One after the end stands after the last character, one within a
    /// character at its beginning.
    pub(super) fn position(&self, at: usize) -> Position {
        let at = self.text.floor_char_boundary(at);
        let line = self.index(at);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let before = self.text.get(start..at).unwrap_or_default();
        let before = if line == 0 { before.trim_start_matches(BYTE_ORDER_MARK) } else { before };
        Position { line: line + 1, column: before.chars().count() + 1 }
    }

    /// The bytes of the line with this byte, without its end.
    pub(super) fn line(&self, at: usize) -> Range<usize> {
        let line = self.index(at);
        let start = self.starts.get(line).copied().unwrap_or(0);
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        start..start + text.trim_end_matches(['\n', '\r']).len()
    }

    fn index(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }
}

pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, at: usize, line: usize, column: usize, shown: &str) {
        let lines = Lines::new(text);
        assert_eq!(lines.position(at), Position { line, column }, "{text:?} at {at}");
        assert_eq!(&text[lines.line(at)], shown, "{text:?} at {at}");
    }

    #[test]
    fn columns_are_characters_and_both_count_from_1() {
        check("", 0, 1, 1, "");
        check("ab\ncd", 1, 1, 2, "ab");
        check("ab\ncd", 2, 1, 3, "ab");
        check("ab\ncd", 3, 2, 1, "cd");
        check("ab\ncd", 5, 2, 3, "cd");
        check("ab\ncd", 99, 2, 3, "cd");
        check("ab\n", 3, 2, 1, "");
        check("é=é\nü", 3, 1, 3, "é=é");
        check("é=é\nü", 4, 1, 3, "é=é");
        check("é=é\nü", 6, 2, 1, "ü");
    }

    #[test]
    fn ends_of_lines_may_have_carriage_returns() {
        check("ab\r\ncd\r\n", 4, 2, 1, "cd");
        check("ab\r\ncd\r\n", 2, 1, 3, "ab");
        check("ab\rcd", 3, 1, 4, "ab\rcd");
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        check("\u{feff}ab", 3, 1, 1, "\u{feff}ab");
        check("\u{feff}ab", 4, 1, 2, "\u{feff}ab");
        check("\u{feff}a\nb", 5, 2, 1, "b");
    }
}
