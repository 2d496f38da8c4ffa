//! Families of samples, and what formats have to be able to write.

use crate::status::HistogramRow;
use std::borrow::Borrow;
use std::fmt::{self, Display, Write};
use std::ops::Range;
use std::rc::Rc;

/// What goes before every name.
pub(super) const PREFIX: &str = "evenkeel_";

/// What families are written to, one after the other.
pub(super) trait Format {
    /// A family begins; samples follow.
    fn begin(&mut self, kind: Kind, name: &str, help: &str);
    /// A sample of a gauge or counter.
    fn sample(&mut self, labels: &Labels, value: Number);
    /// A sample of a histogram, whose buckets have these bounds in seconds.
    fn distribution(&mut self, labels: &Labels, bounds: &[f64], row: &HistogramRow);
    /// Something for people.
    fn comment(&mut self, text: &str);
}

/// The kinds of families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

/// The pairs of names and values that tell a sample from others of its family, escaped.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    /// What may be the text of many.
    text: Rc<str>,
    /// Where these are in it.
    place: Range<usize>,
}

/// Writes families in a format. Those without samples are left out.
pub(super) struct Families<'a>(pub &'a mut dyn Format);

impl Families<'_> {
    /// A family of gauges.
    pub fn gauge<L: Borrow<Labels>, V: Into<Number>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(Kind::Gauge, name, help, samples);
    }

    /// A family of counters.
    pub fn counter<L: Borrow<Labels>, V: Into<Number>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(Kind::Counter, name, help, samples);
    }

    fn family<L: Borrow<Labels>, V: Into<Number>>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.0.begin(kind, name, help);
            samples.for_each(|(labels, value)| self.0.sample(labels.borrow(), value.into()));
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
        if samples.peek().is_some() {
            self.0.begin(Kind::Histogram, name, help);
            samples.for_each(|(labels, row)| self.0.distribution(labels, bounds, row));
        }
    }

    /// A line for people.
    pub fn comment(&mut self, text: &str) {
        self.0.comment(text);
    }
}

impl Labels {
    pub fn of(pairs: &[(&str, &dyn Display)]) -> Self {
        let mut text = String::new();
        pairs.iter().for_each(|(name, value)| push(&mut text, 0, name, value));
        Self::from(text)
    }

    /// These, and one more.
    pub fn with(&self, name: &str, value: &dyn Display) -> Self {
        let mut text = self.as_str().to_owned();
        push(&mut text, 0, name, value);
        Self::from(text)
    }

    /// These, and one more with each of the values; much quicker for thousands than one by one.
    pub fn with_each<V: Display>(
        &self,
        name: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Vec<Self> {
        let mut text = String::new();
        let mut ends = vec![0];
        for value in values {
            let first = text.len();
            text.push_str(self.as_str());
            push(&mut text, first, name, &value);
            ends.push(text.len());
        }
        let text: Rc<str> = text.into();
        let places = ends.windows(2).map(|ends| ends[0]..ends[1]);
        places.map(|place| Self { text: Rc::clone(&text), place }).collect()
    }

    /// As the text format of Prometheus has them between braces.
    pub fn as_str(&self) -> &str {
        &self.text[self.place.clone()]
    }

    /// The pairs, with values as they were given.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut rest = self.as_str().chars();
        loop {
            let name: String = rest.by_ref().take_while(|it| *it != '=').collect();
            if name.is_empty() {
                return pairs;
            }
            rest.next(); // the quotation mark
            let mut value = String::new();
            while let Some(it) = rest.next().filter(|it| *it != '"') {
                value.push(match it {
                    '\\' => rest.next().map_or(it, |it| if it == 'n' { '\n' } else { it }),
                    it => it,
                });
            }
            pairs.push((name, value));
            rest.next(); // the comma
        }
    }
}

impl From<String> for Labels {
    fn from(text: String) -> Self {
        Self { place: 0..text.len(), text: text.into() }
    }
}

/// Adds a label to those that there are from `first` on, with what must be escaped in its value.
fn push(text: &mut String, first: usize, name: &str, value: &dyn Display) {
    let comma = if text.len() > first { "," } else { "" };
    let _ = write!(text, "{comma}{name}=\"");
    let begin = text.len();
    let _ = write!(text, "{value}");
    if text[begin..].contains(['\\', '"', '\n']) {
        let value = text.split_off(begin);
        *text += &value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    }
    text.push('"');
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
        }
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<u8> for Number {
    fn from(value: u8) -> Self {
        Self::Whole(value.into())
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pairs_of_labels_come_back_as_they_were_given() {
        let names = ["a\"} 1\nevil{x=\"\\", "", "\\n", "plain,b=\"c\""];
        let pairs: Vec<(&str, &dyn Display)> = vec![
            ("pool", &names[0]),
            ("tier", &names[1]),
            ("backend", &names[2]),
            ("kind", &names[3]),
        ];
        let expected: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        assert_eq!(Labels::of(&pairs).pairs(), expected);
        assert_eq!(Labels::default().pairs(), []);
    }

    #[test]
    fn labels_made_together_are_those_made_one_by_one() {
        let labels = Labels::of(&[("pool", &"web"), ("tier", &0)]);
        let names = ["a", "", "say \"b\"", "c"];
        let each = labels.with_each("backend", names);
        let expected: Vec<_> = names.iter().map(|it| labels.with("backend", it)).collect();
        let text = |all: &[Labels]| all.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(text(&each), text(&expected));
    }
}
