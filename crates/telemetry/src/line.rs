//! One line of the log, as text or as JSON.

use std::fmt::{self, Display, Write};
use std::time::Duration;

/// How urgent a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// An operator must act.
    Error,
    /// Something went wrong, and the process coped.
    Warn,
    /// The life cycle of the process, and changes of state.
    Info,
}

/// The format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// `TIME LEVEL MESSAGE key=value ...`; values with blanks or quotes are quoted.
    Text,
    /// A JSON object: `time`, `level`, `message`, then the fields.
    Json,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Anything that can be displayed.
    Text(&'a dyn Display),
    /// A count.
    Count(u64),
    /// A duration: `1.5ms` as text, seconds as a JSON number.
    Time(Duration),
}

/// A line: what happened, and the details.
pub struct Line<'a> {
    /// How urgent the line is.
    pub level: Level,
    /// What happened, in words.
    pub message: &'a str,
    /// The details, in order.
    pub fields: &'a [(&'a str, Value<'a>)],
}

/// Writes times as RFC 3339 in UTC with milliseconds. Remembers the text of the last second.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    second: i64,
    text: String,
}

impl Level {
    /// The word for it in a line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

impl Stamp {
    /// Appends the time `nanos` nanoseconds after 1970.
    pub fn write(&mut self, nanos: i64, out: &mut String) {
        let second = nanos.div_euclid(1_000_000_000);
        if self.text.is_empty() || second != self.second {
            self.second = second;
            let moment = jiff::Timestamp::from_second(second).unwrap_or_default();
            self.text = moment.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        let millis = nanos.rem_euclid(1_000_000_000) / 1_000_000;
        let _ = write!(out, "{}.{millis:03}Z", self.text);
    }
}

impl Line<'_> {
    /// Appends the line, newline included, with the time `nanos` nanoseconds after 1970.
    pub fn write(&self, format: LineFormat, nanos: i64, stamp: &mut Stamp, out: &mut String) {
        match format {
            LineFormat::Text => self.write_text(nanos, stamp, out),
            LineFormat::Json => self.write_json(nanos, stamp, out),
        }
        out.push('\n');
    }

    /// The line without time and level, for a system log that adds its own.
    #[must_use]
    pub fn without_time(&self) -> String {
        let mut out = self.message.to_owned();
        self.write_fields(&mut out);
        out
    }

    fn write_text(&self, nanos: i64, stamp: &mut Stamp, out: &mut String) {
        stamp.write(nanos, out);
        let _ = write!(out, " {} {}", self.level.name(), self.message);
        self.write_fields(out);
    }

    fn write_fields(&self, out: &mut String) {
        for (key, value) in self.fields {
            out.extend([" ", key, "="]);
            match value {
                Value::Text(text) => write_quoted(out, text),
                Value::Count(count) => write_count(out, *count),
                Value::Time(time) => write_time(out, *time),
            }
        }
    }

