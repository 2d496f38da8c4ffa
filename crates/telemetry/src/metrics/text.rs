//! The text format of Prometheus.

use super::families::{Format, Kind, Labels, Number, PREFIX};
use crate::status::HistogramRow;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How much text is passed on at once.
const PART_BYTES: usize = 16 << 10;

/// Families as they are written to `out`, a part at a time: with thousands of backends, the whole
/// text would be large.
pub(super) struct Text<W> {
    out: W,
    part: String,
    /// The name of the family that is being written.
    name: String,
    outcome: io::Result<()>,
}

impl<W: Write> Text<W> {
    pub fn new(out: W) -> Self {
        Self { out, part: String::new(), name: String::new(), outcome: Ok(()) }
    }

    /// Passes on what is left, and returns whether everything could be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.pass_on();
        self.outcome
    }

    fn pass_on(&mut self) {
        if self.outcome.is_ok() {
            self.outcome = self.out.write_all(self.part.as_bytes());
        }
        self.part.clear();
    }

    fn add_line(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.part.write_fmt(text);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.part.push('\n');
        if self.part.len() >= PART_BYTES {
            self.pass_on();
        }
    }
}

impl<W: Write> Format for Text<W> {
    fn begin(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        self.name = format!("{PREFIX}{name}");
        self.add_line(format_args!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}"));
    }

    fn sample(&mut self, labels: &Labels, value: Number) {
        self.part.push_str(&self.name);
        if !labels.as_str().is_empty() {
            self.part.push('{');
            self.part.push_str(labels.as_str());
            self.part.push('}');
        }
        self.part.push(' ');
        // Most of a large page: formatting is too slow for it.
        match value {
            Number::Whole(value) => self.part.push_str(itoa::Buffer::new().format(value)),
            Number::Real(value) => _ = write!(self.part, "{value}"),
        }
        self.end_line();
    }

    fn distribution(&mut self, labels: &Labels, bounds: &[f64], row: &HistogramRow) {
        let (Self { part, name, .. }, labels) = (&mut *self, labels.as_str());
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&row.buckets) {
            below += count;
            let _ = writeln!(part, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let HistogramRow { count, sum_seconds, .. } = row;
        let _ = writeln!(part, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let _ = writeln!(part, "{name}_sum{{{labels}}} {sum_seconds}");
        let _ = write!(part, "{name}_count{{{labels}}} {count}");
        self.end_line();
    }

    fn comment(&mut self, text: &str) {
        self.add_line(format_args!("# {text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::Families;
    use super::*;

    fn text(write: impl FnOnce(&mut Families<'_>)) -> String {
        let mut out = Vec::new();
        let mut text = Text::new(&mut out);
        write(&mut Families(&mut text));
        text.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_labels_cannot_break_out() {
        let labels = Labels::of(&[("pool", &"a\"} 1\nevil{x=\"\\")]);
        let text = text(|to| to.gauge("up", "Help", [(labels, 1_u8)]));
        let line = text.lines().last().unwrap();
        assert_eq!(line, r#"evenkeel_up{pool="a\"} 1\nevil{x=\"\\"} 1"#);
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_histogram_adds_its_buckets_up() {
        let row = HistogramRow { count: 6, sum_seconds: 2.5, buckets: vec![1, 2, 3] };
        let labels = Labels::default();
        let text = text(|to| to.histogram("t_seconds", "Help", &[0.25, 1.0], [(&labels, &row)]));
        let expected = "# HELP evenkeel_t_seconds Help\n\
                        # TYPE evenkeel_t_seconds histogram\n\
                        evenkeel_t_seconds_bucket{le=\"0.25\"} 1\n\
                        evenkeel_t_seconds_bucket{le=\"1\"} 3\n\
                        evenkeel_t_seconds_bucket{le=\"+Inf\"} 6\n\
                        evenkeel_t_seconds_sum{} 2.5\n\
                        evenkeel_t_seconds_count{} 6\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let (labels, row) = (Labels::default(), HistogramRow::default());
        let text = text(|to| {
            to.counter("x_total", "Help", Vec::<(Labels, u64)>::new());
            to.histogram("t", "Help", &[], [(&labels, &row)]);
        });
        assert_eq!(text, "");
    }
}
