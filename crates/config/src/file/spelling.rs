//! How a string of the file is spelled: its value, and where each piece of that is in the source.

use std::ops::Range;

/// The value of a string, after escapes and variables, with the way back to the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) value: String,
    /// In rising order, the first at zero.
    pieces: Vec<Piece>,
    /// The whole string in the source, with its quotes.
    bytes: Range<usize>,
}

/// A part of the value: up to the next piece.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// Its first byte in the value.
    at: usize,
    /// Where it comes from.
    from: Range<usize>,
    /// Whether it is in the source as it is in the value.
    is_verbatim: bool,
}

impl Spelled {
    /// `token` is the string in the source with its quotes, which is at `bytes`; `value` what the
    /// parser made of it.
    pub(super) fn new(value: &str, token: &str, bytes: Range<usize>) -> Self {
        let quotes = quotes(token);
        let inside = token.get(quotes..token.len().saturating_sub(quotes)).unwrap_or_default();
        let pieces = if inside == value {
            let start = bytes.start + quotes;
            vec![Piece { at: 0, from: start..start + inside.len(), is_verbatim: true }]
        } else {
            // Where an escape is wrong, the value is a guess, and all of it comes from all of that.
            escaped(value, inside, bytes.start + quotes)
                .unwrap_or_else(|| vec![Piece { at: 0, from: bytes.clone(), is_verbatim: false }])
        };
        Self { value: value.to_owned(), pieces, bytes }
    }

    /// A value that is not in the source as a string.
    pub(super) fn of(value: String, bytes: Range<usize>) -> Self {
        let piece = Piece { at: 0, from: bytes.clone(), is_verbatim: false };
        Self { value, pieces: vec![piece], bytes }
    }

    /// Replaces ranges of the value, in rising order, by other texts.
    pub(super) fn replace(&self, replacements: &[(Range<usize>, String)]) -> Self {
        let mut value = String::new();
        let mut pieces = Vec::new();
        let mut done = 0;
        for (range, text) in replacements {
            self.copy(done..range.start, &mut value, &mut pieces);
            let from = self.source(range.clone());
            pieces.push(Piece { at: value.len(), from, is_verbatim: false });
            value.push_str(text);
            done = range.end;
        }
        self.copy(done..self.value.len(), &mut value, &mut pieces);
        Self { value, pieces, bytes: self.bytes.clone() }
    }

    fn copy(&self, range: Range<usize>, value: &mut String, pieces: &mut Vec<Piece>) {
        let from = self.pieces.partition_point(|piece| piece.at <= range.start).saturating_sub(1);
        for (index, piece) in self.pieces.iter().enumerate().skip(from) {
            let end = self.pieces.get(index + 1).map_or(self.value.len(), |next| next.at);
            let (start, end) = (piece.at.max(range.start), end.min(range.end));
            if piece.at >= range.end {
                break;
            }
            if start < end {
                let from =
                    if piece.is_verbatim { self.source(start..end) } else { piece.from.clone() };
                pieces.push(Piece { at: value.len(), from, is_verbatim: piece.is_verbatim });
                value.push_str(self.value.get(start..end).unwrap_or_default());
            }
        }
    }

    /// The bytes of the source that a range of the value comes from, without quotes.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        let start = match self.piece(range.start) {
            Some(piece) if piece.is_verbatim => piece.from.start + (range.start - piece.at),
            Some(piece) => piece.from.start,
            None => self.bytes.start,
        };
        // The end belongs to the character before it.
        let end = match self.piece(range.end.max(range.start + 1) - 1) {
            Some(piece) if piece.is_verbatim => piece.from.start + (range.end - piece.at),
            Some(piece) => piece.from.end,
            None => self.bytes.end,
        };
        start..end.clamp(start, self.bytes.end.max(start))
    }

    /// The bytes of the source with the quotes.
    pub(super) fn bytes(&self) -> Range<usize> {
        self.bytes.clone()
    }

    fn piece(&self, at: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.at <= at);
        self.pieces.get(after.saturating_sub(1))
    }
}

