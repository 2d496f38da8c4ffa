//! `${NAME}` and `${NAME:-default}` in strings.
//!
//! A literal `${` is written `$${`. Any other `$` stands for itself. Values are not looked at
//! again, so a variable cannot contain others.

use super::excerpt::quoted;
use super::report::{At, Fault};
use super::spelling::Spelled;
use super::{Code, Environment};
use std::ops::Range;

/// The string with its variables replaced.
///
/// # Errors
/// All variables that are unknown or written wrongly.
pub(super) fn expand(
    string: Spelled,
    source: usize,
    environment: Environment<'_>,
) -> Result<Spelled, Vec<Fault>> {
    if !string.value.contains("${") {
        return Ok(string);
    }
    let mut replacements = Vec::new();
    let mut faults = Vec::new();
    let mut from = 0;
    while let Some(start) = find(&string.value, from) {
        let rest = string.value.get(start + 2..).unwrap_or_default();
        if string.value.get(..start).is_some_and(|before| before.ends_with('$')) {
            replacements.push((start - 1..start, String::new()));
            from = start + 2;
            continue;
        }
        let end = rest.find('}').map(|length| start + 2 + length + 1);
        let range = start..end.unwrap_or(string.value.len());
        match end.ok_or(NOT_CLOSED.to_owned()).and_then(|_| variable(rest)) {
            Ok(variable) => match (environment)(variable.name).or(variable.default()) {
                Some(value) => replacements.push((range.clone(), value)),
                None => faults.push(unknown(&string, source, &range, variable.name)),
            },
            Err(message) => {
                let at = At::new(source, string.source(range.clone()));
                faults.push(Fault::new(Code::VariableForm, &at, message).help(FORM));
            }
        }
        from = range.end;
    }
    if faults.is_empty() { Ok(string.replace(&replacements)) } else { Err(faults) }
}

fn find(text: &str, from: usize) -> Option<usize> {
    text.get(from..)?.find("${").map(|at| from + at)
}

struct Variable<'t> {
    name: &'t str,
    default: Option<&'t str>,
}

impl Variable<'_> {
    fn default(&self) -> Option<String> {
        self.default.map(str::to_owned)
    }
}

/// The variable at the beginning of a text that contains its closing brace.
fn variable(text: &str) -> Result<Variable<'_>, String> {
    let inside = text.split('}').next().unwrap_or_default();
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty()
        || !name.chars().all(is_letter)
        || name.starts_with(|it: char| it.is_ascii_digit())
    {
        return Err(format!("{} is not the name of a variable", quoted(name)));
    }
    Ok(Variable { name, default })
}

fn unknown(string: &Spelled, source: usize, range: &Range<usize>, name: &str) -> Fault {
    let at = At::new(source, string.source(range.clone()));
    let message = format!("the environment has no variable {}", quoted(name));
    let help = format!("set it, or write a default, as in `${{{name}:-default}}`");
    Fault::new(Code::UnknownVariable, &at, message).help(help)
}

const NOT_CLOSED: &str = "`${` without its `}`";
const FORM: &str = "write `${NAME}` or `${NAME:-default}`, and `$${` for a literal `${`";
