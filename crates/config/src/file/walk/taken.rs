//! Whether a key takes a value, so that nothing is suggested that would be refused.

use super::unusable;
use crate::Collector;
use crate::keys::{Key, Problem, SettingsParser, Shape};
use crate::native::{parse_address, parse_server_name};
use crate::operand::{parse_backend, parse_destination};
use balancing::ServerName;

/// Whether a string would be accepted as the value of a key, or as an item of it. `parser` is made
/// when it is needed. Keys that the file would need beside this one are not looked at.
pub(super) fn takes(
    key: &Key,
    shape: Shape,
    text: &str,
    parser: &mut Option<SettingsParser>,
) -> bool {
    if key.is_option() || key.name == "access" {
        let parser = parser.get_or_insert_default();
        let faults = parser.read(&[(key.name, Some(text))], Some(ANY_PORT), &|_| None);
        let refuses = |problem: &_| matches!(problem, Problem::Value(_) | Problem::Word(_));
        return !faults.err().unwrap_or_default().iter().any(|fault| refuses(&fault.problem));
    }
    match shape {
        Shape::Text => true,
        Shape::Name => unusable(text).is_none(),
        Shape::Choice(words) => words.contains(&text),
        Shape::Backend | Shape::Operand => parse_backend(text, Some(ANY_PORT), &|_| None).is_ok(),
        Shape::Destination => parse_destination(text, Some(ANY_PORT), &|_| None).is_ok(),
        Shape::Socket => parse_address(text).is_ok(),
        Shape::Host => parse_server_name(text).is_ok(),
        Shape::ServerName => text.parse::<ServerName>().is_ok(),
        Shape::Collector => text.parse::<Collector>().is_ok(),
        // Of the keys that are no options, no other has a value that is easily guessed.
        _ => false,
    }
}

/// Stands for the port of the listeners.
const ANY_PORT: u16 = 1;
