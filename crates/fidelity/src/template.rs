//! From the command line template to the command: words, quotes and placeholders.
//!
//! Only what a word list needs: blanks separate words, `'...'` keeps everything, `"..."` and a
//! backslash keep one character each. No variables, globs or operators; `sh -c '...'` is there
//! for those who need them.

/// Ports of one run, which replace `{L}`, `{B1}` and `{B2}` in the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where the proxy shall listen, on 127.0.0.1.
    pub listener: u16,
    /// Where the backends are, on 127.0.0.1.
    pub backends: [u16; 2],
}

/// Splits `template` into words and puts `ports` in place of the placeholders.
///
/// Splitting comes first, so a placeholder can never change the number of words.
///
/// # Errors
/// A message for the user when a quote stays open or no word is left.
pub fn expand(template: &str, ports: Ports) -> Result<Vec<String>, String> {
    let words = split(template)?;
    if words.is_empty() {
        return Err("the proxy's command line is empty".to_owned());
    }
    Ok(words.into_iter().map(|word| substitute(&word, ports)).collect())
}

fn substitute(word: &str, ports: Ports) -> String {
    let [first, second] = ports.backends;
    word.replace("{L}", &ports.listener.to_string())
        .replace("{B1}", &first.to_string())
        .replace("{B2}", &second.to_string())
}

fn split(template: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    // `None` between words: an empty pair of quotes is a word, blanks are not.
    let mut word: Option<String> = None;
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => {
                let kept = chars.next().ok_or("a backslash ends the proxy's command line")?;
                word.get_or_insert_default().push(kept);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let open = || format!("a {quote} is not closed in the proxy's command line");
    loop {
        match chars.next().ok_or_else(open)? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => word.push(chars.next().ok_or_else(open)?),
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &[&str]) {
        let ports = Ports { listener: 80, backends: [8001, 8002] };
        assert_eq!(expand(template, ports).unwrap(), expected);
    }

    #[test]
    fn words_quotes_and_placeholders() {
        check("p {L} h:{B1} h:{B2}", &["p", "80", "h:8001", "h:8002"]);
        check("  p   a\t b ", &["p", "a", "b"]);
        check(r#"p 'a b' "c d" e\ f"#, &["p", "a b", "c d", "e f"]);
        check(r#"p '' x"y"'z' "a\"b" 'a\b'"#, &["p", "", "xyz", "a\"b", "a\\b"]);
        check("env L={L} p", &["env", "L=80", "p"]);
        check("p {L}{B1} {X}", &["p", "808001", "{X}"]);
    }

    #[test]
    fn what_cannot_be_a_command_is_an_error() {
        let ports = Ports { listener: 80, backends: [1, 2] };
        for template in ["", "   ", "p 'a", "p \"a", "p \\"] {
            assert!(expand(template, ports).is_err(), "{template:?}");
        }
    }
}
