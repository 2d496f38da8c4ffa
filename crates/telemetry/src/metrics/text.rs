//! The text format of Prometheus.

use super::families::{Format, Kind, Labels, Number, PREFIX};
use crate::status::HistogramRow;
use std::fmt::Write;

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families that have been written.
#[derive(Default)]
pub(super) struct Text {
    written: String,
    /// The name of the family that is being written.
    name: String,
}

impl Text {
    pub fn into_string(self) -> String {
        self.written
    }
}

impl Format for Text {
    fn begin(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        self.name = format!("{PREFIX}{name}");
        let Self { written, name } = self;
        let _ = writeln!(written, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &Labels, value: Number) {
        let (Self { written, name }, labels) = (self, labels.as_str());
        let _ = match labels.is_empty() {
            true => writeln!(written, "{name} {value}"),
            false => writeln!(written, "{name}{{{labels}}} {value}"),
        };
    }

    fn distribution(&mut self, labels: &Labels, bounds: &[f64], row: &HistogramRow) {
        let (Self { written, name }, labels) = (self, labels.as_str());
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&row.buckets) {
            below += count;
            let _ = writeln!(written, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let HistogramRow { count, sum_seconds, .. } = row;
        let _ = writeln!(written, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let _ = writeln!(written, "{name}_sum{{{labels}}} {sum_seconds}");
        let _ = writeln!(written, "{name}_count{{{labels}}} {count}");
    }

    fn comment(&mut self, text: &str) {
        let _ = writeln!(self.written, "# {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::Families;
    use super::*;

    fn text(write: impl FnOnce(&mut Families<'_>)) -> String {
        let mut text = Text::default();
        write(&mut Families(&mut text));
        text.into_string()
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
