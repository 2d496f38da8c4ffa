//! Time stamps of logs: the access logs' `10/Feb/2025:17:46:51 +0100`, RFC 3339, and plain seconds.

use super::Millis;

/// Reads an access log's stamp: day, English month, year, time, and perhaps a blank and `+hhmm`.
///
/// A fraction of the second is skipped; an offset that is not five characters counts as none.
pub fn parse_access(text: &[u8]) -> Option<Millis> {
    let mut rest = text;
    let day = digits(&mut rest, 1, 2)?;
    expect(&mut rest, b'/')?;
    let month = month(rest.get(..3)?)?;
    rest = &rest[3..];
    expect(&mut rest, b'/')?;
    let year = digits(&mut rest, 4, 4)?;
    expect(&mut rest, b':')?;
    let seconds = clock(&mut rest)?;
    skip_fraction(&mut rest);
    let offset = if expect(&mut rest, b' ').is_some() { offset(rest) } else { None };
    let days = days(year, month, day)?;
    Some((days * 86_400 + seconds - offset.unwrap_or(0)) * 1000)
}

/// Appends the instant as an access log's stamp in UTC: `10/Feb/2025:17:46:51 +0000`.
pub fn write_access(out: &mut Vec<u8>, instant: Millis) {
    let seconds = instant.div_euclid(1000);
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let time = seconds.rem_euclid(86_400);
    two(out, day);
    out.push(b'/');
    out.extend_from_slice(&MONTHS[(month - 1) as usize]);
    out.push(b'/');
    two(out, year / 100);
    two(out, year % 100);
    for part in [time / 3600, time / 60 % 60, time % 60] {
        out.push(b':');
        two(out, part);
    }
    out.extend_from_slice(b" +0000");
}

/// Reads an RFC 3339 stamp; `T` may be a blank, and without a zone it is UTC.
pub fn parse_rfc3339(text: &[u8]) -> Option<Millis> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    expect(&mut rest, b'-')?;
    let month = digits(&mut rest, 2, 2)?;
    expect(&mut rest, b'-')?;
    let day = digits(&mut rest, 2, 2)?;
    if !matches!(rest.first()?, b'T' | b't' | b' ' | b'_') {
        return None;
    }
    rest = &rest[1..];
    let seconds = clock(&mut rest)?;
    let millis = skip_fraction(&mut rest);
    let zone = match rest {
        [] | [b'Z' | b'z', ..] => 0,
        [b'+' | b'-', a, b, b':', c, d] => offset(&[rest[0], *a, *b, *c, *d])?,
        _ => offset(rest)?,
    };
    Some((days(year, month, day)? * 86_400 + seconds - zone) * 1000 + millis)
}

/// Appends the instant as RFC 3339 in UTC with milliseconds: `2025-02-10T17:46:51.000Z`.
pub fn write_rfc3339(out: &mut Vec<u8>, instant: Millis) {
    let (year, month, day) = date(instant.div_euclid(86_400_000));
    let time = instant.rem_euclid(86_400_000);
    two(out, year / 100);
    two(out, year % 100);
    for part in [month, day] {
        out.push(b'-');
        two(out, part);
    }
    for (lead, part) in [
        (b'T', time / 3_600_000),
        (b':', time / 60_000 % 60),
        (b':', time / 1000 % 60),
        (b'.', time % 1000 / 10),
    ] {
        out.push(lead);
        two(out, part);
    }
    out.extend_from_slice(&[b'0' + (time % 10) as u8, b'Z']);
}

/// Reads seconds since 1970 with an optional fraction (`1739209611.123`).
pub fn parse_seconds(text: &[u8]) -> Option<Millis> {
    let mut rest = text;
    let seconds = digits(&mut rest, 1, 12)?;
    let millis = skip_fraction(&mut rest);
    rest.is_empty().then_some(seconds * 1000 + millis)
}

/// Reads whichever of the three kinds it is.
pub fn parse_any(text: &[u8]) -> Option<Millis> {
    parse_rfc3339(text).or_else(|| parse_access(text)).or_else(|| parse_seconds(text))
}

const MONTHS: [[u8; 3]; 12] = [
    *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct",
    *b"Nov", *b"Dec",
];

fn month(name: &[u8]) -> Option<i64> {
    MONTHS.iter().position(|m| m == name).map(|i| i as i64 + 1)
}

