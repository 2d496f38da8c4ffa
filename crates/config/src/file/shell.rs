//! Splits a command line as a shell does: into words, of which quotes and backslashes are removed.
//! There are no variables, patterns or other expansions.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// A word and the range of the text that it was written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) range: Range<usize>,
}

/// A quote or backslash without its partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Where it is; it takes one byte.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) message: &'static str,
}

/// The words of a text. A `#` is part of a word.
pub(super) fn split(text: &str) -> Result<Vec<Word>, Unfinished> {
    let mut words = Vec::new();
    let mut letters = text.char_indices().peekable();
    loop {
        while letters.next_if(|(_, letter)| letter.is_whitespace()).is_some() {}
        let Some((start, _)) = letters.peek().copied() else { return Ok(words) };
        let word = word(&mut letters)?;
        let end = letters.peek().map_or(text.len(), |(at, _)| *at);
        words.push(Word { text: word, range: start..end });
    }
}

fn word(letters: &mut Peekable<CharIndices<'_>>) -> Result<String, Unfinished> {
    let mut word = String::new();
    while let Some((at, letter)) = letters.next_if(|(_, letter)| !letter.is_whitespace()) {
        match letter {
            '\'' | '"' => quoted(letters, at, letter, &mut word)?,
            '\\' => word.push(escaped(letters, at)?),
            letter => word.push(letter),
        }
    }
    Ok(word)
}

/// Takes what is left of a quotation that began with this quote. Only within double quotes is a
/// backslash special, and only before what would be.
fn quoted(
    letters: &mut Peekable<CharIndices<'_>>,
    at: usize,
    quote: char,
    word: &mut String,
) -> Result<(), Unfinished> {
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Ok(()),
            '\\' if quote == '"' => match letters.next_if(|(_, next)| "\\\"$`".contains(*next)) {
                Some((_, letter)) => word.push(letter),
                None if letters.peek().is_none() => return Err(Unfinished { at, message: LONE }),
                None => word.push('\\'),
            },
            letter => word.push(letter),
        }
    }
    Err(Unfinished { at, message: "a quote without its partner" })
}

fn escaped(letters: &mut Peekable<CharIndices<'_>>, at: usize) -> Result<char, Unfinished> {
    let next = letters.next().ok_or(Unfinished { at, message: LONE })?;
    Ok(next.1)
}

const LONE: &str = "a backslash without a character after it";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let words = split(text).unwrap();
        let seen: Vec<_> =
            words.iter().map(|word| (&*word.text, &text[word.range.clone()])).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn words_are_those_of_a_shell() {
        check("", &[]);
        check("  ", &[]);
        check("80 a ! b", &[("80", "80"), ("a", "a"), ("!", "!"), ("b", "b")]);
        check(" 80\n\ta ", &[("80", "80"), ("a", "a")]);
        check("'[::1]:80' a", &[("[::1]:80", "'[::1]:80'"), ("a", "a")]);
        check(r#"un'ix':"/a b" c"#, &[("unix:/a b", r#"un'ix':"/a b""#), ("c", "c")]);
        check(r"a\ b 'c\'", &[("a b", r"a\ b"), (r"c\", r"'c\'")]);
        check(r#""a\"b\c""#, &[(r#"a"b\c"#, r#""a\"b\c""#)]);
        check("'' #", &[("", "''"), ("#", "#")]);
    }

    #[test]
    fn what_is_not_finished_is_pointed_at() {
        let at = |text: &str| split(text).map_err(|it| it.at);
        assert_eq!(at("a 'b"), Err(2));
        assert_eq!(at("a b\"c"), Err(3));
        assert_eq!(at(r"a b\"), Err(3));
        assert_eq!(at(r#"a "b\"#), Err(4));
    }
}
