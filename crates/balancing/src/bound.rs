//! How much more than its share of the sessions a backend may have.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How much more than its share of the sessions a backend may have: a factor with two decimals,
/// 1.01 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoadBound {
    hundredths: u32,
}

/// Why a text is no [`LoadBound`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a load bound is a number from 1.01 to 100 with two decimals at most, such as 1.25")]
pub struct InvalidLoadBound;

impl LoadBound {
    /// This many hundredths, if they make a load bound.
    #[must_use]
    pub const fn from_hundredths(hundredths: u32) -> Option<Self> {
        if hundredths > 100 && hundredths <= 10_000 { Some(Self { hundredths }) } else { None }
    }

    /// How many sessions a backend has at most that has `weight` of `all` weights, when there are
    /// `sessions` and one more.
    pub(crate) fn limit(self, sessions: u32, weight: u32, all: u64) -> u32 {
        let share = u128::from(self.hundredths) * (u128::from(sessions) + 1) * u128::from(weight);
        let limit = share.div_ceil(100 * u128::from(all.max(1)));
        u32::try_from(limit).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for LoadBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:02}", self.hundredths / 100, self.hundredths % 100);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl FromStr for LoadBound {
    type Err = InvalidLoadBound;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        if !is_number(whole)
            || !is_number(decimals)
            || whole.len() > 3
            || whole.starts_with('0')
            || decimals.len() > 2
        {
            return Err(InvalidLoadBound);
        }
        let hundredths = format!("{whole}{decimals:0<2}").parse().map_err(|_| InvalidLoadBound)?;
        Self::from_hundredths(hundredths).ok_or(InvalidLoadBound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, printed) in [("1.25", "1.25"), ("2", "2"), ("1.5", "1.5"), ("100", "100")] {
            assert_eq!(text.parse::<LoadBound>().unwrap().to_string(), printed);
        }
        for text in
            ["", "1", "1.00", "1.", ".5", "1.255", "-2", "100.01", "1e2", "01.25", "99999999999"]
        {
            assert_eq!(text.parse::<LoadBound>(), Err(InvalidLoadBound), "{text}");
        }
    }

    #[test]
    fn a_share_is_rounded_up() {
        let bound: LoadBound = "1.25".parse().unwrap();
        assert_eq!(bound.limit(0, 1, 4), 1); // 1.25 * 1 / 4
        assert_eq!(bound.limit(15, 1, 4), 5); // 1.25 * 16 / 4
        assert_eq!(bound.limit(16, 1, 4), 6);
        assert_eq!(bound.limit(u32::MAX, u32::MAX, 1), u32::MAX);
    }
}
