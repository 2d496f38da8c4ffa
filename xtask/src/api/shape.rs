//! The shape of a JSON value, as the code has it or as the document describes it.

use std::collections::{BTreeMap, BTreeSet};

/// What a JSON value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// Any text.
    Text,
    /// One of some words.
    Words(BTreeSet<String>),
    /// A value of this shape, or `null`.
    Nullable(Box<Self>),
    /// Values of one shape.
    List(Box<Self>),
    /// Named values.
    Object(BTreeMap<String, Field>),
    /// One of several objects, told apart by a word.
    Choice(BTreeMap<String, Self>),
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its value.
    pub shape: Shape,
    /// Whether it is always there.
    pub is_required: bool,
}

impl Shape {
    /// Every difference between the code's shape and the `described` one, with the path to it.
    pub fn differences(&self, described: &Self, path: &str) -> Vec<String> {
        match (self, described) {
            // A document may list the words of what the code holds as text.
            (Self::Text, Self::Words(_)) => Vec::new(),
            (Self::Words(code), Self::Words(described)) => {
                names(code.iter(), described.iter(), path, "word")
            }
            (Self::Nullable(code), Self::Nullable(described))
            | (Self::List(code), Self::List(described)) => code.differences(described, path),
            (Self::Object(code), Self::Object(described)) => {
                let mut found = names(code.keys(), described.keys(), path, "field");
                for (name, code) in code {
                    let Some(described) = described.get(name) else { continue };
                    found.extend(code.differences(described, &format!("{path}.{name}")));
                }
                found
            }
            (Self::Choice(code), Self::Choice(described)) => {
                let mut found = names(code.keys(), described.keys(), path, "variant");
                for (name, code) in code {
                    let Some(described) = described.get(name) else { continue };
                    found.extend(code.differences(described, &format!("{path} {name}")));
                }
                found
            }
            (code, described) if code == described => Vec::new(),
            (code, described) => {
                vec![format!("{path} is {} in the code, not {}", code.name(), described.name())]
            }
        }
    }

    /// What a reader calls it.
    pub fn name(&self) -> String {
        match self {
            Self::Boolean => "boolean".to_owned(),
            Self::Integer => "integer".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Words(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Nullable(shape) => format!("{} or null", shape.name()),
            Self::List(shape) => format!("array of {}", shape.name()),
            Self::Object(_) => "object".to_owned(),
            Self::Choice(_) => "one of several objects".to_owned(),
        }
    }
}

impl Field {
    fn differences(&self, described: &Self, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        if self.is_required != described.is_required {
            let (code, described) = if self.is_required { ("", "not ") } else { ("not ", "") };
            found
                .push(format!("{path} is {code}required by the code and {described}in `required`"));
        }
        // An optional field may be left out, so that documents need not say that null is as good.
        let shape = match &self.shape {
            Shape::Nullable(shape) if !self.is_required => shape,
            shape => shape,
        };
        found.extend(shape.differences(&described.shape, path));
        found
    }
}

/// Names that only one of the two has.
fn names<'a>(
    code: impl Iterator<Item = &'a String>,
    described: impl Iterator<Item = &'a String>,
    path: &str,
    kind: &str,
) -> Vec<String> {
    let (code, described): (BTreeSet<_>, BTreeSet<_>) = (code.collect(), described.collect());
    let missing = code.difference(&described).map(|name| format!("{path} lacks {kind} `{name}`"));
    let surplus = described.difference(&code);
    let surplus = surplus.map(|name| format!("{path} has {kind} `{name}`, which the code has not"));
    missing.chain(surplus).collect()
}
