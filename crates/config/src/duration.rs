//! How durations are written: `500us`, `500ms`, `2s`, `10m`, `1h`, `7d`; a bare number is seconds.
//!
//! The command line and answers use the same form. Numbers are whole: `1.5s` is refused with a
//! hint, because people and programs disagree about commas and points.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration as an operator writes it. [`fmt::Display`] gives the shortest exact form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A time-out that zero or the word `never` disables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(pub Option<Duration>);

/// A deadline that the word `never` disables. Zero means at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Option<Duration>);

/// A time-out that zero or the word `never` disables. The word `now` means no waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace(pub Option<Duration>);

/// A moment to come, as an operator writes it: after a duration, or at the next time of day that is
/// written `17:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After this time.
    After(Span),
    /// When the clock shows this, in hours and minutes.
    At {
        /// From 0 to 23.
        hour: u8,
        /// From 0 to 59.
        minute: u8,
    },
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No digits at the beginning.
    #[error(
        "a duration is a whole number and a unit: 500ms, 2s, 10m, 1h; a bare number is seconds"
    )]
    NoNumber,
    /// A decimal point or comma.
    #[error("a duration is a whole number; use a smaller unit, as in 1500ms for 1.5s")]
    Fraction,
    /// A unit that is not one of ours.
    #[error("{0:?} is not a unit of time; the units are ns, us, ms, s, m, h and d")]
    Unit(String),
    /// Beyond a hundred years.
    #[error("a duration is at most 36500d")]
    TooLong,
    /// Zero, where it makes no sense.
    #[error("must be longer than zero")]
    Zero,
    /// Not on any clock.
    #[error("a time of day is written 17:30, from 00:00 to 23:59")]
    NoTimeOfDay,
    /// Too short for an interval.
    #[error("must be at least 100ms")]
    TooShort,
}

/// Reads one duration.
///
/// # Errors
/// Says what is wrong with the text, and the form to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::NoNumber);
    }
    if unit.starts_with(['.', ',']) {
        return Err(DurationError::Fraction);
    }
    let nanos_each = if unit.is_empty() {
        NANOS_PER_SECOND
    } else {
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        known.ok_or_else(|| DurationError::Unit(unit.to_owned()))?.1
    };
    // Only too many digits can fail here.
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let nanos = number.checked_mul(nanos_each).ok_or(DurationError::TooLong)?;
    if nanos > LONGEST_NANOS {
        return Err(DurationError::TooLong);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Like [`parse_duration`], but the duration must be longer than zero.
///
/// # Errors
/// As [`parse_duration`], and [`DurationError::Zero`].
pub fn parse_nonzero_duration(text: &str) -> Result<Span, DurationError> {
    match parse_duration(text)? {
        Duration::ZERO => Err(DurationError::Zero),
        duration => Ok(Span(duration)),
    }
}

/// Like [`parse_duration`], for what is repeated or waited for by the control plane.
///
/// # Errors
/// As [`parse_duration`], and [`DurationError::TooShort`].
pub fn parse_interval(text: &str) -> Result<Span, DurationError> {
    match parse_nonzero_duration(text)? {
        Span(duration) if duration < SHORTEST_INTERVAL => Err(DurationError::TooShort),
        span => Ok(span),
    }
}

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl FromStr for Span {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse_duration(text).map(Self)
    }
}

impl FromStr for Moment {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let Some((hour, minute)) = text.split_once(':') else {
            return text.parse().map(Self::After);
        };
        let number = |text: &str, end: u8| {
            let is_number =
                matches!(text.len(), 1 | 2) && text.bytes().all(|it| it.is_ascii_digit());
            let number = text.parse().ok().filter(|number| is_number && *number < end);
            number.ok_or(DurationError::NoTimeOfDay)
        };
        let is_whole = minute.len() == 2;
        let (hour, minute) = (number(hour, 24)?, number(minute, 60)?);
        if is_whole { Ok(Self::At { hour, minute }) } else { Err(DurationError::NoTimeOfDay) }
    }
}

impl FromStr for Patience {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let deadline: Deadline = text.parse()?;
        Ok(Self(deadline.0.filter(|duration| !duration.is_zero())))
    }
}

