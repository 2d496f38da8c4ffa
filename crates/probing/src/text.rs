//! How probes are written: words, of which the first may have an argument and the others are
//! `key=value`. A value in double quotes may have spaces and escapes.

use std::fmt::{self, Write};

/// A word: what stands before the first `:` or `=`, and what stands after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// Splits a text into words. The error says what is wrong.
pub(crate) fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|it| it.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(words);
        }
        let mut key = String::new();
        // Only the first word has an argument.
        let is_end = |it: char| it == '=' || it == ':' && words.is_empty();
        while let Some(it) = chars.next_if(|it| !is_end(*it) && !it.is_ascii_whitespace()) {
            key.push(it);
        }
        let value = match chars.next_if(|it| is_end(*it)) {
            Some(_) => Some(value(&mut chars)?),
            None => None,
        };
        words.push(Word { key, value });
    }
}

fn value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Vec<u8>, String> {
    let mut value = Vec::new();
    let is_quoted = chars.next_if_eq(&'"').is_some();
    loop {
        let next = match is_quoted {
            true => chars.next(),
            false => chars.next_if(|it| !it.is_ascii_whitespace()),
        };
        match next {
            None if is_quoted => return Err("a quoted value does not end".to_owned()),
            None => return Ok(value),
            Some('"') if is_quoted => {
                return match chars.peek() {
                    Some(it) if !it.is_ascii_whitespace() => {
                        Err("a quoted value needs a space after it".to_owned())
                    }
                    _ => Ok(value),
                };
            }
            Some('\\') if is_quoted => value.push(escaped(chars)?),
            Some(it) => value.extend(it.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

fn escaped(chars: &mut impl Iterator<Item = char>) -> Result<u8, String> {
    let it = chars.next();
    Ok(match it {
        Some('r') => b'\r',
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('"') => b'"',
        Some('\\') => b'\\',
        Some('x') => {
            let digits: String = chars.take(2).collect();
            let all_hex = digits.len() == 2 && digits.bytes().all(|it| it.is_ascii_hexdigit());
            let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| all_hex);
            byte.ok_or_else(|| "\\x needs two hexadecimal digits".to_owned())?
        }
        _ => return Err("a backslash is followed by r, n, t, x, \" or \\".to_owned()),
    })
}

/// A value as [`words`] reads it, in quotes where it needs them.
pub(crate) struct Value<'a>(pub &'a [u8]);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |it: &u8| it.is_ascii_graphic() && *it != b'"';
        if !self.0.is_empty() && self.0.iter().all(is_plain) {
            return self.0.iter().try_for_each(|it| f.write_char((*it).into()));
        }
        f.write_char('"')?;
        for byte in self.0 {
            match byte {
                b'\r' => f.write_str("\\r")?,
                b'\n' => f.write_str("\\n")?,
                b'\t' => f.write_str("\\t")?,
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                b' '..=b'~' => f.write_char((*byte).into())?,
                byte => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_char('"')
    }
}

/// What a server has answered, for people: in quotes, printable and short.
pub(crate) fn quoted(answer: &[u8]) -> String {
    format!("\"{}\"", shown(answer))
}

/// Likewise, without quotes.
pub(crate) fn shown(answer: &[u8]) -> String {
    let shown = &answer[..answer.len().min(SHOWN_MAX)];
    let dots = if shown.len() < answer.len() { "..." } else { "" };
    let text = String::from_utf8_lossy(shown);
    format!("{}{dots}", text.trim_end().escape_debug())
}

/// The maximum number of bytes of an answer that are shown.
const SHOWN_MAX: usize = 100;
