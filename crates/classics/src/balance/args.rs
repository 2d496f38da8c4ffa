//! The command line of balance(1), exactly as typed, and which program it asks for.

use super::options::OPTIONS;
use super::{BalanceError, BalanceProxy, Instance};
use crate::classic::{Getopt, GetoptError, Typed, leading_number};
use config::operand::Services;

/// What was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceArgs {
    /// `-6`
    pub ipv6: bool,
    /// `-a`
    pub auto_disable: bool,
    /// `-b`
    pub bind_text: Option<String>,
    /// `-B`
    pub source: Option<String>,
    /// `-c`
    pub command: Option<String>,
    /// `-d`
    pub debug: bool,
    /// `-f`
    pub foreground: bool,
    /// `-H`
    pub hash_failover: bool,
    /// `-i`
    pub interactive: bool,
    /// `-p`
    pub dump: bool,
    /// `-t`, in seconds
    pub connect_seconds: Option<u32>,
    /// `-T`, in seconds
    pub idle_seconds: Option<u32>,
    /// Everything that is not an option: the port, then channels and separators.
    pub operands: Vec<String>,
}

/// Which of the three programs was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The proxy.
    Proxy(BalanceProxy),
    /// The control shell, `-i`.
    Shell(Instance),
    /// One control command, `-c`.
    OneShot {
        /// Of which instance.
        instance: Instance,
        /// The command line.
        command: String,
    },
}

impl BalanceArgs {
    /// Reads the words after the program's name as getopt(3) does: letters may be clustered,
    /// values attached, options may stand anywhere before `--`, and the last of a kind wins.
    ///
    /// # Errors
    /// An unknown option, a missing value, or a number below 1.
    pub fn parse<S: AsRef<str>>(argv0: &str, words: &[S]) -> Result<Self, BalanceError> {
        let mut args = Self::default();
        for typed in Getopt::new(&OPTIONS, words) {
            match typed {
                Ok(Typed::Flag(letter)) => args.set_flag(letter),
                Ok(Typed::Value(letter, value)) => args.set_value(letter, value)?,
                Ok(Typed::Operand(word)) => args.operands.push(word.to_owned()),
                Err(GetoptError::InvalidOption(letter)) => {
                    return Err(BalanceError::InvalidOption { argv0: argv0.to_owned(), letter });
                }
                Err(GetoptError::MissingValue(letter)) => {
                    return Err(BalanceError::MissingValue { argv0: argv0.to_owned(), letter });
                }
            }
        }
        Ok(args)
    }

    /// Which program this asks for, once the number of operands and the port are right.
    ///
    /// # Errors
    /// [`BalanceError::Usage`] and [`BalanceError::InvalidPort`].
    pub fn mode(&self, services: Services<'_>) -> Result<Mode, BalanceError> {
        let control = self.interactive || self.command.is_some();
        let (port_text, channels) = match self.operands.split_first() {
            Some((port, rest)) if !control || rest.is_empty() => (port, rest),
            _ => return Err(BalanceError::Usage),
        };
        let (port, port_has_junk) = listening_port(port_text, services)
            .ok_or_else(|| BalanceError::InvalidPort(port_text.clone()))?;
        let bind_text = self.bind_text.clone().unwrap_or_else(|| "0.0.0.0".to_owned());
        let instance = Instance { port, bind_text };
        Ok(match &self.command {
            Some(command) => Mode::OneShot { instance, command: command.clone() },
            None if self.interactive => Mode::Shell(instance),
            None => Mode::Proxy(BalanceProxy {
                instance,
                port_has_junk,
                channels: channels.to_vec(),
                args: self.clone(),
            }),
        })
    }

    fn set_flag(&mut self, letter: char) {
        match letter {
            '6' => self.ipv6 = true,
            'a' => self.auto_disable = true,
            'd' => self.debug = true,
            'f' => self.foreground = true,
            'H' => self.hash_failover = true,
            'i' => self.interactive = true,
            'p' => self.dump = true,
            // -M: an instance is found either way.
            _ => debug_assert_eq!(letter, 'M', "an option in the table without a field"),
        }
    }

    fn set_value(&mut self, letter: char, value: &str) -> Result<(), BalanceError> {
        let text = Some(value.to_owned());
        match letter {
            'b' => self.bind_text = text,
            'B' => self.source = text,
            'c' => self.command = text,
            't' => self.connect_seconds = Some(seconds(value)?),
            'T' => self.idle_seconds = Some(seconds(value)?),
            _ => debug_assert!(false, "a value option in the table without a field"),
        }
        Ok(())
    }
}

/// A number of seconds from 1, read leniently.
fn seconds(text: &str) -> Result<u32, BalanceError> {
    let number = leading_number(text).and_then(|number| u32::try_from(number).ok());
    number.filter(|seconds| *seconds > 0).ok_or(BalanceError::Usage)
}

/// A service, or the leading number, and whether anything follows the number: `80x` names an
/// instance, and fails only when it is to be listened on.
fn listening_port(text: &str, services: Services<'_>) -> Option<(u16, bool)> {
    let service = if text.is_empty() { None } else { services(text) };
    let number = || leading_number(text).and_then(|number| u16::try_from(number).ok());
    let has_junk = service.is_none() && !text.bytes().all(|b| b.is_ascii_digit());
    service.or_else(number).filter(|port| *port != 0).map(|port| (port, has_junk))
}