/// `hh:mm:ss` as seconds of the day.
fn clock(rest: &mut &[u8]) -> Option<i64> {
    let hour = digits(rest, 1, 2)?;
    expect(rest, b':')?;
    let minute = digits(rest, 1, 2)?;
    expect(rest, b':')?;
    let second = digits(rest, 1, 2)?;
    // 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn offset(text: &[u8]) -> Option<i64> {
    let (sign, mut rest) = match text {
        [b'+', rest @ ..] if rest.len() == 4 => (1, rest),
        [b'-', rest @ ..] if rest.len() == 4 => (-1, rest),
        _ => return None,
    };
    let hhmm = digits(&mut rest, 4, 4)?;
    Some(sign * (hhmm / 100 * 3600 + hhmm % 100 * 60))
}

fn skip_fraction(rest: &mut &[u8]) -> Millis {
    if !matches!(rest.first(), Some(b'.' | b',')) {
        return 0;
    }
    let (mut millis, mut unit) = (0, 100);
    *rest = &rest[1..];
    while let Some(digit @ b'0'..=b'9') = rest.first() {
        millis += i64::from(digit - b'0') * unit;
        unit /= 10;
        *rest = &rest[1..];
    }
    millis
}

fn digits(rest: &mut &[u8], least: usize, most: usize) -> Option<i64> {
    let count = rest.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
    if count < least {
        return None;
    }
    let number = rest[..count].iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    *rest = &rest[count..];
    Some(number)
}

fn expect(rest: &mut &[u8], byte: u8) -> Option<()> {
    (rest.first() == Some(&byte)).then(|| *rest = &rest[1..])
}

fn two(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

/// Days since 1970 of a date of the Gregorian calendar, counted in eras of 400 years that begin
/// in March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let length = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - 719_468,
    )
}

/// The reverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_access(text: &str, seconds: Option<i64>) {
        assert_eq!(parse_access(text.as_bytes()), seconds.map(|s| s * 1000), "{text}");
    }

    #[test]
    fn access_stamps_are_true_instants() {
        check_access("10/Feb/2025:17:46:51 +0000", Some(1_739_209_611));
        check_access("10/Feb/2025:18:46:51 +0100", Some(1_739_209_611));
        check_access("10/Feb/2025:12:16:51 -0530", Some(1_739_209_611));
        check_access("10/Feb/2025:17:46:51", Some(1_739_209_611));
        check_access("10/Feb/2025:17:46:51 GMT", Some(1_739_209_611));
        check_access("10/Feb/2025:18:46:51.250 +0100", Some(1_739_209_611));
        check_access("29/Feb/2024:00:00:00 +0000", Some(1_709_164_800));
        check_access("31/Dec/2016:23:59:60 +0000", Some(1_483_228_800));
    }

    #[test]
    fn damaged_stamps_are_refused_not_guessed() {
        for text in [
            "",
            "10",
            "10/feb/2025:17:46:51",
            "30/Feb/2025:00:00:00",
            "29/Feb/2023:00:00:00",
            "10/Feb/25:17:46:51",
            "10/Feb/2025:24:00:00",
            "10/Feb/2025:17:60:00",
            "x",
            "0/Feb/2025:00:00:00",
            "10/Feb/2025 17:46:51",
            "10/Feb/2025:17:46",
        ] {
            check_access(text, None);
        }
    }

    #[test]
    fn rfc3339_and_seconds() {
        #[track_caller]
        fn check(text: &str, millis: Option<Millis>) {
            assert_eq!(parse_any(text.as_bytes()), millis, "{text}");
        }
        check("2025-02-10T17:46:51.123Z", Some(1_739_209_611_123));
        check("2025-02-10T18:46:51.1234567+01:00", Some(1_739_209_611_123));
        check("2025-02-10 17:46:51", Some(1_739_209_611_000));
        check("2025-02-10T17:46:51+0000", Some(1_739_209_611_000));
        check("1739209611.5", Some(1_739_209_611_500));
        check("1739209611", Some(1_739_209_611_000));
        check("2025-13-10T17:46:51Z", None);
        check("2025-02-10", None);
        check("yesterday", None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(instant in 0i64..4_102_444_800_000) {
            let mut text = Vec::new();
            write_access(&mut text, instant);
            prop_assert_eq!(parse_access(&text), Some(instant / 1000 * 1000));
            text.clear();
            write_rfc3339(&mut text, instant);
            prop_assert_eq!(parse_rfc3339(&text), Some(instant));
        }
    }
}
