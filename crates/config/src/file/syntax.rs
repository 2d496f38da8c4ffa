//! Reads TOML, with all that is wrong in it at once.
//!
//! The parser goes on after an error by itself, except where a bracket or a quote is not closed:
//! it takes all that follows for a part of it. Such a value is taken out, up to the next line that
//! looks like a key or a header, and the rest is read again.

use super::Code;
use super::excerpt::quoted;
use super::lines::Lines;
use super::report::{At, Fault, Reports};
use super::tree::{Entry, entries};
use std::cmp::Reverse;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// The entries of the source with this number, as far as they could be read.
pub(super) fn parse(number: usize, reports: &mut Reports<'_>) -> Vec<Entry> {
    let mut text = reports.source(number).to_owned();
    let mut broken = Vec::new();
    let mut faults = Vec::new();
    let mut round = 0;
    loop {
        let (tree, errors) = DeTable::parse_recoverable(&text);
        let open = unclosed(tree.get_ref(), &errors, &text).filter(|_| round < ROUNDS_MAX);
        let Some(open) = open else {
            report(&errors, &text, number, broken, faults, reports);
            return entries(tree.get_ref(), &text, number);
        };
        faults.push(open.fault(number));
        let end = next_statement(&text, open.start);
        let line = text.get(..open.start).and_then(|it| it.rfind('\n')).map_or(0, |at| at + 1);
        broken.push(line..end.saturating_sub(1));
        text = without(&text, open.start..end);
        round += 1;
    }
}

/// Reports the errors of the parser, the first of each line, after those that were found before.
fn report(
    errors: &[Error],
    text: &str,
    source: usize,
    mut broken: Vec<Range<usize>>,
    mut faults: Vec<Fault>,
    reports: &mut Reports<'_>,
) {
    let lines = Lines::new(text);
    let mut errors: Vec<_> = errors.iter().map(|error| (clamp(error, text), error)).collect();
    errors.sort_by_key(|(bytes, _)| bytes.start);
    let mut last = None;
    for (bytes, error) in errors {
        let line = lines.line(bytes.start);
        if last.replace(line.start) == Some(line.start) {
            continue;
        }
        let fault = fault(error, At::new(source, bytes), text);
        if fault.code == Code::Syntax {
            broken.push(affected(text, line));
        }
        faults.push(fault);
    }
    faults.into_iter().for_each(|fault| reports.add(fault));
    reports.set_broken(source, broken);
}

/// The lines that an error makes unreadable: its own and, if that is a header, all lines up to the
/// next header, because it is unclear which table they belong to.
fn affected(text: &str, line: Range<usize>) -> Range<usize> {
    let is_header = text.get(line.clone()).is_some_and(|it| it.trim_start().starts_with('['));
    if !is_header {
        return line;
    }
    let rest = text.get(line.end..).unwrap_or_default();
    let next = rest.find("\n[").unwrap_or(rest.len());
    line.start..line.end + next
}

/// Where an error is. Some have no place: those are about the file.
fn clamp(error: &Error, text: &str) -> Range<usize> {
    let bytes = error.span().unwrap_or(0..0);
    let start = text.floor_char_boundary(bytes.start);
    start..text.ceil_char_boundary(bytes.end).max(start)
}

/// A value that is not closed.
struct Unclosed {
    start: usize,
    width: usize,
}

impl Unclosed {
    fn fault(&self, source: usize) -> Fault {
        let at = At::new(source, self.start..self.start + self.width);
        let what = if self.width == 3 { "string" } else { "bracket" };
        Fault::new(Code::Syntax, &at, format!("this {what} is never closed"))
            .help("close it before the next key")
    }
}

/// The value that goes on to the end of the text because it is not closed: the one that ends last,
/// and the outermost of those.
fn unclosed(tree: &DeTable<'_>, errors: &[Error], text: &str) -> Option<Unclosed> {
    let is_open = |error: &Error| UNCLOSED.iter().any(|it| error.message().starts_with(it));
    errors.iter().rev().take(DEPTH_MAX).find(|error| is_open(error))?;
    let mut last: Option<Range<usize>> = None;
    each_value(tree, &mut |value| {
        let span = value.span();
        let rest = text.get(span.start..).unwrap_or_default();
        let is_value = rest.starts_with(['[', '{', '"', '\'']) && !is_header(text, span.start);
        let rank = |it: &Range<usize>| (it.end, Reverse(it.start));
        if is_value && last.as_ref().is_none_or(|last| rank(&span) > rank(last)) {
            last = Some(span);
        }
    });
    let start = last?.start;
    let rest = text.get(start..).unwrap_or_default();
    let is_long = rest.starts_with("\"\"\"") || rest.starts_with("'''");
    Some(Unclosed { start, width: if is_long { 3 } else { 1 } })
}