impl FromStr for Grace {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text == NOW {
            return Ok(Self(Some(Duration::ZERO)));
        }
        text.parse().map(|Patience(limit)| Self(limit))
    }
}

impl FromStr for Deadline {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text == NEVER { Ok(Self(None)) } else { parse_duration(text).map(|it| Self(Some(it))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let fits = |(_, each): &&(&str, u64)| nanos.is_multiple_of(u128::from(*each));
        match UNITS.iter().rev().find(fits) {
            Some((unit, each)) if nanos > 0 => write!(f, "{}{unit}", nanos / u128::from(*each)),
            _ => f.write_str("0s"),
        }
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Deadline(self.0).fmt(f)
    }
}

impl fmt::Display for Grace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Duration::ZERO) => f.write_str(NOW),
            limit => Deadline(limit).fmt(f),
        }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => Span(duration).fmt(f),
            None => f.write_str(NEVER),
        }
    }
}

const NEVER: &str = "never";
const NOW: &str = "now";
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// A hundred years: adding it to any clock reading still fits 64 bits of nanoseconds.
const LONGEST_NANOS: u64 = 36_500 * 86_400 * NANOS_PER_SECOND;

/// Units from the shortest to the longest, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("d", 86_400 * NANOS_PER_SECOND),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a text and shows the result: the shortest form, or the error.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let seen = match text.parse::<Span>() {
            Ok(span) => span.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert!(seen.contains(expected), "{text:?} gave {seen:?}, not {expected:?}");
    }

    #[test]
    fn durations_have_units_and_seconds_by_default() {
        check("500ms", "500ms");
        check("2s", "2s");
        check("2", "2s");
        check("10m", "10m");
        check("60m", "1h");
        check("120", "2m");
        check("1h", "1h");
        check("48h", "2d");
        check("100us", "100us");
        check("1500ns", "1500ns");
        check("0", "0s");
        check("0ms", "0s");
        check("36500d", "36500d");
    }

    #[test]
    fn complaints_say_how_to_mend() {
        check("", "error: a duration is a whole number and a unit");
        check("ms", "error: a duration is a whole number and a unit");
        check("-5s", "error: a duration is a whole number and a unit");
        check("never", "error: a duration is a whole number and a unit");
        check("1.5s", "as in 1500ms");
        check("1,5", "as in 1500ms");
        check("5 s", "\" s\" is not a unit of time");
        check("5S", "\"S\" is not a unit of time; the units are ns, us, ms, s, m, h and d");
        check("5min", "\"min\" is not a unit of time");
        check("36501d", "at most 36500d");
        check("99999999999999999999", "at most 36500d");
    }

    #[test]
    fn zero_and_never_differ_by_kind() {
        assert_eq!("0".parse(), Ok(Patience(None)));
        assert_eq!("never".parse(), Ok(Patience(None)));
        assert_eq!("1".parse(), Ok(Patience(Some(Duration::from_secs(1)))));
        assert_eq!("0".parse(), Ok(Grace(None)));
        assert_eq!("now".parse(), Ok(Grace(Some(Duration::ZERO))));
        assert_eq!(Grace(Some(Duration::ZERO)).to_string(), "now");
        assert_eq!("0".parse(), Ok(Deadline(Some(Duration::ZERO))));
        assert_eq!("never".parse(), Ok(Deadline(None)));
        assert_eq!(parse_nonzero_duration("0"), Err(DurationError::Zero));
    }

    #[test]
    fn a_moment_is_a_duration_or_a_time_of_day() {
        assert_eq!("10m".parse(), Ok(Moment::After(Span(Duration::from_secs(600)))));
        assert_eq!("17:30".parse(), Ok(Moment::At { hour: 17, minute: 30 }));
        assert_eq!("7:05".parse(), Ok(Moment::At { hour: 7, minute: 5 }));
        for text in ["24:00", "17:60", "17:5", "17:", ":30", "17:30:00", "+7:30", "007:30", "a:b"] {
            assert_eq!(text.parse::<Moment>(), Err(DurationError::NoTimeOfDay), "{text}");
        }
        assert_eq!("17.30".parse::<Moment>(), Err(DurationError::Fraction));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(nanos in 0..=LONGEST_NANOS) {
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,24}") {
            let _ = parse_duration(&text);
        }
    }
}
