//! When certificates are valid.

use crate::clients::{SEQUENCE, element};
use rustls::pki_types::CertificateDer;

/// In seconds.
pub(crate) const DAY: u64 = 24 * 60 * 60;

/// When the first certificate of a chain expires, in seconds since 1970.
pub(crate) fn first_end(chain: &[CertificateDer<'_>]) -> Option<u64> {
    chain.iter().filter_map(|certificate| validity(certificate)).map(|[_, end]| end).min()
}

/// When the first of the certificates that these bytes contain expires, in seconds since 1970.
/// Wherever they are: for a form that only its library knows.
pub(crate) fn first_end_within(bytes: &[u8]) -> Option<u64> {
    let places = bytes.iter().enumerate().filter(|(_, byte)| **byte == SEQUENCE);
    places.filter_map(|(place, _)| validity(&bytes[place..])).map(|[_, end]| end).min()
}

/// When a certificate begins and ends to be valid, in seconds since 1970.
///
/// ~~~text
///   SEQUENCE { SEQUENCE { [0] version, serial number, signature, issuer, validity ...
/// ~~~
pub(crate) fn validity(mut certificate: &[u8]) -> Option<[u64; 2]> {
    let (_, mut certificate) = element(&mut certificate)?;
    let (_, mut inner) = element(&mut certificate)?;
    let (first, _) = element(&mut inner)?;
    let skipped = if first == VERSION { 3 } else { 2 };
    for _ in 0..skipped {
        element(&mut inner)?;
    }
    let (SEQUENCE, mut validity) = element(&mut inner)? else { return None };
    Some([time(element(&mut validity)?)?, time(element(&mut validity)?)?])
}

/// Seconds since 1970; 0 for what lies before. RFC 5280, section 4.1.2.5.
fn time((tag, text): (u8, &[u8])) -> Option<u64> {
    let text = str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: u64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let number = |place: usize| rest.get(2 * place..2 * place + 2)?.parse::<u64>().ok();
    let [month, day, hour, minute] = [number(0)?, number(1)?, number(2)?, number(3)?];
    let month_days = MONTH_DAYS.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let before = year.checked_sub(1970)? * 365 + leaps(year - 1) - leaps(1969);
    let leap_day = if month > 2 { leaps(year) - leaps(year - 1) } else { 0 };
    let days = before + month_days + leap_day + day.checked_sub(1)?;
    Some(days * DAY + hour * 3600 + minute * 60 + number(4).unwrap_or(0))
}

/// The days of a year before each month.
const MONTH_DAYS: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// `[0]`.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let check = |tag, text: &str, expected| assert_eq!(time((tag, text.as_bytes())), expected);
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "261118120640Z", Some(1_795_003_600));
        check(UTC_TIME, "240229235959Z", Some(1_709_251_199));
        check(UTC_TIME, "240301000000Z", Some(1_709_251_200));
        check(GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "691231235959Z", None);
        check(UTC_TIME, "261318120640Z", None);
        check(UTC_TIME, "26", None);
        check(4, "261118120640Z", None);
    }
}