fn each_value<'t>(table: &'t DeTable<'_>, visit: &mut impl FnMut(&'t Spanned<DeValue<'_>>)) {
    for value in table.values() {
        visit(value);
        match value.get_ref() {
            DeValue::Table(inner) => each_value(inner, visit),
            DeValue::Array(list) => {
                for item in list {
                    if let DeValue::Table(inner) = item.get_ref() {
                        each_value(inner, visit);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a bracket is the first character of its line, as in a header.
fn is_header(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.trim().is_empty() && text.get(at..).is_some_and(|it| it.starts_with('['))
}

/// The beginning of the first line after `from` that looks like a header or a key, or the end.
fn next_statement(text: &str, from: usize) -> usize {
    let mut at =
        from + text.get(from..).and_then(|it| it.find('\n')).map_or(text.len(), |it| it + 1);
    while let Some(line) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = line.find('\n').map_or(line.len(), |it| it + 1);
        if is_statement(line.get(..length).unwrap_or_default()) {
            return at;
        }
        at += length;
    }
    text.len()
}

/// Whether a line begins with `key =`, `[name]` or `[[name]]`.
fn is_statement(line: &str) -> bool {
    let plain = |it: &str| {
        !it.is_empty() && it.chars().all(|it| it.is_ascii_alphanumeric() || "-_. \t\"".contains(it))
    };
    let line = line.trim();
    if let Some(header) = line.strip_prefix('[') {
        let header = header.split('#').next().unwrap_or_default().trim_end();
        let inside = header.trim_start_matches('[').trim_end_matches(']');
        return header.ends_with(']') && plain(inside) && !inside.starts_with('"');
    }
    line.split_once('=').is_some_and(|(key, _)| plain(key))
}

/// The text with a zero and blanks in place of a piece, so that all other places stay the same.
fn without(text: &str, piece: Range<usize>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let first = piece.start;
    for (at, byte) in bytes.iter_mut().enumerate().take(piece.end).skip(first) {
        *byte = match *byte {
            _ if at == first => b'0',
            b'\n' => b'\n',
            _ => b' ',
        };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// The report of an error of the parser, in words for those who do not know its grammar.
fn fault(error: &Error, at: At, text: &str) -> Fault {
    let piece = text.get(at.bytes.clone()).unwrap_or_default();
    let (message, expected) = match error.message().split_once(", expected ") {
        Some((message, expected)) => (message, Some(expected)),
        None => (error.message(), None),
    };
    let fault = |message: &str| Fault::new(Code::Syntax, &at, message);
    match message {
        "duplicate key" => {
            let message = format!("{} is set twice", quoted(piece.trim()));
            Fault::new(Code::Twice, &at, message).help("remove or rename one of the two")
        }
        "string values must be quoted" if piece.is_empty() => {
            fault("a key without a value").help("write a value after `=`")
        }
        "string values must be quoted" => {
            let cure = format!("\"{}\"", piece.trim().replace(['\\', '"'], ""));
            fault("a string without quotes").help(format!("write {}", quoted(&cure))).replace(cure)
        }
        "invalid boolean" => {
            let cure = expected.unwrap_or_default().trim_matches('`');
            fault("not a boolean").help(format!("write `{cure}`")).replace(cure)
        }
        "key with no value" => {
            fault("a key without a value").help("write `=` and a value after it")
        }
        "invalid basic string" | "invalid literal string" => {
            fault("a string without its closing quote").help("close it on the same line")
        }
        _ => match expected {
            Some("nothing") | None => fault(message),
            Some(expected) => fault(message).help(format!("expected {expected}")),
        },
    }
}

/// How the parser's messages about unclosed values begin.
const UNCLOSED: [&str; 4] = [
    "unclosed array",
    "unclosed inline table",
    "invalid multi-line basic string",
    "invalid multi-line literal string",
];
/// The parser's maximum nesting depth. Each level can add an error after that of an unclosed value.
const DEPTH_MAX: usize = 100;
/// The maximum number of unclosed values taken out of a file. If there are more, the rest is used as
/// the parser understood it.
const ROUNDS_MAX: usize = 8;
