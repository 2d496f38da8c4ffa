//! Figures and reasons, as people read them.

/// A count in at most five characters: `99999`, `1.2M`, `340G`.
pub(crate) fn short(count: u64) -> String {
    if count < 100_000 {
        return count.to_string();
    }
    scaled(count as f64)
}

/// Something per second: `0`, `0.4`, `12`, `3.4k`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        ..0.05 => "0".to_owned(),
        ..9.95 => format!("{per_second:.1}"),
        ..9999.5 => format!("{per_second:.0}"),
        _ => scaled(per_second),
    }
}

fn scaled(mut value: f64) -> String {
    let units = ["k", "M", "G", "T", "P", "E"];
    for unit in units {
        value /= 1000.0;
        if value < 9.95 {
            return format!("{value:.1}{unit}");
        }
        if value < 999.5 || unit == "E" {
            return format!("{value:.0}{unit}");
        }
    }
    String::new()
}

/// A time span: `9s`, `12m`, `3h`, `25d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 session`, `2 sessions`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let seen = [0, 99_999, 100_000, 9_940_000, 999_400_000, u64::MAX].map(short);
        assert_eq!(seen, ["0", "99999", "100k", "9.9M", "999M", "18E"]);
        let seen = [0.0, 0.44, 12.3, 9_999.0, 123_456.0].map(rate);
        assert_eq!(seen, ["0", "0.4", "12", "9999", "123k"]);
        assert_eq!([9, 119, 7_199, 90_000, 400_000].map(span), ["9s", "119s", "119m", "25h", "4d"]);
    }
}