/// The number of quotes at each end.
fn quotes(token: &str) -> usize {
    let is_long =
        |quote: &str| token.len() >= 6 && token.starts_with(quote) && token.ends_with(quote);
    match token {
        _ if is_long("\"\"\"") || is_long("'''") => 3,
        _ if token.len() >= 2 && token.starts_with(['"', '\'']) => 1,
        _ => 0,
    }
}

/// Finds the characters of `value` in `inside`, where some are escaped. `None` if they do not fit.
fn escaped(value: &str, inside: &str, start: usize) -> Option<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = inside;
    for (at, letter) in value.char_indices() {
        loop {
            let from = start + (inside.len() - rest.len());
            let next = rest.chars().next()?;
            if next == letter && next != '\\' {
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
                let goes_on = pieces.last().is_some_and(|last| {
                    last.is_verbatim && last.from.start + (at - last.at) == from
                });
                if !goes_on {
                    pieces.push(Piece { at, from: from..from, is_verbatim: true });
                }
                break;
            }
            let length = escape_length(rest);
            rest = rest.get(length..).unwrap_or_default();
            // A line end that is continued, or a carriage return, stands for nothing.
            if length > 1 && !is_continuation(inside, from - start) {
                pieces.push(Piece { at, from: from..from + length, is_verbatim: false });
                break;
            }
        }
    }
    Some(pieces)
}

/// The length of the escape, or else of the character, at the beginning of a text.
fn escape_length(text: &str) -> usize {
    let mut letters = text.chars();
    let first = letters.next().map_or(0, char::len_utf8);
    if !text.starts_with('\\') {
        return first;
    }
    let length = match letters.next() {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(' ' | '\t' | '\r' | '\n') => {
            let rest = text.get(1..).unwrap_or_default();
            return 1 + rest.len() - rest.trim_start().len();
        }
        other => 1 + other.map_or(0, char::len_utf8),
    };
    text.floor_char_boundary(length)
}

fn is_continuation(inside: &str, at: usize) -> bool {
    let after = inside.get(at + 1..).and_then(|rest| rest.chars().next());
    after.is_some_and(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(token: &str) -> Spelled {
        let text = format!("k = {token}\n");
        let (tree, errors) = toml::de::DeTable::parse_recoverable(&text);
        assert!(errors.is_empty(), "{errors:?}");
        let value = tree.get_ref().values().next().unwrap();
        Spelled::new(value.get_ref().as_str().unwrap(), token, 0..token.len())
    }

    /// Where a word of the value is in the token.
    #[track_caller]
    fn check(token: &str, word: &str, expected: &str) {
        let spelled = spelled(token);
        let at = spelled.value.find(word).unwrap();
        assert_eq!(&token[spelled.source(at..at + word.len())], expected, "{spelled:?}");
    }

    #[test]
    fn a_piece_of_a_value_is_found_in_the_source() {
        check("\"80 app1\"", "app1", "app1");
        check("'80 app1'", "80", "80");
        check("'80 app1'", "80 app1", "80 app1");
        check(r#""a\tbc d""#, "bc", "bc");
        check(r#""a\tbc d""#, "\tb", r"\tb");
        check(r#""a\u00e9 b c""#, "é", r"\u00e9");
        check(r#""a\u00e9 b c""#, "b", "b");
        check(r#""a\\\\b c""#, "b", "b");
        check("\"\"\"\n80 \\\n   app1 x\"\"\"", "app1", "app1");
        check("\"\"\"\n80\n app1 x\"\"\"", "app1", "app1");
        check("'''80 app1'''", "app1", "app1");
        check("\"é ü\"", "ü", "ü");
    }

    #[test]
    fn what_replaces_a_variable_comes_from_the_variable() {
        let token = "\"80 ${HOST}:81 b\"";
        let replaced = spelled(token).replace(&[(3..10, "app1.example".to_owned())]);
        assert_eq!(replaced.value, "80 app1.example:81 b");
        let find = |word: &str| {
            let at = replaced.value.find(word).unwrap();
            &token[replaced.source(at..at + word.len())]
        };
        assert_eq!(find("app1"), "${HOST}");
        assert_eq!(find("app1.example:81"), "${HOST}:81");
        assert_eq!(find("b"), "b");
    }
}
