//! What the classics' command lines have in common: option tables, getopt(3), lenient numbers.

use config::PrintForm;

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// Its letter.
    pub letter: char,
    /// What its value is called; `None` for one without.
    pub value: Option<&'static str>,
    /// The default as the usage text shows it.
    pub default: Option<&'static str>,
    /// What it does, in a few words.
    pub short: &'static str,
    /// What it does, in sentences.
    pub long: &'static str,
}

impl OptionRow {
    /// The option as it is typed: `-t SEC`.
    pub(crate) fn head(&self) -> String {
        match self.value {
            Some(value) => format!("-{} {value}", self.letter),
            None => format!("-{}", self.letter),
        }
    }
}

/// Removes `--print-config` from the words after `evenkeel balance` or `evenkeel pen`, if it is the
/// first of them, and returns how to print: `--print-config=toml` means a file.
///
/// The classics have no long options, so it is known nowhere else, and not to a link with a
/// classic's name.
pub fn take_print_config<S: AsRef<str>>(words: &mut &[S]) -> Option<PrintForm> {
    let (first, rest) = words.split_first()?;
    let form = match first.as_ref().strip_prefix("--print-config")? {
        "" => PrintForm::Line,
        form => config::print_form(form.strip_prefix('=')?)?,
    };
    *words = rest;
    Some(form)
}

pub(crate) const fn flag(letter: char, short: &'static str, long: &'static str) -> OptionRow {
    OptionRow { letter, value: None, default: None, short, long }
}

pub(crate) const fn value(
    letter: char,
    value: &'static str,
    default: Option<&'static str>,
    short: &'static str,
    long: &'static str,
) -> OptionRow {
    OptionRow { letter, value: Some(value), default, short, long }
}

/// One thing that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed<'a> {
    /// An option without a value.
    Flag(char),
    /// An option and its value.
    Value(char, &'a str),
    /// Anything else.
    Operand(&'a str),
}

/// Why an option means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GetoptError {
    /// No such option.
    InvalidOption(char),
    /// An option that needs a value is the last word.
    MissingValue(char),
}

/// Reads words as getopt(3) does: letters may be clustered, values attached, and options may
/// stand anywhere before `--`.
pub(crate) struct Getopt<'a, S> {
    table: &'a [OptionRow],
    words: std::slice::Iter<'a, S>,
    /// What is left of a word of clustered letters.
    cluster: &'a str,
    operands_only: bool,
}

impl<'a, S: AsRef<str>> Getopt<'a, S> {
    pub(crate) fn new(table: &'a [OptionRow], words: &'a [S]) -> Self {
        Self { table, words: words.iter(), cluster: "", operands_only: false }
    }

    fn letter(&mut self, letter: char) -> Result<Typed<'a>, GetoptError> {
        self.cluster = &self.cluster[letter.len_utf8()..];
        let known = self.table.iter().find(|option| option.letter == letter);
        if known.ok_or(GetoptError::InvalidOption(letter))?.value.is_none() {
            return Ok(Typed::Flag(letter));
        }
        let attached = Some(std::mem::take(&mut self.cluster)).filter(|rest| !rest.is_empty());
        let value = attached.or_else(|| self.words.next().map(AsRef::as_ref));
        value.map(|value| Typed::Value(letter, value)).ok_or(GetoptError::MissingValue(letter))
    }
}

impl<'a, S: AsRef<str>> Iterator for Getopt<'a, S> {
    type Item = Result<Typed<'a>, GetoptError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(letter) = self.cluster.chars().next() {
                return Some(self.letter(letter));
            }
            let word = self.words.next()?.as_ref();
            match word.strip_prefix('-') {
                _ if self.operands_only => return Some(Ok(Typed::Operand(word))),
                Some("-") => self.operands_only = true,
                Some(letters) if !letters.is_empty() => self.cluster = letters,
                _ => return Some(Ok(Typed::Operand(word))),
            }
        }
    }
}

/// The leading number of a text, as the originals read numbers: blanks, a sign, digits, and
/// whatever follows is ignored; saturating. `None` without a digit.
pub(crate) fn leading_number(text: &str) -> Option<i32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return None;
    }
    // Only a number too big for the type fails.
    let magnitude: i64 = digits[..end].parse().unwrap_or(i64::MAX);
    let number = if negative { -magnitude } else { magnitude };
    Some(i32::try_from(number).unwrap_or(if negative { i32::MIN } else { i32::MAX }))
}

/// An address in any classic form: IPv4 as inet_aton takes it, or IPv6.
pub(crate) fn address(text: &str) -> Option<std::net::IpAddr> {
    use std::net::{IpAddr, Ipv6Addr};
    let classic = config::operand::parse_classic_ipv4(text).map(IpAddr::V4);
    classic.or_else(|| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
}
