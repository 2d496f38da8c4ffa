//! Limits on how many of something there may be.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The maximum number of something at one time.
///
/// Command lines and the admin API write a limit as one number, which is balance's `maxc`: 0 for
/// [`Limit::None`], a negative number for `AtMost(0)`, and any other number for itself.
///
/// ```
/// use terms::Limit;
/// let numbers = [0, -1, 7].map(Limit::from_number);
/// assert_eq!(numbers, [Limit::None, Limit::AtMost(0), Limit::AtMost(7)]);
/// assert!(Limit::AtMost(7).allows(6) && !Limit::AtMost(7).allows(7));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "i32", into = "i32")]
pub enum Limit {
    /// No limit.
    #[default]
    None,
    /// At most this many; zero means none at all.
    AtMost(u32),
}

impl Limit {
    /// The limit that a number stands for.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        match number {
            0 => Self::None,
            number => Self::AtMost(u32::try_from(number).unwrap_or(0)),
        }
    }

    /// The number that stands for the limit.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::None => 0,
            Self::AtMost(0) => -1,
            Self::AtMost(most) => i32::try_from(most).unwrap_or(i32::MAX),
        }
    }

    /// Whether there may be one more than `count`.
    #[must_use]
    pub fn allows(self, count: u32) -> bool {
        match self {
            Self::None => true,
            Self::AtMost(most) => count < most,
        }
    }
}

impl From<i32> for Limit {
    fn from(number: i32) -> Self {
        Self::from_number(number)
    }
}

impl From<Limit> for i32 {
    fn from(limit: Limit) -> Self {
        limit.number()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
