//! A part of a whole.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

/// A part of a whole: 1 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u8);

/// Why a text is no [`Percent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is a whole number of percent from 1% to 100%, such as 50%")]
pub struct InvalidPercent;

impl Percent {
    /// This many percent, if they are a part of a whole.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent >= 1 && percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// How many percent.
    #[must_use]
    pub const fn number(self) -> NonZeroU8 {
        match NonZeroU8::new(self.0) {
            Some(number) => number,
            None => NonZeroU8::MIN,
        }
    }

    /// This part of `whole`, rounded down.
    #[must_use]
    pub fn of(self, whole: usize) -> usize {
        (whole as u128 * u128::from(self.0) / 100) as usize
    }

    /// Whether `part` is less than this part of `whole`.
    #[must_use]
    pub fn is_above(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 100 < u128::from(whole) * u128::from(self.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = InvalidPercent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_suffix('%').ok_or(InvalidPercent)?;
        if !digits.bytes().all(|it| it.is_ascii_digit()) || digits.starts_with('0') {
            return Err(InvalidPercent);
        }
        digits.parse().ok().and_then(Self::new).ok_or(InvalidPercent)
    }
}

impl TryFrom<String> for Percent {
    type Error = InvalidPercent;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in ["1%", "30%", "100%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["", "%", "0%", "101%", "30", "+3%", "03%", "3.5%", "300%", "30 %"] {
            assert_eq!(text.parse::<Percent>(), Err(InvalidPercent), "{text}");
        }
    }

    #[test]
    fn parts() {
        let half = Percent::new(50).unwrap();
        assert_eq!((half.of(1), half.of(5), half.of(10)), (0, 2, 5));
        assert!(half.is_above(2, 5) && !half.is_above(5, 10) && !half.is_above(0, 0));
    }
}
