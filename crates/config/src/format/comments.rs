//! What stands between keys: comments and empty lines.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// The comments of a text, sorted, to see that none is lost.
pub(super) fn comments(text: &str) -> Vec<&str> {
    let tokens = Source::new(text).lex().filter(|token| token.kind() == TokenKind::Comment);
    let texts = tokens.filter_map(|token| text.get(token.span().start()..token.span().end()));
    let mut comments: Vec<_> = texts.map(str::trim_end).collect();
    comments.sort_unstable();
    comments
}

/// The lines above a key or a header: comments, and empty lines of which no two follow each other.
pub(super) struct Lead<'t>(Vec<&'t str>);

impl<'t> Lead<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let mut lines: Vec<&str> = text.split('\n').map(str::trim).collect();
        // After the last line end there is only the indentation of what follows.
        lines.pop_if(|last| last.is_empty());
        lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
        Self(lines)
    }

    /// The part above the last empty line, and the rest, which belongs to the key.
    pub(super) fn split(self) -> (String, String) {
        let lines = self.without_empty_start();
        let end = lines.iter().rposition(|line| line.is_empty()).map_or(0, |at| at + 1);
        let (head, rest) = lines.split_at(end);
        (joined(head), joined(rest))
    }

    /// Above the first key of a table.
    pub(super) fn first(self) -> String {
        joined(&self.without_empty_start())
    }

    /// Above any other key.
    pub(super) fn between(self) -> String {
        joined(&self.0)
    }

    /// Above a header, which an empty line separates from what is before it. Comments that the
    /// author put below the last key stay there.
    pub(super) fn above_a_header(self) -> String {
        let is_above_all = !self.0.iter().any(|line| line.is_empty());
        let separator = if is_above_all { "\n" } else { "" };
        format!("{separator}{}", joined(&self.0))
    }

    /// At the end of the file.
    pub(super) fn at_the_end(mut self) -> String {
        self.0.pop_if(|last| last.is_empty());
        joined(&self.0)
    }

    fn without_empty_start(self) -> Vec<&'t str> {
        self.0.into_iter().skip_while(|line| line.is_empty()).collect()
    }
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The comments between two items of a list, of which the first may stand on the line of the item
/// before it, and the indentation of what follows.
pub(super) fn between_items(text: &str, indent: &str, is_first: bool, is_end: bool) -> String {
    let (same_line, further) = text.split_once('\n').unwrap_or((text, ""));
    let mut spaced = String::new();
    if !same_line.trim().is_empty() {
        spaced = format!(" {}", same_line.trim());
    }
    let lead = Lead::of(further);
    let mut lines = if is_first { lead.without_empty_start() } else { lead.0 };
    if is_end {
        lines.pop_if(|last| last.is_empty());
    }
    for line in lines {
        let indent = if line.is_empty() { "" } else { indent };
        spaced.push_str(&format!("\n{indent}{line}"));
    }
    spaced
}
