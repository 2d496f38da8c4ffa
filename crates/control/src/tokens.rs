//! The tokens with which clients of TCP say who they are.

use config::Role;
use std::hint::black_box;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use sys::bounded_files::read_secrets;

/// The tokens of a file.
#[derive(Debug)]
pub(crate) struct Tokens(Vec<Token>);

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub role: Role,
    /// Who has it, for the log.
    pub name: Arc<str>,
    text: String,
}

/// The number of characters that a token must have: of hexadecimal digits, these are 128 bits.
const LENGTH_MIN: usize = 32;
const LENGTH_MAX: usize = 512;
const FILE_BYTES_MAX: usize = 1 << 20;

impl Tokens {
    /// Reads a file, which nobody but its owner may be able to read or write.
    ///
    /// # Errors
    /// Also if the file has lines of another form, or none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = read_secrets(path, FILE_BYTES_MAX)?;
        let invalid = |why| io::Error::new(ErrorKind::InvalidData, why);
        let text = String::from_utf8(bytes).map_err(|_| invalid("not UTF-8".to_owned()))?;
        Self::parse(&text).map_err(invalid)
    }

    /// The tokens of a text. Messages never quote one.
    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Token> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |what: &str| format!("line {}: {what}", index + 1);
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let [role, name, token] = words.as_slice() else {
                return Err(at("a line is ROLE NAME TOKEN, with spaces between them"));
            };
            let role = Role::from_word(role)
                .ok_or_else(|| at("the first word is a role: view, operate or admin"))?;
            if !(LENGTH_MIN..=LENGTH_MAX).contains(&token.len()) || !token.is_ascii() {
                return Err(at(
                    "a token has 32 to 512 characters of ASCII; `openssl rand -hex 32` \
                               makes one",
                ));
            }
            if tokens.iter().any(|it| it.text == *token) {
                return Err(at("the token is there already"));
            }
            tokens.push(Token { role, name: (*name).into(), text: (*token).to_owned() });
        }
        match tokens.is_empty() {
            true => Err("it has no tokens; a line is ROLE NAME TOKEN".to_owned()),
            false => Ok(Self(tokens)),
        }
    }

    /// The token with this text. The time that this takes says nothing about those that there are,
    /// except their lengths.
    pub fn find(&self, text: &[u8]) -> Option<&Token> {
        let mut found = None;
        for token in &self.0 {
            if is_equal(token.text.as_bytes(), text) {
                found = Some(token);
            }
        }
        found
    }
}

/// Whether two texts are equal, in a time that depends only on their lengths.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |so_far, (a, b)| black_box(so_far | (a ^ b)));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "0123456789abcdef0123456789abcdee";

    #[test]
    fn tokens_are_found_by_all_of_their_text() {
        let tokens = Tokens::parse(&format!("# for cron\n\nview cron {A}\n operate joe  {B}\n"));
        let tokens = tokens.unwrap();
        let check = |text: &str, expected: Option<(Role, &str)>| {
            let found = tokens.find(text.as_bytes()).map(|it| (it.role, &*it.name));
            assert_eq!(found, expected, "{text}");
        };
        check(A, Some((Role::View, "cron")));
        check(B, Some((Role::Operate, "joe")));
        check("", None);
        check(&A[1..], None);
        check(&format!("{A}0"), None);
    }

    #[test]
    fn what_is_no_token_is_reported_without_quoting_it() {
        let check = |text: &str, expected: &str| {
            let error = Tokens::parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("0123"), "{text}: {error}");
        };
        check("", "no tokens");
        check(&format!("root x {A}"), "line 1: the first word is a role");
        check(&format!("view {A}"), "line 1: a line is ROLE NAME TOKEN");
        check("view x 0123456789", "line 1: a token has 32");
        check(&format!("view x {A}\nadmin y {A}"), "line 2: the token is there already");
    }
}
