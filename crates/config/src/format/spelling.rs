//! One spelling for each value.

use crate::duration::{Span, parse_duration};
use crate::keys::{Shape, Zero};
use toml_edit::Value;

/// Writes a value as `fmt` does. One that the shape does not fit keeps its meaning.
pub(super) fn respell(value: &mut Value, shape: Option<Shape>) {
    let shape = shape.map(Shape::of_one);
    let spelled = match (&*value, shape) {
        (Value::String(text), Some(shape)) => of_text(text.value(), shape),
        (Value::Integer(seconds), Some(Shape::Duration { zero, .. })) => {
            duration(&seconds.value().to_string(), zero).map(Value::from)
        }
        _ => None,
    };
    if let Some(mut spelled) = spelled {
        *spelled.decor_mut() = value.decor().clone();
        *value = spelled;
    }
    match value {
        Value::String(text) => {
            let raw = text.as_repr().and_then(|it| it.as_raw().as_str()).unwrap_or_default();
            // The author chose where its lines end.
            if !raw.starts_with("\"\"\"") && !raw.starts_with("'''") {
                text.fmt();
            }
        }
        Value::Integer(number) => number.fmt(),
        _ => {}
    }
}

/// A better spelling of a string, if there is one. Strings with variables have none.
fn of_text(text: &str, shape: Shape) -> Option<Value> {
    let number = || text.parse::<i64>().ok();
    match shape {
        _ if text.contains("${") => None,
        Shape::Number { least, most } => {
            number().filter(|number| (least..=most).contains(number)).map(Value::from)
        }
        Shape::Listen => number().filter(|port| (1..=65535).contains(port)).map(Value::from),
        Shape::Duration { zero, .. } => duration(text, zero).map(Value::from),
        Shape::Access => {
            let words: Vec<_> = text.split_whitespace().collect();
            Some(Value::from(words.join(" ")))
        }
        _ => None,
    }
}

fn duration(text: &str, zero: Zero) -> Option<String> {
    let duration = parse_duration(text).ok()?;
    Some(match zero {
        Zero::Never if duration.is_zero() => "never".to_owned(),
        _ => Span(duration).to_string(),
    })
}
