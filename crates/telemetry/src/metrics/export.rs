//! The JSON form of OpenTelemetry's protocol: the body of `POST /v1/metrics` (OTLP 1.0, "OTLP/HTTP").
//!
//! Names and labels are those of the text format, so that the same questions can be asked of both. In
//! JSON, 64-bit numbers are strings (OTLP, "JSON Protobuf Encoding").

use super::families::{Format, Kind, Labels, Number, PREFIX};
use crate::status::HistogramRow;
use serde::Serialize;

/// Of what instance metrics are.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// What tells it from other instances of this machine.
    pub id: &'a str,
    /// The name of the machine.
    pub host: &'a str,
    /// When it began to count, in nanoseconds since 1970. Another time would mean that counts have
    /// begun anew.
    pub started: u64,
}

/// Families that have been written.
pub(super) struct Export {
    started: String,
    now: String,
    metrics: Vec<Metric>,
}

/// A family. It has one of the three kinds of points.
#[derive(Default, Serialize)]
struct Metric {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gauge: Option<Gauge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<Sum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<Histogram>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gauge {
    data_points: Vec<Point>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    aggregation_temporality: u8,
    is_monotonic: bool,
    data_points: Vec<Point>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Histogram {
    aggregation_temporality: u8,
    data_points: Vec<Distribution>,
}

/// A point. It has one of the two values.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_unix_nano: Option<String>,
    time_unix_nano: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_int: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_double: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Distribution {
    attributes: Vec<Attribute>,
    start_time_unix_nano: String,
    time_unix_nano: String,
    count: String,
    sum: f64,
    bucket_counts: Vec<String>,
    explicit_bounds: Vec<f64>,
}

#[derive(Serialize)]
struct Attribute {
    key: String,
    value: Text,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    string_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    resource_metrics: [OfResource; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfResource {
    resource: Resource,
    scope_metrics: [OfScope; 1],
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct OfScope {
    scope: Scope,
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: String,
}

/// Points say what has been counted since the start (`AGGREGATION_TEMPORALITY_CUMULATIVE`).
const CUMULATIVE: u8 = 2;

impl Export {
    /// Of counts from `started` to `now`, in nanoseconds since 1970.
    pub fn new(started: u64, now: u64) -> Self {
        Self { started: started.to_string(), now: now.to_string(), metrics: Vec::new() }
    }

    /// The body of the request.
    pub fn into_json(self, instance: &Instance<'_>, version: &str) -> String {
        let attributes = [
            ("service.name", "evenkeel"),
            ("service.instance.id", instance.id),
            ("service.version", version),
            ("host.name", instance.host),
        ];
        let attributes = attributes.map(|(key, value)| attribute(key.to_owned(), value.to_owned()));
        let scope = Scope { name: "evenkeel", version: version.to_owned() };
        let of_scope = OfScope { scope, metrics: self.metrics };
        let resource = Resource { attributes: attributes.into() };
        let body = Body { resource_metrics: [OfResource { resource, scope_metrics: [of_scope] }] };
        // Nothing in it can fail: keys are strings.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl Format for Export {
    fn begin(&mut self, kind: Kind, name: &str, help: &str) {
        let (name, description) = (format!("{PREFIX}{name}"), help.to_owned());
        let mut metric = Metric { unit: unit(&name), name, description, ..Metric::default() };
        match kind {
            Kind::Gauge => metric.gauge = Some(Gauge { data_points: Vec::new() }),
            Kind::Counter => {
                metric.sum = Some(Sum {
                    aggregation_temporality: CUMULATIVE,
                    is_monotonic: true,
                    data_points: Vec::new(),
                });
            }
            Kind::Histogram => {
                metric.histogram = Some(Histogram {
                    aggregation_temporality: CUMULATIVE,
                    data_points: Vec::new(),
                });
            }
        }
        self.metrics.push(metric);
    }

    fn sample(&mut self, labels: &Labels, value: Number) {
        let mut point = Point {
            attributes: attributes(labels),
            start_time_unix_nano: None,
            time_unix_nano: self.now.clone(),
            as_int: None,
            as_double: None,
        };
        match value {
            Number::Whole(value) => point.as_int = Some(value.min(i64::MAX as u64).to_string()),
            Number::Real(value) => point.as_double = Some(value),
        }
        match self.metrics.last_mut() {
            Some(Metric { gauge: Some(gauge), .. }) => gauge.data_points.push(point),
            Some(Metric { sum: Some(sum), .. }) => {
                point.start_time_unix_nano = Some(self.started.clone());
                sum.data_points.push(point);
            }
            _ => {}
        }
    }

    fn distribution(&mut self, labels: &Labels, bounds: &[f64], row: &HistogramRow) {
        let Some(Metric { histogram: Some(histogram), .. }) = self.metrics.last_mut() else {
            return;
        };
        let buckets = &row.buckets[..bounds.len().min(row.buckets.len())];
        let beyond = row.count.saturating_sub(buckets.iter().sum());
        let counts = buckets.iter().copied().chain([beyond]);
        histogram.data_points.push(Distribution {
            attributes: attributes(labels),
            start_time_unix_nano: self.started.clone(),
            time_unix_nano: self.now.clone(),
            count: row.count.to_string(),
            sum: row.sum_seconds,
            bucket_counts: counts.map(|it| it.to_string()).collect(),
            explicit_bounds: bounds[..buckets.len()].to_vec(),
        });
    }

    fn comment(&mut self, _text: &str) {}
}

fn attributes(labels: &Labels) -> Vec<Attribute> {
    labels.pairs().into_iter().map(|(key, value)| attribute(key, value)).collect()
}

fn attribute(key: String, value: String) -> Attribute {
    Attribute { key, value: Text { string_value: value } }
}

/// The unit that the name of a metric ends in, as UCUM writes it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::Families;
    use super::*;

    #[test]
    fn every_kind_of_family_is_written_as_the_protocol_says() {
        let row = HistogramRow { count: 6, sum_seconds: 2.5, buckets: vec![1, 2] };
        let labels = Labels::of(&[("pool", &"a \"b\"")]);
        let instance = Instance { id: "web", host: "lb1", started: 1_000_000_000 };
        let mut export = Export::new(instance.started, 3_500_000_000);
        let mut to = Families(&mut export);
        to.comment("for people");
        to.gauge("up", "Whether", [(&labels, 1_u8)]);
        to.counter("sent_bytes_total", "Bytes", [(&labels, u64::MAX)]);
        to.counter("busy_seconds_total", "Time", [(&Labels::default(), 1.0)]);
        to.histogram("rtt_seconds", "Times", &[0.25, 1.0], [(&labels, &row)]);
        let json = export.into_json(&instance, "0.1.0");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
    }
}
