//! The command line of pen(1), exactly as typed.

use super::PenError;
use super::options::{OPTIONS, obsolete_remark};
use crate::classic::{Getopt, GetoptError, Typed, leading_number};

/// What was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PenArgs {
    /// The options in order: commands among them see what was set before them.
    pub options: Vec<PenOption>,
    /// Everything that is not an option: what to listen on, then servers.
    pub operands: Vec<String>,
    /// Lines that are printed on standard error before anything else.
    pub remarks: Vec<String>,
}

/// An option as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PenOption {
    /// Its letter.
    pub letter: char,
    /// Its value; empty for one without.
    pub value: String,
}

impl PenArgs {
    /// Reads the words after the program's name as getopt(3) does.
    ///
    /// # Errors
    /// An unknown option, a missing value, `-t` below 1, an unknown protocol, `-i`. Several of
    /// these exit with status 0.
    pub fn parse<S: AsRef<str>>(argv0: &str, words: &[S]) -> Result<Self, PenError> {
        let mut args = Self::default();
        for typed in Getopt::new(&OPTIONS, words) {
            let (letter, value) = match typed {
                Ok(Typed::Flag(letter)) => (letter, ""),
                Ok(Typed::Value(letter, value)) => (letter, value),
                Ok(Typed::Operand(word)) => {
                    args.operands.push(word.to_owned());
                    continue;
                }
                Err(GetoptError::InvalidOption(letter)) => {
                    return Err(PenError::InvalidOption { argv0: argv0.to_owned(), letter });
                }
                Err(GetoptError::MissingValue(letter)) => {
                    return Err(PenError::MissingValue { argv0: argv0.to_owned(), letter });
                }
            };
            args.remarks.extend(remark(letter, value)?);
            args.options.push(PenOption { letter, value: value.to_owned() });
        }
        Ok(args)
    }
}

/// The remark on a single option, or why it is refused.
fn remark(letter: char, value: &str) -> Result<Option<String>, PenError> {
    let number = leading_number(value).unwrap_or(0);
    Ok(match letter {
        't' if number < 1 => return Err(PenError::Usage),
        'L' if !PROTOCOLS.contains(&value) => {
            return Err(PenError::UnknownProtocol(value.to_owned()));
        }
        'i' => return Err(PenError::WindowsOnly),
        'm' if number < 1 => Some("multi_accept bumped to 1".to_owned()),
        'q' if number < 50 => Some("listen_queue bumped to 50".to_owned()),
        _ => obsolete_remark(letter),
    })
}

const PROTOCOLS: [&str; 4] = ["ssl23", "ssl2", "ssl3", "tls1"];