    fn write_json(&self, nanos: i64, stamp: &mut Stamp, out: &mut String) {
        out.push_str("{\"time\":\"");
        stamp.write(nanos, out);
        let _ = write!(out, "\",\"level\":\"{}\",\"message\":", self.level.name());
        write_json_text(out, &self.message);
        for (key, value) in self.fields {
            out.extend([",\"", key, "\":"]);
            match value {
                Value::Text(text) => write_json_text(out, text),
                Value::Count(count) => write_count(out, *count),
                Value::Time(time) => _ = write!(out, "{:.6}", time.as_secs_f64()),
            }
        }
        out.push('}');
    }
}

/// A value that could be read as several values, or as none, is quoted.
fn write_quoted(out: &mut String, text: &dyn Display) {
    let start = out.len();
    let _ = write!(out, "{text}");
    let value = &out[start..];
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'=';
    if !value.is_empty() && value.bytes().all(plain) {
        return;
    }
    let value = out.split_off(start);
    let _ = write!(out, "{value:?}");
}

fn write_json_text(out: &mut String, text: &dyn Display) {
    let text = text.to_string();
    let Ok(quoted) = serde_json::to_string(&text) else { return out.push_str("null") };
    for letter in quoted.chars() {
        match is_deceptive(letter) {
            true => _ = write!(out, "\\u{:04x}", u32::from(letter)),
            false => out.push(letter),
        }
    }
}

/// Whether a letter is not seen, or changes how others are seen, although JSON permits it: control
/// characters beyond ASCII, other ends of lines, and what changes the direction of text.
fn is_deceptive(letter: char) -> bool {
    matches!(letter, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}')
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A unit, and two decimal places if there are thousands of a smaller one: `85us`, `12.35ms`,
/// `2.50s`, `90s`.
fn write_time(out: &mut String, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match micros {
        0..1000 => write_count(out, micros),
        1000..1_000_000 => write_hundredths(out, (micros + 5) / 10),
        1_000_000..60_000_000 => write_hundredths(out, (micros + 5000) / 10_000),
        _ => write_count(out, time.as_secs()),
    }
    out.push_str(match micros {
        0..1000 => "us",
        1000..1_000_000 => "ms",
        _ => "s",
    });
}

fn write_hundredths(out: &mut String, hundredths: u64) {
    let decimals = hundredths % 100;
    write_count(out, hundredths / 100);
    out.push_str(if decimals < 10 { ".0" } else { "." });
    write_count(out, decimals);
}

/// Formatting is too slow for what every session writes.
fn write_count(out: &mut String, count: u64) {
    out.push_str(itoa::Buffer::new().format(count));
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: LineFormat) -> String {
        let line = Line {
            level: Level::Info,
            message: "session ended",
            fields: &[
                ("session", Value::Count(7)),
                ("client", Value::Text(&"[::1]:80")),
                ("listener", Value::Text(&"unix:/a b")),
                ("connect", Value::Time(Duration::from_micros(1250))),
            ],
        };
        let mut out = String::new();
        line.write(format, 1_794_000_000_123_000_000, &mut Stamp::default(), &mut out);
        out
    }

    #[test]
    fn text_is_readable_and_unambiguous() {
        assert_eq!(
            written(LineFormat::Text),
            "2026-11-06T21:20:00.123Z info session ended session=7 client=[::1]:80 \
             listener=\"unix:/a b\" connect=1.25ms\n"
        );
    }

    #[test]
    fn json_is_one_object() {
        let value: serde_json::Value = serde_json::from_str(&written(LineFormat::Json)).unwrap();
        assert_eq!(value["time"], "2026-11-06T21:20:00.123Z");
        assert_eq!(value["message"], "session ended");
        assert_eq!(value["session"], 7);
        assert_eq!(value["connect"], 0.00125);
    }

    #[test]
    fn nothing_in_a_value_can_pass_for_another_field_or_line() {
        let nasty = "a, b=c\n2026 info \u{1b}[31m\u{9b}\u{202e}gpj.exe\u{2066}\u{2028}\"\\";
        let fields = &[("sni", Value::Text(&nasty)), ("bytes", Value::Count(1))];
        let line = Line { level: Level::Info, message: "session ended", fields };
        let mut text = String::new();
        line.write(LineFormat::Text, 0, &mut Stamp::default(), &mut text);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000Z info session ended sni=\"a, b=c\\n2026 info \\u{1b}[31m\\u{9b}\
             \\u{202e}gpj.exe\\u{2066}\\u{2028}\\\"\\\\\" bytes=1\n"
        );
        let mut json = String::new();
        line.write(LineFormat::Json, 0, &mut Stamp::default(), &mut json);
        let (line, rest) = json.split_once('\n').unwrap();
        assert_eq!(rest, "");
        assert!(line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{line}");
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["sni"], nasty);
        assert_eq!(value["bytes"], 1);
    }

    #[track_caller]
    fn check_time(micros: u64, expected: &str) {
        let mut out = String::new();
        write_time(&mut out, Duration::from_micros(micros));
        assert_eq!(out, expected);
    }

    #[test]
    fn times_carry_their_unit() {
        check_time(0, "0us");
        check_time(85, "85us");
        check_time(1_000, "1.00ms");
        check_time(12_345, "12.35ms");
        check_time(12_344, "12.34ms");
        check_time(12_055, "12.06ms");
        check_time(999_999, "1000.00ms");
        check_time(1_000_000, "1.00s");
        check_time(2_500_000, "2.50s");
        check_time(5_400_000_000, "5400s");
    }

    #[test]
    fn a_stamp_follows_the_seconds() {
        let mut stamp = Stamp::default();
        let mut out = String::new();
        stamp.write(999_999_999, &mut out);
        stamp.write(1_000_000_000, &mut out);
        assert_eq!(out, "1970-01-01T00:00:00.999Z1970-01-01T00:00:01.000Z");
    }
}
