//! balance(1): its command line, its control shell, and every text it prints.
//!
//! Behaviour is that of release 3.57 less its faults; `docs/compat.md` lists where they part.
//! [`BalanceArgs`] is exactly what was typed. [`BalanceArgs::mode`] says which of the three
//! programs it asks for: the proxy, whose [`BalanceProxy::to_config`] gives the configuration,
//! or one of the two control forms, whose grammar and answers are in [`shell`]. Nothing is
//! resolved, bound or printed here.
//!
//! What happens at a start, in order: [`BalanceArgs::parse`], the two lines of
//! [`debug::banner`], [`BalanceArgs::mode`], then bind what [`BalanceProxy::bind`] says, and
//! only then [`BalanceProxy::to_config`] and [`resolve`]: the original reports a port in use
//! before it looks at the channels.

mod args;
pub mod debug;
mod dump;
mod error;
mod options;
mod proxy;
pub mod shell;
#[cfg(test)]
mod tests;

pub use args::{BalanceArgs, Mode, take_print_config};
pub use dump::{Block, Direction, render_dump};
pub use error::BalanceError;
pub use options::{EXAMPLES, OPTIONS, OptionRow, SEPARATORS, SYNOPSES, usage};
pub use proxy::{BalanceProxy, hosts_to_resolve, resolve};

/// Channels a group can have.
pub const MAX_CHANNELS: usize = 64;
/// Groups there can be, numbered from zero.
pub const MAX_GROUPS: usize = 32;
/// The number in the usage text, the banner and `version`: ours, in the form scripts look for.
pub const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// One running proxy, as `-i` and `-c` name it: by port number and the text given to `-b`.
///
/// The text, not the address: `127.0.0.1` and `localhost` are two instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// The listening port.
    pub port: u16,
    /// The text behind `-b`, or `0.0.0.0`.
    pub bind_text: String,
}

/// The leading number of a text, as the original reads numbers: blanks, a sign, digits, and
/// whatever follows is ignored; saturating. `None` without a digit.
fn leading_number(text: &str) -> Option<i32> {
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
