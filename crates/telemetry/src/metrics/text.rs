//! The text format of Prometheus: families of samples.

use crate::status::HistogramRow;
use std::borrow::Borrow;
use std::fmt::{Display, Write};

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What goes before every name.
const PREFIX: &str = "evenkeel_";

/// Families that have been written.
#[derive(Default)]
pub(super) struct Text(pub String);

/// The pairs of names and values that tell a sample from others of its family, escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(String);

impl Labels {
    pub fn of(pairs: &[(&str, &dyn Display)]) -> Self {
        pairs.iter().fold(Self::default(), |labels, (name, value)| labels.with(name, value))
    }

    /// These, and one more.
    pub fn with(&self, name: &str, value: &dyn Display) -> Self {
        let comma = if self.0.is_empty() { "" } else { "," };
        let value =
            value.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        Self(format!("{}{comma}{name}=\"{value}\"", self.0))
    }
}

impl Text {
    /// A family of gauges.
    pub fn gauge<L: Borrow<Labels>, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    /// A family of counters.
    pub fn counter<L: Borrow<Labels>, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(name, "counter", help, samples);
    }

    fn family<L: Borrow<Labels>, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, kind, help);
        for (labels, value) in samples {
            let Labels(labels) = labels.borrow();
            let _ = match labels.is_empty() {
                true => writeln!(self.0, "{PREFIX}{name} {value}"),
                false => writeln!(self.0, "{PREFIX}{name}{{{labels}}} {value}"),
            };
        }
    }

    /// A family of histograms, whose buckets have these bounds in seconds.
    pub fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        samples: impl IntoIterator<Item = (&'a Labels, &'a HistogramRow)>,
    ) {
        let mut samples = samples.into_iter().filter(|(_, row)| row.count > 0).peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, "histogram", help);
        for (Labels(labels), row) in samples {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut below = 0;
            for (bound, count) in bounds.iter().zip(&row.buckets) {
                below += count;
                let _ = writeln!(
                    self.0,
                    "{PREFIX}{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"
                );
            }
            let HistogramRow { count, sum_seconds, .. } = row;
            let _ = writeln!(self.0, "{PREFIX}{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
            let _ = writeln!(self.0, "{PREFIX}{name}_sum{{{labels}}} {sum_seconds}");
            let _ = writeln!(self.0, "{PREFIX}{name}_count{{{labels}}} {count}");
        }
    }

    /// A line for people.
    pub fn comment(&mut self, text: &str) {
        let _ = writeln!(self.0, "# {text}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_cannot_break_out() {
        let labels = Labels::of(&[("pool", &"a\"} 1\nevil{x=\"\\")]);
        let mut text = Text::default();
        text.gauge("up", "Help", [(labels, 1)]);
        let line = text.0.lines().last().unwrap();
        assert_eq!(line, r#"evenkeel_up{pool="a\"} 1\nevil{x=\"\\"} 1"#);
        assert_eq!(text.0.lines().count(), 3);
    }

    #[test]
    fn a_histogram_adds_its_buckets_up() {
        let row = HistogramRow { count: 6, sum_seconds: 2.5, buckets: vec![1, 2, 3] };
        let mut text = Text::default();
        text.histogram("t_seconds", "Help", &[0.25, 1.0], [(&Labels::default(), &row)]);
        let expected = "# HELP evenkeel_t_seconds Help\n\
                        # TYPE evenkeel_t_seconds histogram\n\
                        evenkeel_t_seconds_bucket{le=\"0.25\"} 1\n\
                        evenkeel_t_seconds_bucket{le=\"1\"} 3\n\
                        evenkeel_t_seconds_bucket{le=\"+Inf\"} 6\n\
                        evenkeel_t_seconds_sum{} 2.5\n\
                        evenkeel_t_seconds_count{} 6\n";
        assert_eq!(text.0, expected);
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let mut text = Text::default();
        text.counter("x_total", "Help", Vec::<(Labels, u64)>::new());
        text.histogram("t", "Help", &[], [(&Labels::default(), &HistogramRow::default())]);
        assert_eq!(text.0, "");
    }
}
